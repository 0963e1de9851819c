package supervisor

import (
	"context"
	"crypto/ed25519"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/proto"
)

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// reports has a service's worker report these keys.
func (s *Supervisor) reports(service string, keys ...ssh.PublicKey) {
	report := &proto.ReportReply{KeysKnown: true}
	for _, key := range keys {
		report.Keys = append(report.Keys, key.Marshal())
	}
	s.instance(service).view.reported(report)
}

func TestWhoseKeysAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{launcher: &launcher{opts: Options{Logger: hclog.NewNullLogger()}}, instances: map[string]*instance{}}
		for _, name := range []string{"web", "db", "new"} {
			s.instances[name] = newInstance(s.launcher, config.Service{Name: name}, nil)
		}
		web, both, operators, late, nobodys := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
		s.operators.replace(map[string]bool{string(operators.Marshal()): true})
		s.reports("web", web, both, operators)
		s.reports("db", both)
		expect := func(what string, key ssh.PublicKey, want sshd.Party, wantKnown bool, within time.Duration) {
			t.Helper()
			begun := time.Now()
			got, known := s.Knows(context.Background(), key)
			if known != wantKnown || !reflect.DeepEqual(got, want) || time.Since(begun) != within {
				t.Errorf("%s: %+v, %v, after %s", what, got, known, time.Since(begun))
			}
		}
		expect("one service's", web, sshd.Party{Services: []string{"web"}}, true, 0)
		expect("two services'", both, sshd.Party{Services: []string{"db", "web"}}, true, 0)
		expect("an operator's", operators, sshd.Party{Operator: true}, true, 0)
		expect("nobody's, while a worker starts", nobodys, sshd.Party{}, false, judgeTimeout)
		time.AfterFunc(time.Second, func() { s.reports("new", late) })
		expect("that of a service whose worker starts", late, sshd.Party{Services: []string{"new"}}, true, time.Second)
		expect("nobody's", nobodys, sshd.Party{}, false, 0)
	})
}
