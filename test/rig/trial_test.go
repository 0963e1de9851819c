package rig

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// trial is a test within a test: it records what a failing test would say, so that the rig's
// own complaints can be checked.
type trial struct {
	testing.TB
	mu       sync.Mutex
	said     []string
	failed   bool
	cleanups []func()
}

// try plays a test to its end, cleanups included.
func try(t *testing.T, test func(t testing.TB)) *trial {
	played := &trial{TB: t}
	played.play(func() { test(played) })
	for len(played.cleanups) > 0 {
		last := len(played.cleanups) - 1
		cleanup := played.cleanups[last]
		played.cleanups = played.cleanups[:last]
		played.play(cleanup)
	}
	return played
}

// play runs a part of the test where Fatal can end it.
func (p *trial) play(part func()) {
	done := make(chan struct{})
	go func() { defer close(done); part() }()
	<-done
}

// complains fails the real test unless the trial has failed with those words.
func (p *trial) complains(t *testing.T, words ...string) {
	t.Helper()
	text := strings.Join(p.said, "\n")
	missing := slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	if !p.failed || missing {
		t.Fatalf("the rig should have complained about %q; it said: %s", words, text)
	}
}

// isContent fails the real test if the trial has failed.
func (p *trial) isContent(t *testing.T) {
	t.Helper()
	if p.failed {
		t.Fatalf("the rig complains: %s", strings.Join(p.said, "\n"))
	}
}

func (p *trial) say(failed bool, words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = p.failed || failed
	p.said = append(p.said, words)
}

func (p *trial) Cleanup(f func())             { p.cleanups = append(p.cleanups, f) }
func (p *trial) Failed() bool                 { return p.failed }
func (p *trial) Log(args ...any)              { p.say(false, fmt.Sprint(args...)) }
func (p *trial) Logf(f string, args ...any)   { p.say(false, fmt.Sprintf(f, args...)) }
func (p *trial) Error(args ...any)            { p.say(true, fmt.Sprint(args...)) }
func (p *trial) Errorf(f string, args ...any) { p.say(true, fmt.Sprintf(f, args...)) }

func (p *trial) Fatal(args ...any) {
	p.say(true, fmt.Sprint(args...))
	runtime.Goexit()
}

func (p *trial) Fatalf(f string, args ...any) {
	p.say(true, fmt.Sprintf(f, args...))
	runtime.Goexit()
}
