package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIsWhole(t *testing.T) {
	whole := []string{
		"x = 1", "print('a:')", "x = {1: 2}", "f(1,\n  2)", "'''a\nb'''", `"\""`, "x = 'unterminated", "x = 1 # (", "# if x:",
		"x[1:2]", "lambda: 1", "x = a if b else c", "iffy = 1", "format(1)", "))", "import os; os.getcwd()", `"a" 'b'`,
		"if x:\n  y\n", "if x: y\n", "for i in x:\n  pass\n  ", "@d\ndef f():\n  pass\n", "x = 1\ny = 2", "f(\n\n1)",
		"x = 1 + \\\n  2", `r"\\"`, "'\\\n'", "match x:\n  case 1:\n    pass\n",
	}
	for _, s := range whole {
		if !isWhole(s) {
			t.Errorf("is not whole: %q", s)
		}
	}
	open := []string{
		"if x:", "if x: y", "def f():", "def f():\n  return 1", "class A:", "f(", "[1,\n2", "{", "'''a", `x = """a'''`, "x = \\",
		"x = 1 + \\\n", "@d", "@d\ndef f():", "async def f():", "with a as b:", "try:\n  x", "while 1:\n\n  ( # )\n", "if x: # comment",
		"match x:", "f('''\n", "  if x:", "if x:\n  y = '''\n\n", "'\\\n",
	}
	for _, s := range open {
		if isWhole(s) {
			t.Errorf("is whole: %q", s)
		}
	}
}

func TestBlocks(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want []string
	}{
		{"statements", "x = 1\ny = 2\n", []string{"x = 1\n", "y = 2\n"}},
		{"empty lines between", "\n\nx = 1\n\n\ny\n", []string{"x = 1\n", "y\n"}},
		{"an empty line ends a block", "for i in x:\n  i\n\ny\n", []string{"for i in x:\n  i\n\n", "y\n"}},
		{"the next statement ends a block", "def f():\n  return 1\nf()\n", []string{"def f():\n  return 1\n", "f()\n"}},
		{"two blocks", "if a:\n  b\nif c:\n  d\n", []string{"if a:\n  b\n", "if c:\n  d\n"}},
		{"else belongs to it", "if a:\n  b\nelif c:\n  d\nelse:\n  e\nx\n", []string{"if a:\n  b\nelif c:\n  d\nelse:\n  e\n", "x\n"}},
		{"try", "try:\n  a\nexcept B:\n  c\nfinally:\n  d\n", []string{"try:\n  a\nexcept B:\n  c\nfinally:\n  d\n"}},
		{"a decorator belongs to what follows", "@a\n@b\ndef f():\n  pass\nx\n", []string{"@a\n@b\ndef f():\n  pass\n", "x\n"}},
		{"a comment in a block", "if a:\n# note\n  b\nx\n", []string{"if a:\n# note\n  b\n", "x\n"}},
		{"brackets", "f(1,\n\n2)\nx\n", []string{"f(1,\n\n2)\n", "x\n"}},
		{"a string over lines", "s = '''\nif x:\n\n'''\ny\n", []string{"s = '''\nif x:\n\n'''\n", "y\n"}},
		{"a backslash", "x = 1 + \\\n2\ny\n", []string{"x = 1 + \\\n2\n", "y\n"}},
		{"the end of input", "if a:\n  b", []string{"if a:\n  b\n"}},
		{"an open bracket at the end", "f(1", []string{"f(1\n"}},
		{"carriage returns", "x = 1\r\nif a:\r\n  b\r\n\r\ny\r\n", []string{"x = 1\r\n", "if a:\r\n  b\r\n\r\n", "y\r\n"}},
		{"nothing", "\n  \n", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, cutIntoBlocks(tt.in)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}

func cutIntoBlocks(text string) (pieces []string) {
	var b blocks
	for line := range strings.Lines(text) {
		pieces = append(pieces, b.add(strings.TrimSuffix(line, "\n"))...)
	}
	if rest := b.flush(); rest != "" {
		pieces = append(pieces, rest)
	}
	return pieces
}

// What goes in comes out: no line is lost, doubled or moved.
func FuzzBlocks(f *testing.F) {
	for _, s := range []string{"x\n\ny", "if a:\n b\nelse:\n c\n", "f(\n'''\n", "'\\\n", "\\", "@a\n\n", "\"\"\"\\\"\"\"", "é(\n)", "#\\\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want, got []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); strings.TrimSpace(line) != "" {
				want = append(want, line)
			}
		}
		for _, piece := range cutIntoBlocks(text) {
			for line := range strings.SplitSeq(piece, "\n") {
				if strings.TrimSpace(line) != "" {
					got = append(got, line)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		isWhole(text)
	})
}
