package mcp

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTrim(t *testing.T) {
	for _, c := range []struct {
		text       string
		head, tail int
		want       string
		cut        int
	}{
		{"", 3, 3, "", 0},
		{"abcdef", 3, 3, "abcdef", 0},
		{"abcdefg", 3, 3, "abc\n[… 1 bytes left out …]\nefg", 1},
		{"ééééééé", 3, 3, "é\n[… 10 bytes left out …]\né", 10},
		{"abcdefg", 3, 0, "abc\n[… 4 bytes left out …]\n", 4},
		{"abcdefg", 0, 0, "\n[… 7 bytes left out …]\n", 7},
	} {
		if got, cut := trim(c.text, c.head, c.tail); got != c.want || cut != c.cut {
			t.Errorf("trim(%q, %d, %d) = %q, %d", c.text, c.head, c.tail, got, cut)
		}
	}
}

func TestTrimTraceback(t *testing.T) {
	const chained = `Traceback (most recent call last):
  File "script.py", line 2, in <module>
    frame['b']
    ~~~~~^^^^^
  File "/usr/lib/python3/dist-packages/pandas/core/frame.py", line 3807, in __getitem__
    indexer = self.columns.get_loc(key)
              ^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3/dist-packages/pandas/core/base.py", line 3804, in get_loc
    raise KeyError(key) from err
  [Previous line repeated 3 more times]
  File "/workspace/own.py", line 1, in own
    pass
KeyError: 'b'

During handling of the above exception, another exception occurred:

  File "<frozen importlib._bootstrap>", line 1, in _find
ValueError: x
    with a second line
`
	const want = `Traceback (most recent call last):
  File "script.py", line 2, in <module>
    frame['b']
    ~~~~~^^^^^
  [… 2 frame(s) of libraries, the last in /usr/lib/python3/dist-packages/pandas/core/base.py:3804 …]
  File "/workspace/own.py", line 1, in own
    pass
KeyError: 'b'

During handling of the above exception, another exception occurred:

  [… 1 frame(s) of libraries, the last in <frozen importlib._bootstrap>:1 …]
ValueError: x
    with a second line`
	if got := trimTraceback(chained); got != want {
		t.Errorf("it is\n%s", got)
	}
}

// FuzzTraceback: whatever a cell says, what is shown is short and valid text,
// and what is of no library is in it.
func FuzzTraceback(f *testing.F) {
	f.Add("Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    x\nE: m\n")
	f.Add("  File \"/usr/x.py\", line \n    \n  File \"")
	f.Add("  File \"/usr/x\"" + strings.Repeat("\n  File \"/usr/é\"", 2000))
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			text = strings.ToValidUTF8(text, "\uFFFD") // as the executor makes it
		}
		shown := trimTraceback(text)
		if len(shown) > tracebackBytes+100 || !utf8.ValidString(shown) {
			t.Fatalf("%d bytes, valid: %v", len(shown), utf8.ValidString(shown))
		}
		if !strings.Contains(text, "  File \"") && len(text) <= tracebackBytes && shown != strings.TrimRight(text, "\n") {
			t.Fatalf("%q became %q", text, shown)
		}
	})
}
