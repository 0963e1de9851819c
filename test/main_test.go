// Package test holds pgo's end-to-end tests: the built programs, the real
// Docker engine, real git servers, real Unix users. They need root; `make test`
// sets up the rest.
package test

import (
	"testing"

	"pgo/test/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }
