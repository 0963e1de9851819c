package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"pgo/internal/config"
	"pgo/internal/printable"
	"pgo/internal/target"
)

// Loss means that a configuration would remove so many services that it is more likely a mistake,
// such as a template that found nothing: an operator has to confirm it.
type Loss struct {
	Names []string // what would be removed, sorted
	Of    int      // how many there are
	Begun bool     // the configuration is in force apart from that: it is the one that pgod started with
}

func (l *Loss) Error() string {
	what := fmt.Sprintf("%d of %d services", len(l.Names), l.Of)
	if len(l.Names) == l.Of {
		what = "every service"
	}
	does := "it would remove " + what + " of this host"
	if l.Begun {
		does = "it has no entry for " + what + " that this host had, and they are left as they are, without workers"
	}
	return fmt.Sprintf("%s: %s; put their entries back, or confirm the removal with //reload --remove (a service with a new name starts afresh)",
		does, strings.Join(l.Names, ", "))
}

// loss returns the Loss, or nil if so few are gone that nobody has to confirm it: at most half.
func loss(gone []string, of int) *Loss {
	if 2*len(gone) <= of {
		return nil
	}
	slices.Sort(gone)
	return &Loss{Names: gone, Of: of}
}

// lossIn returns the Loss that an error is about; nil: it is about something else.
func lossIn(err error) *Loss {
	var lost *Loss
	errors.As(err, &lost)
	return lost
}

// IsConfirmed reports whether these names have all that would be removed.
func (l *Loss) IsConfirmed(names []string) bool { return isWithin(l.Names, names) }

func isWithin(some, names []string) bool {
	return !slices.ContainsFunc(some, func(name string) bool { return !slices.Contains(names, name) })
}

// Loss reports whether Apply would take away more than half of what this host has, counting what
// is being removed already: a file that shrinks in several steps is no better than one that
// shrinks at once. It returns nil if it would not, or removes nothing.
func (s *Supervisor) Loss(services []config.Service) *Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for name := range s.instances {
		all[name] = true
	}
	for name := range s.removals {
		all[name] = true
	}
	for _, name := range s.kept {
		all[name] = true
	}
	of, removes := len(all), len(s.instances)
	for _, service := range services {
		delete(all, service.Name)
		if s.instances[service.Name] != nil {
			removes--
		}
	}
	if removes == 0 {
		return nil
	}
	return loss(slices.Collect(maps.Keys(all)), of)
}

// LossAt is Loss for a pgod that does not run: it asks the records in pgod's directory about the
// services of that configuration. Without records it knows of no loss.
func LossAt(dir, configuration string, services []config.Service) *Loss {
	records, _ := loadRecords(dir) // which pgod itself complains about
	of, left, kept := 0, map[string]bool{}, map[string]bool{}
	for name, record := range records {
		if record.Configuration == configuration && !record.Leaving {
			of++
			left[name] = true
			if record.Kept {
				kept[name] = true
			}
		}
	}
	for _, service := range services {
		delete(left, service.Name)
		delete(kept, service.Name)
	}
	if lost := loss(slices.Collect(maps.Keys(left)), of); lost != nil || len(kept) == 0 {
		return lost
	}
	return &Loss{Names: slices.Sorted(maps.Keys(kept)), Of: of}
}

// survey notes, once, which services an earlier pgod has left. The lock is held.
func (s *Supervisor) survey() {
	if s.earlier != nil {
		return
	}
	s.earlier = map[string]bool{}
	entries, err := os.ReadDir(s.data.services())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Logger.Error("cannot look for services that are not configured any more", "error", err)
	}
	for _, entry := range entries {
		if name := entry.Name(); target.IsService(name) && entry.IsDir() {
			s.earlier[name] = true
		} else {
			s.opts.Logger.Warn("not a service's directory: left alone", "path", printable.Line(s.data.service(name)))
		}
	}
}

// Sweep removes each service that an earlier pgod has left and that is not configured: it was
// taken out of the configuration while pgod was not running. The services in spared are left as
// they are, and so are those of another configuration: whoever tries one out may use pgod's usual
// directory for it. If what would be removed is too much to be removed unasked, nothing is, unless
// all of it is confirmed; and what was kept once, also by an earlier pgod, is kept until all of that is
// confirmed, or it is configured again: that the rest is back does not confirm it. Sweep is called
// after Apply, and looks only at what was there when this pgod started: later, somebody may put a
// directory there by hand.
func (s *Supervisor) Sweep(spared, confirmed []string) (removed []string, lost *Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.survey()
	s.kept = nil
	if s.closing {
		return nil, nil
	}
	var gone, kept []string
	of := 0
	for _, name := range slices.Sorted(maps.Keys(s.earlier)) {
		log, record := s.opts.Logger.With("service", name), s.records.get(name)
		switch {
		case s.instances[name] != nil:
			of++
		case record.Configuration != "" && record.Configuration != s.opts.Configuration:
			log.Warn("the service belongs to another configuration: it is left as it is, without a worker", "configuration", record.Configuration)
			delete(s.earlier, name)
		case record.Leaving:
			removed = append(removed, name)
		case slices.Contains(spared, name):
			of++
			if !s.spared[name] {
				log.Warn("the service is configured for other machines, and no service for this one: it is left as it is, without a worker; see --machine")
			}
			s.spared[name] = true
		default:
			of++
			gone = append(gone, name)
			if record.Kept {
				kept = append(kept, name)
			}
		}
	}
	if loss(gone, of) != nil {
		kept = gone
	}
	if isWithin(kept, confirmed) {
		kept = nil
		s.Configuration.nothingWaits()
	} else {
		s.kept = kept
		s.records.keep(kept)
		lost = &Loss{Names: slices.Clone(kept), Of: of, Begun: true}
	}
	for _, name := range gone {
		if !slices.Contains(kept, name) {
			removed = append(removed, name)
		}
	}
	for _, name := range removed {
		s.opts.Logger.Warn("the service is not configured any more: its containers are taken down", "service", name)
		s.remove(name, nil)
	}
	return removed, lost
}

// isKept reports whether the service is not configured, and left as it is.
func (s *Supervisor) isKept(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.earlier[name] && s.instances[name] == nil
}
