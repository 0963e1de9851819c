package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

const (
	discoveryPath = "/info/refs"
	uploadPack    = "git-upload-pack"
	protocol2     = "version=2"
)

// httpRemote is a repository behind smart HTTP. It keeps its connection open between two looks,
// and its TLS session if the server closes the connection, so that an unchanged branch costs one
// small request.
type httpRemote struct {
	// Set by newHTTPRemote, then immutable.
	user, password string
	origin         url.URL // what the credentials are for
	client         http.Client
	pauses         *pauses
	// Set before the first request: returns why a redirect there is refused; nil: it may be
	// redirected anywhere.
	elsewhere func(to *url.URL) error

	mu       sync.Mutex // guards what discovery found out
	base     url.URL    // where the repository is: origin, unless that redirects
	version2 bool       // the server speaks version 2 of the protocol
}

// ofModule has the remote be a submodule's: see elsewhere and web.modulePauses.
func (h *httpRemote) ofModule(w *web, elsewhere func(to *url.URL) error) {
	h.elsewhere, h.pauses = elsewhere, &w.modulePauses
}

func newHTTPRemote(a *address, w *web) *httpRemote {
	h := &httpRemote{user: a.user, password: a.password, origin: a.url, base: a.url, pauses: &w.pauses}
	h.client.CheckRedirect = h.checkRedirect
	h.client.Transport = w.transport()
	return h
}

func (h *httpRemote) refs(ctx context.Context, prefixes ...string) (map[string]Hash, error) {
	if h.speaksVersion2() {
		if refs, err := h.list(ctx, prefixes); err == nil || ctx.Err() != nil {
			return refs, err
		}
		// The repository may have moved, or its server may have changed.
	}
	advert, err := h.discover(ctx, protocol2)
	if err != nil {
		return nil, err
	}
	h.setVersion2(advert == nil)
	if advert == nil {
		return h.list(ctx, prefixes)
	}
	return refsOf(advert), nil
}

func (h *httpRemote) list(ctx context.Context, prefixes []string) (map[string]Hash, error) {
	body, err := h.post(ctx, listRequest(prefixes), protocol2)
	if err != nil {
		return nil, err
	}
	defer drain(body)
	return readList(body)
}

func (h *httpRemote) pack(ctx context.Context, alive func(), q query) (io.ReadCloser, error) {
	version := ""
	if q.any {
		version = protocol2
	}
	advert, err := h.discover(ctx, version)
	if err != nil {
		return nil, err
	}
	alive()
	request, err := packRequest(advert, q)
	if err != nil {
		return nil, err
	}
	if advert != nil {
		version = ""
	}
	body, err := h.post(ctx, request, version)
	if err != nil {
		return nil, err
	}
	pack, err := readPack(watched{body, alive}, advert)
	if err != nil {
		body.Close()
		return nil, err
	}
	return readCloser{pack, body}, nil
}

// discover asks which refs there are. A server that speaks version 2 answers a request for it
// without them: then the advert is nil.
func (h *httpRemote) discover(ctx context.Context, version string) (*packp.AdvRefs, error) {
	// Begin at the configured address: a place that it has redirected to may be gone again.
	u := h.origin.JoinPath(discoveryPath)
	u.RawQuery = "service=" + uploadPack
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := h.do(request, version, "advertisement")
	if err != nil {
		return nil, err
	}
	defer drain(response.Body)
	body := bufio.NewReader(response.Body)
	// Some servers send a line and a flush before it.
	start, _ := body.Peek(len("001e# service=git-upload-pack\n0000000eversion 2\n"))
	h.foundAt(response.Request.URL)
	if before, _, found := bytes.Cut(start, []byte(firstLine2)); found {
		_, _ = body.Discard(len(before))
		return nil, readGreeting2(body)
	}
	return readAdvert(body)
}

func (h *httpRemote) post(ctx context.Context, body []byte, version string) (io.ReadCloser, error) {
	u := h.at("/" + uploadPack)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	response, err := h.do(request, version, "result")
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// do sends a request and returns the answer if it is git's.
func (h *httpRemote) do(request *http.Request, version, answer string) (*http.Response, error) {
	// To a browser, or to anything that might be one, some hosts send a page instead.
	request.Header.Set("User-Agent", "git/2 (pgo)")
	if version != "" {
		request.Header.Set("Git-Protocol", version)
	}
	if h.user+h.password != "" && h.trusted(request.URL) {
		request.SetBasicAuth(h.user, h.password)
	}
	if err := h.pauses.left(request.URL.Host); err != nil {
		return nil, err
	}
	response, err := h.client.Do(request)
	if err != nil {
		return nil, err
	}
	if err := h.pauses.begin(response.Request.URL.Host, response); err != nil {
		drain(response.Body)
		return nil, err
	}
	if err := h.check(response, "application/x-git-upload-pack-"+answer); err != nil {
		drain(response.Body)
		return nil, err
	}
	return response, nil
}

func (h *httpRemote) check(response *http.Response, contentType string) error {
	switch response.StatusCode {
	case http.StatusOK:
		if got := response.Header.Get("Content-Type"); got != contentType {
			return problem(nil, "its server answers with %q, not with git's smart protocol; check `repository`", got)
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		if h.user+h.password == "" {
			return problem(ErrAuth, "authentication required; put a token in `repository` or set `git_key`")
		}
		return problem(ErrAuth, "the token in `repository` is refused (%s); it may have expired, or may lack read access to this repository", response.Status)
	case http.StatusProxyAuthRequired:
		return errProxyAuth
	case http.StatusNotFound:
		return problem(ErrNotFound, "the repository was not found; check `repository`, and its token if it is private")
	}
	said, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
	return problem(nil, "its server answers %s: %s", response.Status, oneLine(string(said)))
}

// checkRedirect follows a repository that has moved, as git does: only for the discovery, never
// from https to http, without the credentials to another host, and for a submodule only where
// elsewhere allows it.
func (h *httpRemote) checkRedirect(request *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case via[0].Method != http.MethodGet || len(via) >= 5:
		return problem(nil, "its server sends a redirect that git does not follow")
	case from.Scheme == "https" && request.URL.Scheme != "https":
		return problem(nil, "its server redirects from https to %s", request.URL.Scheme)
	}
	if err := h.pauses.left(request.URL.Host); err != nil {
		return err
	}
	if !h.trusted(request.URL) {
		if h.elsewhere != nil {
			if err := h.elsewhere(request.URL); err != nil {
				return err
			}
		}
		request.Header.Del("Authorization")
	}
	return nil
}

// trusted reports whether the credentials may be sent there.
func (h *httpRemote) trusted(u *url.URL) bool {
	return u.Hostname() == h.origin.Hostname() && u.Port() == h.origin.Port() && (u.Scheme == "https" || u.Scheme == h.origin.Scheme)
}

func (h *httpRemote) speaksVersion2() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version2
}

func (h *httpRemote) setVersion2(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version2 = yes
}

func (h *httpRemote) at(path string) *url.URL {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.base.JoinPath(path)
}

// foundAt notes where a discovery has ended.
func (h *httpRemote) foundAt(u *url.URL) {
	base := *u
	base.RawQuery = ""
	base.Path = strings.TrimSuffix(u.Path, discoveryPath)
	base.RawPath = strings.TrimSuffix(u.RawPath, discoveryPath)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.base = base
}

// drain reads the rest of a short answer, so that its connection can be used again, and closes
// it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}
