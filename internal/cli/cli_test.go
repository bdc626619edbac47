package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runWith runs a command line that builds no cell.
func runWith(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string, err error) {
	t.Helper()
	in := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(in, []byte(stdin), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out, errOut bytes.Buffer
	status, err = Run(args, Streams{In: f, Out: &out, Err: &errOut})
	return status, out.String(), errOut.String(), err
}

func TestRootCommand(t *testing.T) {
	tests := []struct {
		args   string
		status int
		out    string // in stdout, stderr or the error
	}{
		{"", 2, "Available Commands:"},
		{"--help", 0, "Cellblock runs Python that nobody trusts"},
		{"--version", 0, "cellblock devel ("},
		{"help run", 0, "Exit status:"},
		{"frobnicate", 2, `there is no command "frobnicate": cellblock --help lists them`},
		{"nowhere.py", 2, "write: cellblock run nowhere.py"},
		{"--frobnicate", 2, "unknown flag: --frobnicate (see: cellblock --help)"},
		{"run --memory 12Q -c 1", 2, `--memory "12Q": it is no size: write a number with K, M or G, such as 512M (see: cellblock run --help)`},
		{"rootfs", 2, "say what to do: build, list, verify or remove"},
		{"rootfs frob", 2, `there is no command "rootfs frob"`},
		{"rootfs build x", 2, `cellblock rootfs build takes no argument, and "x" was given`},
		{"rootfs remove", 2, "name the roots to remove"},
		{"doctor x", 2, "takes no argument"},
		{"repl x", 2, "takes no argument"},
		{"man", 2, "give the directory"},
		{"completion", 2, "name one shell"},
		{"completion tcsh", 2, `no completion for the shell "tcsh"`},
	}
	for _, tt := range tests {
		status, stdout, stderr, err := runWith(t, "", strings.Fields(tt.args)...)
		all := stdout + stderr
		if err != nil {
			all += err.Error()
		}
		if status != tt.status || !strings.Contains(all, tt.out) {
			t.Errorf("cellblock %s: status %d, wanted %d; printed %q, wanted %q", tt.args, status, tt.status, all, tt.out)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("cellblock %s: more than one line: %q", tt.args, err)
		}
	}
}

// Only the chosen command is made: the others' flags would cost every start.
func TestRootBuildsOnlyTheChosenCommand(t *testing.T) {
	a := &app{}
	if n := len(a.root([]string{"run", "x"}).Commands()); n != 1 {
		t.Errorf("%d commands were made for run", n)
	}
	if n := len(a.root([]string{"help"}).Commands()); n != len(commands()) {
		t.Errorf("%d of %d commands were made for help", n, len(commands()))
	}
}

// Every command has what its help and its manual page show.
func TestEveryCommandIsDocumented(t *testing.T) {
	for _, cmd := range withSubcommands((&app{}).root(nil)) {
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s has no summary or no example", cmd.CommandPath())
		}
		for text := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(text) > 102 {
				t.Errorf("%s: a line of %d characters: %s", cmd.CommandPath(), len(text), text)
			}
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"two\nlines\n":     "two; lines",
		"esc\x1b[31m":      `esc\x1b[31m`,
		"cr\rlf":           `cr\x0dlf`,
		"tab\there":        "tab here",
		"é\u0085\u2028\"x": `é\x85\x2028"x`,
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, wanted %q", in, got, want)
		}
	}
}

func TestQuiet(t *testing.T) {
	if quiet(&signalError{2}) != nil {
		t.Error("a signal is told in words")
	}
	if err := errors.New("x"); !errors.Is(quiet(err), err) {
		t.Error("an error is lost")
	}
}
