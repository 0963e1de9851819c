package gittest

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// Proxy is an HTTP proxy, for http and, with CONNECT, for https. Whatever host it is asked for, it
// leads to one server: so names that no test could have can be used.
type Proxy struct {
	// URL has the user's name and password.
	URL string

	mu    sync.Mutex
	asked []string
}

// NewProxy starts a proxy on a free port of the loopback address that leads to the server at
// address to, for clients that send the password. An empty one is not asked for.
func NewProxy(t testing.TB, to, password string) *Proxy {
	t.Helper()
	p := &Proxy{}
	forward := httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", to }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wanted := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+password))
		if password != "" && r.Header.Get("Proxy-Authorization") != wanted {
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		p.note(r.Method + " " + r.Host)
		if r.Method != http.MethodConnect {
			forward.ServeHTTP(w, r)
			return
		}
		tunnel(w, to)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if password != "" {
		u.User = url.UserPassword("ada", password)
	}
	p.URL = u.String()
	return p
}

// tunnel connects a client with the server at address to until one of them ends.
func tunnel(w http.ResponseWriter, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, buffered)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

func (p *Proxy) note(request string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, request)
}

// Asked returns the requests so far, each as its method and the host that it was for.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}
