package testkit

import "testing"

func TestParsePace(t *testing.T) {
	for text, want := range map[string]float64{"": 1, "1": 1, "10": 10, "2.5": 2.5, "100": 100} {
		if got, err := parsePace(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "0.5", "-3", "101", "fast", "NaN", "1s"} {
		if got, err := parsePace(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}
