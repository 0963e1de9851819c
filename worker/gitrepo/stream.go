package gitrepo

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// A conversation is a running git-upload-pack at the other end of a stream.
type conversation struct {
	in    io.Writer
	out   io.Reader
	close func()
	// said waits for the end and returns what the server wrote outside of the protocol, or "".
	said func() string
}

// streamed is a repository that is reached over a stream: SSH, or git's own protocol. Each look
// and each fetch is a conversation of its own.
type streamed struct {
	// dial asks for a version of the protocol, unless it is "".
	dial func(ctx context.Context, version string) (*conversation, error)
}

func (s streamed) refs(ctx context.Context, _ ...string) (map[string]Hash, error) {
	c, advert, err := s.start(ctx, "")
	if err != nil {
		return nil, err
	}
	defer c.close()
	// Nothing is wanted. It does not matter if the server has gone already.
	_, _ = io.WriteString(c.in, flush)
	return refsOf(advert), nil
}

func (s streamed) pack(ctx context.Context, alive func(), q query) (io.ReadCloser, error) {
	version := ""
	if q.any {
		version = protocol2
	}
	c, advert, err := s.start(ctx, version)
	if err != nil {
		return nil, err
	}
	alive()
	pack, err := func() (io.Reader, error) {
		request, err := packRequest(advert, q)
		if err != nil {
			return nil, err
		}
		if _, err := c.in.Write(request); err != nil {
			return nil, err
		}
		return readPack(watched{c.out, alive}, advert)
	}()
	if err != nil {
		c.close()
		return nil, err
	}
	return readCloser{pack, closerFunc(c.close)}, nil
}

// start begins a conversation. If the server is asked for version 2 and speaks it, the advert is
// nil.
func (s streamed) start(ctx context.Context, version string) (*conversation, *packp.AdvRefs, error) {
	c, err := s.dial(ctx, version)
	if err != nil {
		return nil, nil, err
	}
	out := bufio.NewReader(c.out)
	c.out = out
	advert, err := readGreeting(out, version)
	if err == io.ErrUnexpectedEOF {
		if said := c.said(); said != "" {
			err = refused(said)
		}
	}
	if err != nil {
		c.close()
		return nil, nil, err
	}
	return c, advert, nil
}

// dialGit connects to a git daemon.
func dialGit(a *address) func(context.Context, string) (*conversation, error) {
	return func(ctx context.Context, version string) (*conversation, error) {
		conn, closeConn, err := dialTCP(ctx, a.hostPort("9418"))
		if err != nil {
			return nil, err
		}
		request := packp.GitProtoRequest{RequestCommand: uploadPack, Pathname: a.repositoryPath(), Host: a.url.Host}
		if version != "" {
			request.ExtraParams = []string{version}
		}
		if err := request.Encode(conn); err != nil {
			closeConn()
			return nil, err
		}
		return &conversation{in: conn, out: conn, close: closeConn, said: func() string { return "" }}, nil
	}
}

// dialTCP connects to a server. The end of ctx closes the connection, whatever the connection is
// waiting for.
func dialTCP(ctx context.Context, address string) (conn net.Conn, closeConn func(), err error) {
	dialer := net.Dialer{KeepAlive: 15 * time.Second}
	conn, err = dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() {
		stop()
		conn.Close()
	}, nil
}

// watched calls alive whenever something was read.
type watched struct {
	io.Reader
	alive func()
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

type closerFunc func()

func (f closerFunc) Close() error {
	f()
	return nil
}
