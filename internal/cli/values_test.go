package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSizeValue(t *testing.T) {
	const mega = 1 << 20
	tests := []struct {
		in   string
		want int64
		err  string
	}{
		{in: "512M", want: 512 * mega},
		{in: "512MiB", want: 512 * mega},
		{in: "512mb", want: 512 * mega},
		{in: "0.5G", want: 512 * mega},
		{in: " 2g ", want: 2048 * mega},
		{in: "67108864", want: 64 * mega},
		{in: "5M", err: "it is 5M, and must be at least 32M"},
		{in: "512", err: "must be at least 32M: write 512M for MiB"},
		{in: "0", err: "must be at least 32M"},
		{in: "-1M", err: "it is no size"},
		{in: "12Q", err: "it is no size"},
		{in: "", err: "it is no size"},
		{in: "M", err: "it is no size"},
		{in: "inf", err: "it is no size"},
		{in: "99999999999P", err: "it is no size"},
	}
	for _, tt := range tests {
		var n int64
		checkSet(t, "size", tt.in, sizeValue{&n, 32 * mega}.Set(tt.in), tt.err)
		if tt.err == "" && n != tt.want {
			t.Errorf("size %q is %d, wanted %d", tt.in, n, tt.want)
		}
	}
}

func TestDurationValue(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		err  string
	}{
		{in: "30s", want: 30 * time.Second},
		{in: "1m30s", want: 90 * time.Second},
		{in: "250ms", want: 250 * time.Millisecond},
		{in: "30", want: 30 * time.Second},
		{in: "0.5", want: time.Second / 2},
		{in: "0", err: "more than 0"},
		{in: "-1s", err: "more than 0"},
		{in: "x", err: "it is no time"},
		{in: "", err: "it is no time"},
		{in: "NaN", err: "it is no time"},
		{in: "1e300", err: "it is no time"},
	}
	for _, tt := range tests {
		var d time.Duration
		checkSet(t, "time", tt.in, durationValue{&d}.Set(tt.in), tt.err)
		if tt.err == "" && d != tt.want {
			t.Errorf("time %q is %v, wanted %v", tt.in, d, tt.want)
		}
	}
	for d, want := range map[time.Duration]string{0: "", 30 * time.Second: "30s", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Second: "1m30s"} {
		if got := (durationValue{&d}).String(); got != want {
			t.Errorf("%v is shown as %q, wanted %q", d, got, want)
		}
	}
}

func TestNumberValue(t *testing.T) {
	tests := []struct {
		in    string
		whole bool
		want  float64
		err   string
	}{
		{in: "64", whole: true, want: 64},
		{in: "0.5", err: "at least 2"},
		{in: "2.5", want: 2.5},
		{in: "2.5", whole: true, err: "it is no whole number"},
		{in: "1", whole: true, err: "at least 2"},
		{in: "x", err: "it is no number"},
		{in: "NaN", err: "it is no number"},
		{in: "1e9", err: "it is no number"},
	}
	for _, tt := range tests {
		var n float64
		checkSet(t, "number", tt.in, numberValue{&n, 2, tt.whole}.Set(tt.in), tt.err)
		if tt.err == "" && n != tt.want {
			t.Errorf("number %q is %v, wanted %v", tt.in, n, tt.want)
		}
	}
}

func TestListAndEnvValue(t *testing.T) {
	var list []string
	for _, s := range []string{"numpy,pandas", " scipy ", ",", ""} {
		if err := (listValue{&list}).Set(s); err != nil {
			t.Errorf("list %q: %v", s, err)
		}
	}
	if diff := cmp.Diff([]string{"numpy", "pandas", "scipy"}, list); diff != "" {
		t.Error(diff)
	}
	var env map[string]string
	for in, want := range map[string]string{"A=b": "", "A_1=x=y": "", "B=": "", "FOO": "NAME=VALUE", "=x": "no name", "1A=x": "no name", "A B=x": "no name"} {
		checkSet(t, "env", in, envValue{&env}.Set(in), want)
	}
	if diff := cmp.Diff(map[string]string{"A": "b", "A_1": "x=y", "B": ""}, env); diff != "" {
		t.Error(diff)
	}
}

func checkSet(t *testing.T, kind, in string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s %q: %v", kind, in, err)
	case want != "" && err == nil:
		t.Errorf("%s %q is taken, wanted an error with %q", kind, in, want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s %q: %q, wanted %q in it", kind, in, err, want)
	}
}

// FuzzSize: whatever is taken as a size is within bounds, and its text is taken
// as the same.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"512M", "0.5G", " 2g ", "1e9", "0x10", "-1M", "inf", "NaN", "99999999999P", "1.", "１M"} {
		f.Add(s, int64(32<<20))
	}
	f.Fuzz(func(t *testing.T, s string, least int64) {
		least = max(0, least)
		n := int64(-1)
		if (sizeValue{&n, least}).Set(s) != nil {
			if n != -1 {
				t.Fatalf("%q is refused and set to %d", s, n)
			}
			return
		}
		if n < least || n > 1<<50 {
			t.Fatalf("%q is %d, at least %d", s, n, least)
		}
		if n >= 1<<10 && n%(1<<10) == 0 {
			var again int64
			if err := (sizeValue{&again, least}).Set(sizeText(n)); err != nil || again != n {
				t.Fatalf("%q is %d, its text %q is %d: %v", s, n, sizeText(n), again, err)
			}
		}
	})
}

// FuzzDuration: whatever is taken as a time is more than nothing.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30s", "1m30s", "2.5", "1e300", "-1", "0", "NaN", "Inf", "999999999h", "1e-10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d time.Duration
		if err := (durationValue{&d}).Set(s); err == nil && d <= 0 || err != nil && d != 0 {
			t.Fatalf("%q is %s: %v", s, d, err)
		}
	})
}
