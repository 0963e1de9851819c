package gitrepo

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// newSSHRemote returns a repository behind SSH. go-git's own transport does not heed the context
// until the channel is open, so a server that accepts and says nothing would hold it for ever.
func newSSHRemote(a *address, key []byte, knownHosts []string) (upstream, error) {
	if a.url.Hostname() == "" {
		return nil, problem(nil, "`repository` has no host")
	}
	if a.password != "" {
		return nil, problem(nil, "ssh takes a key, not a password; set `git_key` and remove the password from `repository`")
	}
	if len(key) == 0 {
		return nil, problem(ErrAuth, "ssh needs a deploy key; set `git_key`")
	}
	signer, err := ssh.ParsePrivateKey(key)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, problem(ErrAuth, "the key in `git_key` has a passphrase; use one without")
	}
	if err != nil {
		return nil, problem(ErrAuth, "the file in `git_key` is not an SSH private key")
	}
	login := a.user
	if login == "" {
		login = "git"
	}
	s := &sshRemote{
		login:      login,
		address:    a.hostPort("22"),
		command:    uploadPack + " " + shellQuote(a.repositoryPath()),
		signer:     signer,
		knownHosts: knownHosts,
	}
	return streamed{s.dial}, nil
}

// sshRemote's fields are set by newSSHRemote, then immutable.
type sshRemote struct {
	login      string
	address    string
	command    string
	signer     ssh.Signer
	knownHosts []string
}

func (s *sshRemote) dial(ctx context.Context, version string) (*conversation, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	conn, closeConn, err := dialTCP(ctx, s.address)
	if err != nil {
		return nil, err
	}
	client, err := func() (*conversation, error) {
		c, channels, requests, err := ssh.NewClientConn(conn, s.address, config)
		if err != nil {
			return nil, s.explainHandshake(err)
		}
		return s.run(ssh.NewClient(c, channels, requests), version)
	}()
	if err != nil {
		closeConn()
		return nil, err
	}
	client.close = closeConn
	return client, nil
}

func (s *sshRemote) config() (*ssh.ClientConfig, error) {
	check, algorithms, err := hostKeyCheck(s.knownHosts, s.address)
	if err != nil {
		return nil, err
	}
	return &ssh.ClientConfig{
		User:              s.login,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(s.signer)},
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
	}, nil
}

func (s *sshRemote) explainHandshake(err error) error {
	// x/crypto has no type for it.
	if strings.Contains(err.Error(), "unable to authenticate") {
		return problem(ErrAuth, "the server does not accept the key %s; add its public half to the repository's deploy keys",
			ssh.FingerprintSHA256(s.signer.PublicKey()))
	}
	return err
}

// run starts git-upload-pack on the server.
func (s *sshRemote) run(client *ssh.Client, version string) (*conversation, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if version != "" {
		_ = session.Setenv("GIT_PROTOCOL", version) // a server that refuses it speaks version 0
	}
	said := beginning{most: 4096} // enough of what a server says
	session.Stderr = &said
	if err := session.Start(s.command); err != nil {
		return nil, err
	}
	return &conversation{in: in, out: out, said: func() string {
		_ = session.Wait() // its status says less than its words
		return string(said.bytes)
	}}, nil
}

// shellQuote quotes a path for the shell at the other end.
func shellQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}
