package policy

import (
	"os"
	"testing"

	"pgo/worker/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}
