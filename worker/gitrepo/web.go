package gitrepo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// web is how servers are reached over HTTP: through which proxy, whose certificates count, and
// which of them asked for a pause. All the HTTP remotes of a repository share it, those of its
// submodules too. It is set by newWeb, then immutable, except for the pauses.
type web struct {
	proxy  func(*url.URL) (*url.URL, error)
	roots  *x509.CertPool // nil: those of the system
	pauses pauses
	// What a submodule's server has asked for. Whoever may commit chooses which one that is and what
	// it is asked, and must not be able to pause the repository itself.
	modulePauses pauses
}

func newWeb(proxy httpproxy.Config, ca []byte) (*web, error) {
	w := &web{proxy: proxy.ProxyFunc()}
	if len(ca) == 0 {
		return w, nil
	}
	// One that cannot be read is left out by everything else on this host, too.
	if w.roots, _ = x509.SystemCertPool(); w.roots == nil {
		w.roots = x509.NewCertPool()
	}
	if !w.roots.AppendCertsFromPEM(ca) {
		return nil, problem(nil, "`ca` has no certificate")
	}
	return w, nil
}

func (w *web) transport() *http.Transport {
	return &http.Transport{
		Proxy:              func(r *http.Request) (*url.URL, error) { return w.proxy(r.URL) },
		DisableCompression: true, // packs are compressed, and a look is too short for it
		MaxIdleConns:       1,
		IdleConnTimeout:    5 * time.Minute,
		TLSClientConfig:    &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1), RootCAs: w.roots},
		// One request at a time gains nothing from HTTP/2, which costs more.
		Protocols:              onlyHTTP1(),
		OnProxyConnectResponse: checkProxy,
	}
}

func onlyHTTP1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

var errProxyAuth = problem(nil, "the proxy wants a user name and a password, or refuses those that it got; check the proxy's URL in [pgod] or in pgod's environment")

// checkProxy says what a proxy's answer means if it does not let a connection through.
func checkProxy(_ context.Context, proxy *url.URL, _ *http.Request, response *http.Response) error {
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return errProxyAuth
	}
	return problem(nil, "the proxy %s does not let it through: %s", proxy.Host, oneLine(response.Status))
}

// proxyRedactors returns redactors for the passwords in the addresses of the proxies.
func proxyRedactors(proxy httpproxy.Config) redactor {
	var r redactor
	for _, raw := range []string{proxy.HTTPProxy, proxy.HTTPSProxy} {
		if u, err := url.Parse(raw); err == nil && u.User != nil {
			password, _ := u.User.Password()
			r = append(r, newRedactor(u.User.Username(), password)...)
		}
	}
	return r
}

// pauses is until when servers do not want to be asked.
type pauses struct {
	mu    sync.Mutex
	until map[string]pause // by host
}

type pause struct {
	until  time.Time
	status string // the answer with which it began
}

// longestPause bounds what a server can ask for.
const longestPause = time.Hour

// left returns the error for a server that does not want to be asked yet, or nil.
func (p *pauses) left(host string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now, ok := p.until[host]; ok && time.Now().Before(now.until) {
		return now.error()
	}
	return nil
}

// begin notes what a server has answered, and returns the error for it; nil: it did not ask for a
// pause.
func (p *pauses) begin(host string, response *http.Response) error {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return nil
	}
	wait, ok := retryAfter(response.Header.Get("Retry-After"))
	if !ok {
		return nil
	}
	// Not in the server's own words, which may be any: a commit may name the server.
	answer := fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	began := pause{time.Now().Add(wait), answer}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = map[string]pause{}
	}
	p.until[host] = began
	return began.error()
}

func (p pause) error() error {
	// Rounded up: whoever tries again then is not too early.
	at := p.until.Add(time.Second - 1).Truncate(time.Second).UTC()
	return problem(ErrBusy, "its server answers %s and wants no requests until %s", p.status, at.Format("15:04:05 UTC"))
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(header string) (time.Duration, bool) {
	var d time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = time.Until(at)
	}
	return min(d, longestPause), d > 0
}
