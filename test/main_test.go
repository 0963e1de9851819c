// Package test holds pgo's end-to-end tests: the built programs, the real
// Docker engine, real git servers, real Unix users. They need root; `make test`
// sets up the rest.
package test

import (
	"flag"
	"os"
	"testing"

	"pgo/test/rig"
	"pgo/worker/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if mission := os.Getenv(missionKey); mission != "" {
		os.Exit(carryOut(mission))
	}
	// These tests mostly wait, so more of them than there are processors can run at once.
	// -parallel on the command line still counts.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	rig.Main(m)
}
