package ports

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]Range{
		"80": One(80), "0": One(0), "9000-9002": {9000, 9002}, "80-80": One(80), "65535": One(65535),
		"": {-1, 0}, "-": {-1, 0}, "80-": {-1, 0}, "-80": {-1, 0}, "80-79": {-1, 0}, "65536": {-1, 0}, "+80": {-1, 0}, "1-2-3": {-1, 0}, "80/tcp": {-1, 0}, " 80": {-1, 0},
	} {
		got, ok := Parse(text)
		if ok != (want.First >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
		if again, ok2 := Parse(got.String()); ok && (!ok2 || again != got) {
			t.Errorf("%v is not parsed as it is printed", got)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, test := range []struct {
		r, other     Range
		overlaps, in bool
	}{
		{One(80), One(80), true, true},
		{One(80), One(81), false, false},
		{Range{80, 90}, Range{90, 100}, true, false},
		{Range{0, 5}, One(3), true, false},
		{Range{80, 90}, Range{1, 100}, true, true},
	} {
		if test.r.Overlaps(test.other) != test.overlaps || test.other.Overlaps(test.r) != test.overlaps || test.r.In([]Range{test.other}) != test.in {
			t.Errorf("%v and %v", test.r, test.other)
		}
	}
	several := []Range{{5, 6}, {1, 4}, One(8)}
	if !(Range{1, 6}).In(several) || (Range{1, 8}).In(several) || One(1).In(nil) {
		t.Error("ranges side by side")
	}
	if got := Join(several); got != "5-6, 1-4, 8" {
		t.Error(got)
	}
}
