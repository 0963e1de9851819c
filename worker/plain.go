package worker

import "io"

// plain removes the escape sequences from the output of a program that writes for a
// terminal in any case: ESC [ parameters letter, ECMA-48 section 5.4.
type plain struct {
	out   io.Writer
	state int // how much of a sequence has been read
}

const (
	outside  = iota
	escaped  // ESC
	sequence // ESC [
)

const escape = 0x1b

func (p *plain) Write(b []byte) (int, error) {
	kept := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case p.state == outside && c == escape:
			p.state = escaped
		case p.state == outside:
			kept = append(kept, c)
		case p.state == escaped && c == '[':
			p.state = sequence
		case p.state == escaped, c >= '@' && c <= '~': // its last byte
			p.state = outside
		}
	}
	if _, err := p.out.Write(kept); err != nil {
		return 0, err
	}
	return len(b), nil
}
