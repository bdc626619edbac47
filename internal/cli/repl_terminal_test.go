package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLastWord(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "",
		"pri":               "pri",
		"os.pa":             "os.pa",
		"x = f(os.path.jo":  "os.path.jo",
		"x = ":              "",
		"a\nb.c":            "b.c",
		"größe":             "",
		"größe + x":         "x",
		"'é'.join(x_1":      "x_1",
		"df[\"a\"].me":      ".me", // which completes to nothing
		"[x for x in range": "range",
	} {
		if got := lastWord(in); got != want {
			t.Errorf("lastWord(%q) = %q, wanted %q", in, got, want)
		}
	}
}

func TestHistoryFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	got := historyFile()
	if want := filepath.Join(dir, "cellblock", "history"); got != want {
		t.Fatalf("got %q, wanted %q", got, want)
	}
	st, err := os.Stat(filepath.Dir(got))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the history: %v, %v", st.Mode(), err)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", dir)
	if got, want := historyFile(), filepath.Join(dir, ".local/state/cellblock/history"); got != want {
		t.Errorf("got %q, wanted %q", got, want)
	}
	t.Setenv("HOME", "/dev/null")
	if got := historyFile(); got != "" {
		t.Errorf("without a home: %q", got)
	}
}
