package template

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := Parse([]string{"numpy as np", " matplotlib.pyplot  as plt ", "json", "_a1.b_2"})
	want := []Module{{"numpy", "np"}, {"matplotlib.pyplot", "plt"}, {"json", ""}, {"_a1.b_2", ""}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "a as", "as b", "a as b as c", "a.", ".a", "a..b", "1a", "a as 1", "a;b", "a as b.c", "a,b", "a as b;c", "*", "а", "a\x00", "a b c", "from a import b"} {
		if got, err := Parse([]string{bad}); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
