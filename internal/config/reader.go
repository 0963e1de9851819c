package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
)

// reader collects the content of the files and everything that is wrong with them.
type reader struct {
	opts     Options
	refs     references
	config   Config
	services []placed // of every machine
	pgod     value    // the first [pgod]
	problems Problems
	warnings Problems
}

// placed is a service and where it is defined.
type placed struct {
	*Service
	at   value
	here bool
}

// parse reads files that are already in memory; only references read anything else.
func parse(sources []source, opts Options, refs references) (*Config, Problems) {
	if opts.DefaultInterval == 0 {
		opts.DefaultInterval = time.Minute
	}
	r := &reader{opts: opts, refs: refs}
	r.config.Upstream = opts.Upstream
	order := map[string]int{}
	for i, s := range sources {
		order[s.path] = i
		r.read(s)
	}
	r.checkConflicts()
	r.spreadProxies()
	for _, s := range r.services {
		if s.here {
			r.config.Services = append(r.config.Services, *s.Service)
		} else {
			r.config.Elsewhere = append(r.config.Elsewhere, s.Name)
		}
	}
	byPlace := func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	}
	slices.SortStableFunc(r.problems, byPlace)
	slices.SortStableFunc(r.warnings, byPlace)
	r.config.Warnings = r.warnings
	return &r.config, r.problems
}

// spreadProxies tells everything that reaches servers about the proxies.
func (r *reader) spreadProxies() {
	if r.refs.env != nil {
		r.warnings = append(r.warnings, r.config.Proxies.addEnvironment(r.refs.env)...)
	}
	for _, s := range r.services {
		s.Proxies = r.config.Proxies
	}
	if u := r.config.Upstream; u != nil && u != r.opts.Upstream { // which is the same for all
		u.Proxies = r.config.Proxies
	}
}

func (r *reader) read(s source) {
	table, lines, problem := s.decode()
	if problem != nil {
		r.problems = append(r.problems, *problem)
		return
	}
	if len(table) == 0 && !s.dropin {
		// The file may be about to be written: it must not take everything down.
		r.problems = append(r.problems, problemOf(s.path, 1, wrong("write services = [] if no service is to run", "empty")))
		return
	}
	root := value{raw: table, line: 1, refs: r.refs, file: &file{source: s, lines: lines, reader: r}}
	readTable(root, "", rootKeys, r)
}

// readPgod reads [pgod], which applies to the whole host.
func (r *reader) readPgod(v value) {
	if v.file.dropin {
		v.complain(wrong("move it to the main file", "only [[services]] is allowed here"))
		return
	}
	if first := r.pgod; first.raw != nil {
		v.complain(wrong("leave it out of one", "%s:%d has this table already", first.file.path, first.line))
		return
	}
	r.pgod = v
	readTable(v, "pgod.", pgodKeys, &r.config)
}

func (r *reader) readServices(v value) {
	list, ok := v.list()
	if !ok {
		v.complain(wrong("write [[services]]", "expected a list of tables"))
	}
	if len(r.services)+len(list) > maxServices {
		v.complain(wrong("", "more than %d services", maxServices))
		return
	}
	for i := range list {
		r.readService(v.element(i))
	}
}

// errElsewhere is the result of a reference in another machine's service. It is not a
// problem: the file or variable is on that machine.
var errElsewhere = errors.New("only on another machine")

func (r *reader) readService(v value) {
	here := r.isHere(v.key("machine"))
	if name, ok := v.key("name").raw.(string); ok {
		v.service = quote(name)
	}
	if !here {
		v.refs = references{
			file:   func(string) (string, error) { return "", errElsewhere },
			public: func(string) (string, error) { return "", errElsewhere },
			env:    func(string) (string, error) { return "", errElsewhere },
		}
	}
	service := &Service{
		Branch:   "main",
		Deploy:   Recreate,
		Rollback: true,
		Gate:     time.Minute,
		Timeout:  10 * time.Minute,
		Interval: r.opts.DefaultInterval,
	}
	readTable(v, "services.", serviceKeys, service)
	r.services = append(r.services, placed{service, v, here})
}

// isHere reports whether a service with this list of machines belongs on this one. A name
// without a domain also matches this host's name if that has one.
func (r *reader) isHere(machines value) bool {
	list, _ := machines.list()
	for _, raw := range list {
		name, _ := raw.(string)
		for _, own := range r.opts.Machines {
			label, _, _ := strings.Cut(own, ".")
			if strings.EqualFold(name, own) || strings.EqualFold(name, label) {
				return true
			}
		}
	}
	return len(list) == 0
}
