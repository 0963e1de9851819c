package sshd

import "sync"

// Party is the owner of a key: operators, or the services that have it, by name. Several services
// may have the same key: public keys are public, and a repository can list those of another.
type Party struct {
	Operator bool
	Services []string
}

// shares counts what clients that have logged in have open at once: in total, by key and by
// service. Anyone who can push to a repository can add any number of keys, so all keys of a
// service have one share, and none of them gets what is reserved for operators.
type shares struct {
	limits Limits // set by newShares, then immutable

	mu        sync.Mutex // guards what follows
	all       int
	others    int // of all, not operators'
	byKey     map[string]int
	byService map[string]int
}

func newShares(l Limits) *shares {
	return &shares{limits: l, byKey: map[string]int{}, byService: map[string]int{}}
}

// take takes one more for a key of the party. It returns a function that gives it back, or nil if
// there is none left.
func (s *shares) take(p Party, fingerprint string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.limits.Sessions || s.byKey[fingerprint] >= s.limits.SessionsPerKey {
		return nil
	}
	if p.Operator {
		s.add(1, 0, fingerprint, "")
		return func() { s.release(0, fingerprint, "") }
	}
	service, ok := s.serviceWithRoom(p)
	if !ok || s.others >= s.limits.Sessions-s.limits.SessionsOfOperators {
		return nil
	}
	s.add(1, 1, fingerprint, service)
	return func() { s.release(1, fingerprint, service) }
}

// serviceWithRoom returns the first service of the party that has not used up its share. So a
// repository that lists the keys of another's users cannot use up their share.
func (s *shares) serviceWithRoom(p Party) (string, bool) {
	if len(p.Services) == 0 {
		p.Services = []string{""}
	}
	for _, service := range p.Services {
		if s.byService[service] < s.limits.SessionsPerService {
			return service, true
		}
	}
	return "", false
}

func (s *shares) release(others int, fingerprint, service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(-1, -others, fingerprint, service)
}

// add changes all counts. The caller holds the lock.
func (s *shares) add(all, others int, fingerprint, service string) {
	s.all += all
	s.others += others
	count(s.byKey, fingerprint, all)
	count(s.byService, service, others)
}

func count(in map[string]int, of string, n int) {
	if in[of] += n; in[of] == 0 {
		delete(in, of)
	}
}
