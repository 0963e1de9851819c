package gitrepo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// Git's upload-pack protocol, version 0, as far as listing refs and fetching one commit require
// it; and of version 2 the listing of some refs, which makes a look at a repository with many
// refs cheap, and the fetch of a commit that is not a branch's newest: see uploadpack2.go.

// maxAdvert bounds what a list of refs may take in memory.
const maxAdvert = 64 << 20

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
)

// formatSHA256 is git's name of the object format that pgo cannot read.
const formatSHA256 = "sha256"

var errSHA256 = problem(ErrFormat, "it uses SHA-256 object names, which pgo cannot read; move it to a repository made with git init --object-format=sha1")

// The two lines of the protocol without content.
const (
	flush     = "0000"
	delimiter = "0001"
)

func writeLine(b *bytes.Buffer, format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	fmt.Fprintf(b, "%04x%s", len("0000")+len(line), line)
}

// wantedCapabilities is what a packRequest uses of what the server supports.
var wantedCapabilities = []capability.Capability{
	capability.MultiACKDetailed,
	capability.Sideband64k,
	capability.OFSDelta,
	capability.ThinPack,
	capability.NoProgress,
	capability.Shallow,
}

// readAdvert reads the greeting of a server of version 0: its refs and capabilities.
func readAdvert(r io.Reader) (*packp.AdvRefs, error) {
	advert, start := packp.NewAdvRefs(), beginning{most: pktline.MaxPayloadSize}
	err := advert.Decode(io.TeeReader(io.LimitReader(r, maxAdvert), &start))
	var unexpected *packp.ErrUnexpectedData
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return packp.NewAdvRefs(), nil
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, io.ErrUnexpectedEOF
	case err != nil && bytes.Contains(start.bytes, []byte("object-format="+formatSHA256)):
		return nil, errSHA256
	case errors.As(err, &unexpected):
		return nil, problem(nil, "its answer ends early, or is not git's protocol")
	case err != nil:
		return nil, serverError(err)
	}
	for _, format := range advert.Capabilities.Get("object-format") {
		if format != "sha1" {
			return nil, otherFormat(format)
		}
	}
	return advert, nil
}

// otherFormat returns the error for a repository whose objects do not have SHA-1 names.
func otherFormat(format string) error {
	if format == formatSHA256 {
		return errSHA256
	}
	return problem(ErrFormat, "its object format is neither SHA-1 nor SHA-256, and pgo reads only SHA-1")
}

// serverError gives the words with which a server ends the conversation a kind.
func serverError(err error) error {
	var line *pktline.ErrorLine
	if !errors.As(err, &line) {
		return err
	}
	return refused(line.Text)
}

// refused returns the error for what a server said instead of serving.
func refused(text string) error {
	kind := error(nil)
	switch lower := strings.ToLower(text); {
	case strings.Contains(lower, "not our ref"):
		kind = ErrMoved
	case strings.Contains(lower, "not found"), strings.Contains(lower, "not exist"),
		strings.Contains(lower, "not appear to be a git repository"), strings.Contains(lower, "no such"):
		return problem(ErrNotFound, "the repository was not found, or this key may not read it: %s", oneLine(text))
	case strings.Contains(lower, "denied"), strings.Contains(lower, "not authori"):
		kind = ErrAuth
	}
	return problem(kind, "the server says: %s", oneLine(text))
}

func refsOf(advert *packp.AdvRefs) map[string]Hash {
	refs := map[string]Hash{}
	for name, hash := range advert.References {
		refs[name] = Hash(hash)
	}
	return refs
}

// packRequest asks for a commit without its history. The server may omit what the commits that
// are here hold, and send deltas to it ("thin"). Only "thin" has it consider their trees at all,
// as they are not ancestors of a commit without history. Without an advert the server speaks
// version 2.
func packRequest(advert *packp.AdvRefs, q query) ([]byte, error) {
	if advert == nil {
		return fetchRequest(q), nil
	}
	able := advert.Capabilities.Supports
	offered := false
	for _, hash := range advert.References {
		offered = offered || Hash(hash) == q.want
	}
	if !offered && !able(capability.AllowTipSHA1InWant) && !able(capability.AllowReachableSHA1InWant) {
		return nil, problem(ErrMoved, "the branch moved meanwhile; try again")
	}

	first := "want " + q.want.String()
	for _, c := range wantedCapabilities {
		if able(c) {
			first += " " + c.String()
		}
	}
	var body bytes.Buffer
	writeLine(&body, "%s", first)
	if able(capability.Shallow) {
		for _, h := range q.have {
			writeLine(&body, "shallow %s", h)
		}
		writeLine(&body, "deepen 1")
	}
	body.WriteString(flush)
	for _, h := range q.have {
		writeLine(&body, "have %s", h)
	}
	writeLine(&body, "done")
	return body.Bytes(), nil
}

// readPack reads the answer to a packRequest up to where the pack begins.
func readPack(raw io.Reader, advert *packp.AdvRefs) (io.Reader, error) {
	r := bufio.NewReaderSize(raw, pktline.MaxPayloadSize)
	if advert == nil {
		return readFetched(r)
	}
	s := pktline.NewScanner(r)
	for s.Scan() {
		switch words := strings.Fields(string(s.Bytes())); {
		case len(words) == 0, words[0] == "shallow", words[0] == "unshallow":
			// It is known that nothing here has history.
		case words[0] == "ACK" && len(words) > 2:
			// One of several common commits.
		case words[0] == "ACK", words[0] == "NAK":
			if advert.Capabilities.Supports(capability.Sideband64k) {
				return sideband.NewDemuxer(sideband.Sideband64k, r), nil
			}
			return r, nil
		default:
			return nil, problem(nil, "its answer is not git's protocol")
		}
	}
	if err := s.Err(); err != nil {
		return nil, serverError(err)
	}
	return nil, io.ErrUnexpectedEOF
}

// listRequest asks a server of version 2 for the refs that begin with one of the prefixes.
func listRequest(prefixes []string) []byte {
	var body bytes.Buffer
	writeLine(&body, "command=ls-refs")
	body.WriteString(delimiter)
	for _, prefix := range prefixes {
		writeLine(&body, "ref-prefix %s", prefix)
	}
	body.WriteString(flush)
	return body.Bytes()
}

// readList reads the answer to a listRequest.
func readList(r io.Reader) (map[string]Hash, error) {
	refs := map[string]Hash{}
	s := pktline.NewScanner(bufio.NewReader(io.LimitReader(r, maxAdvert)))
	for s.Scan() {
		line := strings.TrimSuffix(string(s.Bytes()), "\n")
		if line == "" {
			return refs, nil
		}
		hash, name, _ := strings.Cut(line, " ")
		if !plumbing.IsHash(hash) {
			return nil, problem(nil, "its answer is not git's protocol, or its object format is not sha1")
		}
		refs[name] = Hash(plumbing.NewHash(hash))
	}
	if err := s.Err(); err != nil {
		return nil, serverError(err)
	}
	return nil, io.ErrUnexpectedEOF
}
