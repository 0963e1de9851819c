package supervisor

import (
	"fmt"
	"sync"
)

// uids keeps the worker that fetches the configuration apart from the services: another process
// of its user could forge what root trusts. A user is identified by uid, since it may have
// several names. A worker takes its uid before it starts, so that of two at the same moment one
// is refused.
type uids struct {
	mu      sync.Mutex
	fetcher uint32            // 0: nothing is fetched
	workers map[uint32]int    // how many there are, including those that are starting
	names   map[uint32]string // of one service among them
}

// serve takes the uid for a worker of the service, until it is given back.
func (u *uids) serve(uid uint32, service string) (giveBack func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid != 0 && uid == u.fetcher {
		return nil, fmt.Errorf("its user shares uid %d with the user that fetches the configuration, and could forge it: give it a uid of its own", uid)
	}
	if u.workers == nil {
		u.workers, u.names = map[uint32]int{}, map[uint32]string{}
	}
	u.workers[uid]++
	u.names[uid] = service
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.workers[uid]--; u.workers[uid] == 0 {
			delete(u.workers, uid)
			delete(u.names, uid)
		}
	}), nil
}

// fetch takes the uid for the worker that fetches the configuration, until leave.
func (u *uids) fetch(uid uint32) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.workers[uid] > 0 {
		return fmt.Errorf("it shares its uid with the service %s, which could forge the configuration: give it a uid of its own", u.names[uid])
	}
	u.fetcher = uid
	return nil
}

// leave gives the uid back, if it is still taken.
func (u *uids) leave(uid uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetcher == uid {
		u.fetcher = 0
	}
}
