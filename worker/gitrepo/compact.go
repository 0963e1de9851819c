package gitrepo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// slack is how much more than needed the repository may take on disk.
type slack struct {
	factor int64
	bytes  int64
	loose  int // so many loose objects; each takes an inode
}

var (
	roomy = slack{factor: 3, bytes: 4 << 20, loose: 5000}
	tight = slack{factor: 1, bytes: 256 << 10, loose: 5000}
)

// block is what a file takes on most filesystems, however short it is.
const block = 4 << 10

// Compact makes the repository as small as the head, the kept commits and their submodules allow,
// if it has grown past a small multiple of that. If there is nothing to do, it only looks at the
// sizes of files. Otherwise it may take as long as reading and writing everything that is needed:
// call it when nobody waits.
//
// It asks no remote. Everything that is needed stays available at any time: after an error, a
// crash or the end of ctx there is more than that, and the next Compact continues.
func (r *Repo) Compact(ctx context.Context) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	if err := r.compact(ctx, r.slack); err != nil {
		return &Error{Text: fmt.Sprintf("cannot compact the git repository %s: %s", r.dir, explain(err)), cause: err}
	}
	return nil
}

// compaction compacts a repository. It is for one goroutine at a time.
type compaction struct {
	*refs
	slack slack
	need  need
}

// need is what the needed commits take on disk.
type need struct {
	of    []Hash // these commits and submodules
	bytes int64
}

func (r *compaction) compact(ctx context.Context, allowed slack) error {
	used, loose, err := takeStock(r.dir)
	if err != nil {
		return err
	}
	few := loose <= allowed.loose
	if few && used <= allowed.bytes {
		return nil
	}
	commits, err := r.wanted()
	if err != nil {
		return err
	}
	of := slices.Concat(commits, r.heldModules().commits())
	known := slices.Equal(r.need.of, of)
	if few && known && used <= allowed.factor*r.need.bytes+allowed.bytes {
		return nil
	}
	objects, err := r.objectsOf(ctx, commits)
	if err != nil {
		return err
	}
	bytes, err := r.bytesOf(objects)
	if err != nil {
		return err
	}
	r.need = need{of, bytes}
	if few && used <= allowed.factor*bytes+allowed.bytes {
		return nil
	}
	r.need = need{} // they will be packed differently
	return r.repack(ctx, commits, objects)
}

// takeStock returns what the files in the repository take on disk, and how many are loose
// objects.
func takeStock(dir string) (used int64, loose int, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		used += (info.Size() + block - 1) / block * block
		if isLoose(dir, name) {
			loose++
		}
		return nil
	})
	return used, loose, err
}

// isLoose reports whether a file holds one object.
func isLoose(dir, name string) bool {
	rest, ok := strings.CutPrefix(name, filepath.Join(dir, "objects")+"/")
	return ok && len(rest) > 2 && plumbing.IsHash(rest[:2]+rest[3:])
}

// objectsOf returns the objects of commits and their submodules in the order in which it finds
// them. An object that cannot be read is an error: nothing may be considered unneeded then.
func (r *compaction) objectsOf(ctx context.Context, commits []Hash) ([]Hash, error) {
	store := r.store()
	defer store.close()
	var objects []Hash
	seen := map[Hash]bool{}
	for _, c := range commits {
		err := eachObject(store, c, seen, func(h Hash, _ plumbing.ObjectType) error {
			objects = append(objects, h)
			return context.Cause(ctx)
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, unreadable(c, err)
		}
	}
	return objects, nil
}

// bytesOf returns what objects take on disk, without the space between files.
func (r *compaction) bytesOf(objects []Hash) (int64, error) {
	packed, err := r.packedSizes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, h := range objects {
		size, ok := packed[h]
		if !ok {
			info, err := os.Stat(filepath.Join(r.dir, "objects", h.String()[:2], h.String()[2:]))
			if err != nil {
				return 0, damaged(err)
			}
			size = info.Size()
		}
		sum += size
	}
	return sum, nil
}

// packedSizes returns how many bytes of a pack each object in it takes.
func (r *compaction) packedSizes() (map[Hash]int64, error) {
	files, err := os.ReadDir(filepath.Join(r.dir, packDir))
	if err != nil {
		return nil, err
	}
	sizes := map[Hash]int64{}
	for _, f := range files {
		if pack, ok := strings.CutSuffix(f.Name(), ".pack"); ok {
			if err := addPackedSizes(sizes, filepath.Join(r.dir, packDir, pack)); err != nil {
				return nil, err
			}
		}
	}
	return sizes, nil
}

func addPackedSizes(sizes map[Hash]int64, pack string) error {
	info, err := os.Stat(pack + ".pack")
	if err != nil {
		return err
	}
	file, err := os.Open(pack + ".idx")
	if err != nil {
		return err
	}
	defer file.Close()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(file).Decode(index); err != nil {
		return err
	}
	entries, err := index.EntriesByOffset()
	if err != nil {
		return err
	}
	defer func() { _ = entries.Close() }()
	end := info.Size() - int64(len(Hash{})) // its checksum follows
	var last *idxfile.Entry
	for {
		e, err := entries.Next()
		next := end
		if err == nil {
			next = int64(e.Offset)
		}
		if last != nil {
			sizes[Hash(last.Hash)] = next - int64(last.Offset)
		}
		if err != nil {
			return ignore(err, io.EOF)
		}
		last = e
	}
}

// repack puts these objects, which are all that these commits need, into one pack, and removes
// all others.
func (r *compaction) repack(ctx context.Context, commits, objects []Hash) error {
	pack, err := r.writePack(ctx, objects)
	if err != nil {
		return ended(ctx, err)
	}
	if err := flushFilesystem(r.dir); err != nil {
		return err
	}
	// From here on the pack suffices by itself.
	modules, err := r.forgetModules(objects)
	if err != nil {
		return err
	}
	var shallow strings.Builder
	for _, c := range slices.Concat(commits, modules) {
		shallow.WriteString(c.String() + "\n")
	}
	if err := writeFile(filepath.Join(r.dir, "shallow"), []byte(shallow.String())); err != nil {
		return err
	}
	return r.removeObjects(pack)
}

// writePack writes a pack with these objects and returns the name of its files without their
// suffixes.
func (r *compaction) writePack(ctx context.Context, objects []Hash) (name string, err error) {
	if len(objects) == 0 {
		return "", nil
	}
	file, err := os.CreateTemp(filepath.Join(r.dir, packDir), temporaryPack+"*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer file.Close()
	// See localRemote: objects are read when they are written.
	store := r.openStore(filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: 1})
	defer store.close()
	buffered := bufio.NewWriterSize(interruptible{file, ctx}, 1<<20)
	if _, err := packfile.NewEncoder(buffered, store, false).Encode(plain(objects), 0); err != nil {
		return "", unwritten(ctx, err)
	}
	if err := buffered.Flush(); err != nil {
		return "", err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	// The pack is read again: only its actual content counts.
	checksum, index, err := readObjects(interruptible{file, ctx})
	if err != nil {
		return "", err
	}
	for _, h := range objects {
		if there, err := index.Contains(plumbing.Hash(h)); err != nil || !there {
			return "", damaged(fmt.Errorf("the content of object %s does not match its hash", h))
		}
	}
	return "pack-" + checksum.String(), r.addPack(file.Name(), checksum, index)
}

// unwritten returns the error of a pack that could not be written: if the disk is not at fault,
// the objects that were read are.
func unwritten(ctx context.Context, err error) error {
	var file *fs.PathError
	if ctx.Err() != nil || errors.As(err, &file) {
		return err
	}
	return damaged(err)
}

// removeObjects removes all objects but those in one pack.
func (r *compaction) removeObjects(pack string) error {
	r.removing.Lock()
	defer r.removing.Unlock()
	top := filepath.Join(r.dir, "objects")
	dirs, err := os.ReadDir(top)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if len(d.Name()) == 2 {
			err = errors.Join(err, os.RemoveAll(filepath.Join(top, d.Name())))
		}
	}
	files, listErr := os.ReadDir(filepath.Join(r.dir, packDir))
	// A pack goes before its index: go-git takes each pack to have one.
	for _, suffix := range []string{".pack", ""} {
		for _, f := range files {
			name := f.Name()
			if !strings.HasSuffix(name, suffix) || pack != "" && strings.HasPrefix(name, pack+".") {
				continue
			}
			err = errors.Join(err, ignore(os.Remove(filepath.Join(r.dir, packDir, name)), fs.ErrNotExist))
		}
	}
	return errors.Join(err, listErr)
}

// ignore returns err, or nil if it is the one to be ignored.
func ignore(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}
