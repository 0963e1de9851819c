// Package config turns pgod's TOML files into a validated Config, or into the list of
// everything that is wrong with them. It starts nothing and reads only the files named.
package config

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"pgo/internal/ports"
)

// Config is the content of the configuration files, as it applies to this machine.
type Config struct {
	OperatorKeys    string         // path of an authorized_keys file; empty: there are no operators
	Notify          []SecretURL    // where every service's results go
	Proxies         Proxies        // also in each of Services
	TrustedNetworks []netip.Prefix // their failed logins do not slow down those of others
	Upstream        *Upstream      // where the rest of the configuration is; nil: there is none
	Services        []Service      // those of this machine, in the order of the files
	Elsewhere       []string       // names of the services of other machines
	Warnings        Problems       // what works but should be changed

	// Files are the local files that are read: the main file and those in its dropin.Dir, the
	// operators' keys, and every file that these refer to, whether or not they exist.
	Files []string
}

// Reload is the command that makes a proxy read its configuration again.
type Reload struct {
	Service string // a compose service; empty: there is nothing to run
	Command []string
}

// Service is one [[services]] entry.
type Service struct {
	Name       string
	User       string
	Repository SecretURL // in URL form, even if it was written as git@host:path
	Branch     string
	Compose    []string // paths in the repository, in order; empty: the first of the four usual names
	Profiles   []string
	Ignore     bool
	Adopt      bool
	Env        []EnvVar
	URLs       []Route       // sorted by the text of their URL
	Ports      []ports.Range // empty: all except those granted to other services
	Networks   []string      // empty: all
	Import     string        // path in the repository; empty: no snippet is written
	Reload     Reload
	Registries []Registry
	GitKey     Secret // the private key itself, in PEM; empty: none
	CA         string // certificates in PEM of authorities that count besides the system's
	Proxies    Proxies
	Allow      []string
	Deploy     DeployMode
	Rollback   bool
	Gate       time.Duration
	Timeout    time.Duration
	Interval   time.Duration
	Machine    []string // empty: this one
	DockerHost string   // empty: the engine's usual socket
	Notify     []SecretURL
}

// EnvVar is an environment variable of a service. Its value may be a password.
type EnvVar struct {
	Name  string
	Value Secret
}

// Registry is an account at an image registry.
type Registry struct {
	Host     string // host or host:port
	User     string
	Password Secret
}

// Route is one entry of urls: a public address and the containers behind it.
type Route struct {
	URL     string // as it was written
	Scheme  string // http or https
	Host    string // in lower case; its first label may be *
	Port    int
	Path    string // a prefix, without a slash at its end; empty: everything
	Targets []Target
}

// Target is a compose service, or another name on the proxy's network, and its port.
type Target struct {
	Host string
	Port int
}

// DeployMode is how a new commit replaces the running one.
type DeployMode string

// The ways to deploy.
const (
	Recreate   DeployMode = "recreate"    // down, then up
	InPlace    DeployMode = "in-place"    // up, which replaces only what has changed
	StartFirst DeployMode = "start-first" // likewise, but what is behind the proxy starts before the old ends
)

// Options is what Load has to know about the machine and pgod's own flags.
type Options struct {
	SSHPort         int           // pgod's own, which no service may publish
	Machines        []string      // this host's names
	DefaultInterval time.Duration // for services that set none; 0: a minute
	Upstream        *Upstream     // from the command line; nil: what the main file says
	Remote          []File        // from git: the main file first, then those in its dropin.Dir
}

// File is a file that was fetched from git.
type File struct {
	Path    string // as problems show it, such as pgo-config.git//pgo.toml
	Content []byte
}

// Load reads the file at path, those in dropin.Dir(path), and the files from git in opts. If
// path is empty, it reads only those from git. Its error is Problems, which include those of the
// operators' keys; then Config has nothing but Files.
func Load(path string, opts Options) (*Config, error) {
	sources, looked, problems := readSources(path, opts.Remote)
	secretFile := func(path string) (string, error) {
		looked = append(looked, path)
		return readSecretFile(path)
	}
	operators := func(path string) error {
		looked = append(looked, path)
		_, err := LoadOperatorKeys(path)
		return err
	}
	publicFile := func(path string) (string, error) {
		looked = append(looked, path)
		return readPublicFile(path)
	}
	config, more := parse(sources, opts, references{file: secretFile, public: publicFile, env: lookupEnv, operators: operators})
	slices.Sort(looked)
	looked = slices.Compact(looked)
	if problems = append(problems, more...); len(problems) > 0 {
		return &Config{Files: looked}, problems
	}
	config.Files = looked
	return config, nil
}

// Equal reports whether two entries are the same, including their secrets.
func (s Service) Equal(other Service) bool { return reflect.DeepEqual(s, other) }
