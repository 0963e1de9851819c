// Package bounded keeps the output of others without letting it fill the memory. It does not know
// whose output it is, nor how it is reported that there was too much of it.
package bounded

import "bytes"

// Buffer keeps the beginning of what is written to it. Writing never fails.
type Buffer struct {
	Most int  // bytes; to be set before the first Write
	Cut  bool // there was more

	kept bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	room := min(len(p), b.Most-b.kept.Len())
	b.Cut = b.Cut || room < len(p)
	b.kept.Write(p[:room])
	return len(p), nil
}

// Bytes returns what was kept. It is valid until the next Write.
func (b *Buffer) Bytes() []byte { return b.kept.Bytes() }

// String returns what was kept.
func (b *Buffer) String() string { return b.kept.String() }
