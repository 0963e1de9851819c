package gitrepo

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxObject bounds a single file: go-git holds it in memory while it unpacks it.
const maxObject = 256 << 20

// unpack adds the objects of a received pack to the repository. The first pack is kept as it is;
// later ones are small and build on objects that are not in them, so their objects are stored one
// by one.
func (r *objects) unpack(ctx context.Context, name string, thin bool) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	pack := interruptible{file, ctx}
	if err := r.measure(pack); err != nil {
		return err
	}
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if !thin {
		return r.keepPack(pack, name)
	}
	return r.explode(pack)
}

// explode stores the objects of a pack one by one.
func (r *objects) explode(pack io.ReadSeeker) error {
	store := r.store()
	defer store.close()
	// Only the interface: with more methods, go-git's parser holds a file open for each object.
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(pack), struct{ storer.EncodedObjectStorer }{store})
	if err != nil {
		return err
	}
	_, err = parser.Parse()
	var file *fs.PathError
	if err != nil && !errors.As(err, &file) {
		// The pack itself was read before, so the damage is in what it builds on.
		return &Error{
			Text:  fmt.Sprintf("the local repository is damaged: the objects that the new commit builds on cannot be read: %v", err),
			kind:  ErrDamaged,
			cause: err,
		}
	}
	return err
}

// keepPack adds the pack itself. The index comes first: go-git expects one for each pack that it
// sees.
func (r *objects) keepPack(pack io.ReadSeeker, name string) error {
	checksum, index, err := readObjects(pack)
	if err != nil {
		return err
	}
	return r.addPack(name, checksum, index)
}

// readObjects reads all objects of a pack to find out their hashes.
func readObjects(pack io.ReadSeeker) (checksum Hash, index *idxfile.MemoryIndex, err error) {
	writer := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(pack), writer)
	if err != nil {
		return Hash{}, nil, err
	}
	sum, err := parser.Parse()
	if err != nil {
		return Hash{}, nil, err
	}
	index, err = writer.Index()
	return Hash(sum), index, err
}

func (r *objects) addPack(name string, checksum Hash, index *idxfile.MemoryIndex) error {
	final := filepath.Join(r.dir, packDir, "pack-"+checksum.String())
	if err := writeIndex(final+".idx", index); err != nil {
		return err
	}
	return os.Rename(name, final+".pack")
}

func writeIndex(name string, index *idxfile.MemoryIndex) error {
	file, err := os.CreateTemp(filepath.Dir(name), temporaryPack+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	buffered := bufio.NewWriter(file)
	_, err = idxfile.NewEncoder(buffered).Encode(index)
	if err := errors.Join(err, buffered.Flush(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// measure reads a pack without keeping any of it, to check that it is whole, and how large its
// objects are: a small pack can hold very large ones.
func (r *objects) measure(pack io.ReadSeeker) error {
	scanner := packfile.NewScanner(pack)
	_, objects, err := scanner.Header()
	if err != nil {
		return err
	}
	var total int64
	for range objects {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return err
		}
		length := header.Length
		start := beginning{most: 2 * binary.MaxVarintLen64}
		if _, _, err := scanner.NextObject(&start); err != nil {
			return err
		}
		if header.Type.IsDelta() {
			if length, err = start.deltaResult(); err != nil {
				return err
			}
		}
		if total += length; length > maxObject || total > r.limit {
			return problem(ErrTooLarge, "its files are too large: one has more than %s, or all together have more than %s", size(maxObject), size(r.limit))
		}
	}
	_, err = scanner.Checksum()
	return err
}

// beginning keeps the first bytes that are written to it, at most that many.
type beginning struct {
	most  int
	bytes []byte
}

func (b *beginning) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p[:min(len(p), b.most-len(b.bytes))]...)
	return len(p), nil
}

// deltaResult returns the size of a delta's result: its second number.
func (b *beginning) deltaResult() (int64, error) {
	_, n := binary.Uvarint(b.bytes)
	if n > 0 {
		if result, m := binary.Uvarint(b.bytes[n:]); m > 0 && int64(result) >= 0 {
			return int64(result), nil
		}
	}
	return 0, packfile.ErrInvalidDelta
}

// interruptible ends the reading and writing of a file with its context.
type interruptible struct {
	*os.File
	ctx context.Context
}

func (i interruptible) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.File.Read(p)
}

func (i interruptible) Write(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.File.Write(p)
}

// size formats a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
