package compose

import (
	"context"
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for said, old := range map[string]bool{
		"2.40.3": false, "v2.35.0": false, "2.35.0-desktop.1": false, "5.0.1": false, "2.100.0": false,
		"2.34.0": true, "v2.4.1": true, "1.29.2": true, "": true, "nonsense": true,
	} {
		p := script(t, "echo '"+said+"'")
		p.Home = t.TempDir()
		err := p.CheckVersion(context.Background())
		if (err != nil) != old {
			t.Errorf("%q: error %v", said, err)
		}
		if err != nil && !strings.Contains(err.Error(), "is too old: pgo needs 2.35 or newer") {
			t.Errorf("%q: error %v", said, err)
		}
	}
	p := project(t)
	if err := p.CheckVersion(context.Background()); err != nil {
		t.Errorf("the installed one: %v", err)
	}
}
