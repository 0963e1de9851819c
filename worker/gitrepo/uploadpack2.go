package gitrepo

import (
	"bufio"
	"bytes"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// The fetch of version 2. It can ask for any commit that the repository has; version 0 gives out
// only those that a branch or a tag points to, unless the server was told otherwise. So
// submodules are fetched with it: the commit of a submodule need not be the newest of anything.

// firstLine2 begins the greeting of a server that speaks version 2.
const firstLine2 = "000eversion 2\n"

// readGreeting reads the greeting of a server that was asked for a version of the protocol. The
// advert is nil if it speaks version 2.
func readGreeting(r *bufio.Reader, version string) (*packp.AdvRefs, error) {
	if version == "" {
		return readAdvert(r)
	}
	// Peek at no more than there may be: an empty repository's advert is one flush, after which
	// its server waits.
	if start, _ := r.Peek(len(flush)); !strings.HasPrefix(firstLine2, string(start)) || len(start) == 0 {
		return readAdvert(r)
	}
	if start, _ := r.Peek(len(firstLine2)); string(start) != firstLine2 {
		return readAdvert(r)
	}
	return nil, readGreeting2(r)
}

// readGreeting2 reads the greeting of a server of version 2, which has its capabilities.
func readGreeting2(r io.Reader) error {
	var other error
	s := pktline.NewScanner(io.LimitReader(r, maxAdvert))
	for s.Scan() {
		line := strings.TrimSuffix(string(s.Bytes()), "\n")
		if line == "" {
			return other
		}
		if format, ok := strings.CutPrefix(line, "object-format="); ok && format != "sha1" {
			other = otherFormat(format)
		}
	}
	if err := s.Err(); err != nil {
		return serverError(err)
	}
	return io.ErrUnexpectedEOF
}

// fetchRequest returns a packRequest in version 2.
func fetchRequest(q query) []byte {
	var body bytes.Buffer
	writeLine(&body, "command=fetch")
	body.WriteString(delimiter)
	for _, argument := range []string{"thin-pack", "no-progress", "ofs-delta", "deepen 1"} {
		writeLine(&body, "%s", argument)
	}
	for _, h := range q.have {
		writeLine(&body, "shallow %s", h)
	}
	writeLine(&body, "want %s", q.want)
	for _, h := range q.have {
		writeLine(&body, "have %s", h)
	}
	writeLine(&body, "done")
	body.WriteString(flush)
	return body.Bytes()
}

// readFetched reads the answer to a fetchRequest up to where the pack begins: in the last of its
// sections.
func readFetched(r *bufio.Reader) (io.Reader, error) {
	s := pktline.NewScanner(r)
	for {
		if start, _ := r.Peek(len(delimiter)); string(start) == delimiter {
			_, _ = r.Discard(len(delimiter))
			continue
		}
		if !s.Scan() {
			break
		}
		switch line := strings.TrimSuffix(string(s.Bytes()), "\n"); {
		case line == "packfile":
			return sideband.NewDemuxer(sideband.Sideband64k, r), nil
		case line == "shallow-info", strings.HasPrefix(line, "shallow "), strings.HasPrefix(line, "unshallow "):
			// It is known that nothing here has history.
		default:
			return nil, problem(nil, "its answer is not git's protocol")
		}
	}
	if err := s.Err(); err != nil {
		return nil, serverError(err)
	}
	return nil, io.ErrUnexpectedEOF
}
