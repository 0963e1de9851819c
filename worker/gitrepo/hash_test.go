package gitrepo

import (
	"encoding/json"
	"testing"
)

// A hash is saved as its digits, and the zero hash as an empty text.
func TestHashText(t *testing.T) {
	const digits = "1234567890abcdef1234567890abcdef12345678"
	var got struct{ Commit, None Hash }
	const text = `{"Commit":"` + digits + `","None":""}`
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(got); err != nil || string(again) != text {
		t.Errorf("%s, %v, want %s", again, err, text)
	}
	if c := got.Commit; c.String() != digits || c.Short() != "1234567" || c.IsZero() {
		t.Errorf("%s, %s, %v", c, c.Short(), c.IsZero())
	}
	if n := got.None; n.String() != "" || n.Short() != "" || !n.IsZero() {
		t.Errorf("%q, %q, %v", n, n.Short(), n.IsZero())
	}
	for _, bad := range []string{"", "1234567", digits + "0", "x" + digits[1:]} {
		if h, err := ParseHash(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, h)
		}
	}
	if err := json.Unmarshal([]byte(`"1234567"`), &got.Commit); err == nil {
		t.Error("seven digits are taken for a hash")
	}
}
