package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestManual(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if status, _, _, err := runWith(t, "", "man", dir); status != 0 || err != nil {
		t.Fatalf("status %d: %v", status, err)
	}
	for _, name := range []string{"cellblock.1", "cellblock-run.1", "cellblock-repl.1", "cellblock-rootfs.1", "cellblock-rootfs-build.1"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, section := range []string{".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXAMPLES\n", ".SH SEE ALSO\n"} {
			if !strings.Contains(string(page), section) {
				t.Errorf("%s has no %q", name, section)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "cellblock-man.1")); err == nil {
		t.Error("a hidden command has a page")
	}
	run, err := os.ReadFile(filepath.Join(dir, "cellblock-run.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`.B \-c, \-\-command \fICODE\fR`, `(default 30s)`, `cellblock run \-c`, `.BR cellblock (1)`} {
		if !strings.Contains(string(run), part) {
			t.Errorf("cellblock-run.1 has no %q", part)
		}
	}
	checkWithGroff(t, dir)
}

// checkWithGroff lets the formatter complain.
func checkWithGroff(t *testing.T, dir string) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		return
	}
	pages, err := filepath.Glob(dir + "/*.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		cmd := exec.Command(groff, "-man", "-Tascii", "-ww", "-z", page)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff on %s: %v\n%s", filepath.Base(page), err, out)
		}
	}
}

func TestTroff(t *testing.T) {
	for in, want := range map[string]string{
		"a-b":       `a\-b`,
		`a\b`:       `a\eb`,
		".x\n'y\nz": "\\&.x\n\\&'y\nz",
	} {
		if got := troff(in); got != want {
			t.Errorf("troff(%q) = %q, wanted %q", in, got, want)
		}
	}
}
