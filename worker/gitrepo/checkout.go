package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sys/unix"
)

// temporary is the name, at the top of a directory, under which a file is written before it gets
// its own.
const temporary = ".pgo-writing"

// checkout writes files of commits into a directory. It works only through root, so no symbolic
// link leads out of it.
type checkout struct {
	root   *os.Root
	store  objectStore
	commit Hash
	limit  int64
	left   int64 // how many bytes may still be written

	realDirs map[string]bool // directories that are known not to be links
}

// checkouts writes commits into directories.
type checkouts struct{ objects *objects }

// openCheckout opens a directory to write a commit's files to, and creates it if needed.
func (r checkouts) openCheckout(dir string, commit Hash) (*checkout, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	// A killed process may have left it.
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, root.Close())
	}
	return &checkout{
		root: root, store: r.objects.store(), commit: commit, limit: r.objects.limit, left: r.objects.limit,
		realDirs: map[string]bool{".": true},
	}, nil
}

func (c *checkout) close() {
	c.store.close()
	_ = c.root.Close()
}

// write makes the path name a file or symbolic link as the entry says. The path must be free, a
// file or a link; the directory above it must exist.
func (c *checkout) write(name string, e entry) error {
	blob, err := c.store.EncodedObject(plumbing.AnyObject, plumbing.Hash(e.hash))
	if err != nil {
		return unreadable(c.commit, err)
	}
	if blob.Type() != plumbing.BlobObject {
		return problem(ErrBadCommit, "commit %s cannot be used: %q is not a file but a %s", c.commit, name, blob.Type())
	}
	if c.left -= blob.Size(); c.left < 0 {
		return problem(ErrTooLarge, "the files of commit %s are larger than the %s allowed", c.commit, size(c.limit))
	}
	content, err := blob.Reader()
	if err != nil {
		return unreadable(c.commit, err)
	}
	defer content.Close()
	if e.mode == filemode.Symlink {
		err = c.writeLink(e, name, content, blob.Size())
	} else {
		err = c.writeFile(e, content, blob.Size())
	}
	if err == nil {
		err = c.root.Rename(temporary, name)
	}
	if err != nil {
		_ = c.root.Remove(temporary)
		return c.cannotWrite(name, err)
	}
	return nil
}

func (c *checkout) writeFile(e entry, content io.Reader, size int64) (err error) {
	file, err := c.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := plumbing.NewHasher(plumbing.BlobObject, size)
	_, err = io.Copy(io.MultiWriter(file, hash), content)
	var onDisk *fs.PathError
	if err != nil && !errors.As(err, &onDisk) {
		return unreadable(c.commit, err)
	}
	if err != nil {
		return err
	}
	if Hash(hash.Sum()) != e.hash {
		return unreadable(c.commit, fmt.Errorf("the content of object %s does not match its hash", e.hash))
	}
	return file.Chmod(permissions(e.mode)) // whatever the umask is
}

func (c *checkout) writeLink(e entry, name string, content io.Reader, size int64) error {
	const most = 4095 // the kernel's
	if size > most || size == 0 {
		return problem(ErrBadCommit, "commit %s cannot be used: the symbolic link %q has a target of %d bytes", c.commit, name, size)
	}
	target, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if Hash(plumbing.ComputeHash(plumbing.BlobObject, target)) != e.hash {
		return unreadable(c.commit, fmt.Errorf("the content of object %s does not match its hash", e.hash))
	}
	if strings.ContainsRune(string(target), 0) {
		return problem(ErrBadCommit, "commit %s cannot be used: the symbolic link %q has a zero byte in its target", c.commit, name)
	}
	return c.root.Symlink(string(target), temporary)
}

func (c *checkout) cannotWrite(name string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return &Error{Text: fmt.Sprintf("cannot write %q in %s: %s", name, c.root.Name(), explain(err)), cause: err}
}

func permissions(mode filemode.FileMode) fs.FileMode {
	if mode == filemode.Executable {
		return 0o755
	}
	return 0o644
}

// has reports whether the path is already exactly what the entry says.
func (c *checkout) has(name string, e entry) (bool, error) {
	info, err := c.lstat(name)
	if err != nil || info == nil {
		return false, err
	}
	if e.mode != filemode.Symlink && info.Mode() != permissions(e.mode) {
		return false, nil
	}
	return c.sameContent(name, info, e)
}

// sameContent reports whether the path is a file, or a link, with the entry's content.
func (c *checkout) sameContent(name string, info fs.FileInfo, e entry) (bool, error) {
	if e.mode == filemode.Symlink {
		if info.Mode().Type() != fs.ModeSymlink {
			return false, nil
		}
		target, err := c.root.Readlink(name)
		return Hash(plumbing.ComputeHash(plumbing.BlobObject, []byte(target))) == e.hash, err
	}
	if !info.Mode().IsRegular() {
		return false, nil
	}
	// A file may be of any size, and may have been replaced by the time it is opened.
	if size, err := c.store.EncodedObjectSize(plumbing.Hash(e.hash)); err != nil {
		return false, unreadable(c.commit, err)
	} else if size != info.Size() {
		return false, nil
	}
	file, err := c.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil // a container's own, under another uid
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	hash := plumbing.NewHasher(plumbing.BlobObject, info.Size())
	_, err = io.Copy(hash, io.LimitReader(file, info.Size()))
	return Hash(hash.Sum()) == e.hash, err
}

// lstat returns what is at a path, or nil if nothing is there or one of the directories above it
// is not a directory.
func (c *checkout) lstat(name string) (fs.FileInfo, error) {
	if ok, err := c.isRealDir(path.Dir(name)); err != nil || !ok {
		return nil, err
	}
	info, err := c.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// isRealDir reports whether a path is a directory, reached without following symbolic links:
// links inside of root would be followed otherwise.
func (c *checkout) isRealDir(dir string) (bool, error) {
	if c.realDirs[dir] {
		return true, nil
	}
	info, err := c.lstat(dir)
	if err != nil || info == nil || !info.IsDir() {
		return false, err
	}
	c.realDirs[dir] = true
	return true, nil
}

// makeDir makes a directory and the missing ones above it.
func (c *checkout) makeDir(dir string) error {
	if ok, err := c.isRealDir(dir); err != nil || ok {
		return err
	}
	if err := c.makeDir(path.Dir(dir)); err != nil {
		return err
	}
	if err := errors.Join(c.root.Mkdir(dir, 0o755), c.root.Chmod(dir, 0o755)); err != nil {
		return c.cannotWrite(dir, err)
	}
	return nil
}

// removeDir removes an empty directory, and reports whether it could.
func (c *checkout) removeDir(dir string) bool {
	delete(c.realDirs, dir)
	return c.root.Remove(dir) == nil
}

// list returns the names in a directory.
func (c *checkout) list(dir string) ([]fs.DirEntry, error) {
	d, err := c.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}
