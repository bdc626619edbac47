package mcp

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzFileURI: the URI of a file is a URI, and leads to that file.
func FuzzFileURI(f *testing.F) {
	for _, path := range []string{"a.csv", "d/é ü.txt", "100%.txt", "a?b#c", "%2e%2e/x", "a//b", "../x", "", "\x00", "a\\b"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		uri := fileURI(path)
		if _, err := url.Parse(uri); err != nil {
			t.Fatalf("%q: %v", uri, err)
		}
		back, err := url.PathUnescape(strings.TrimPrefix(uri, scheme+"workspace/"))
		if err != nil || back != path {
			t.Fatalf("%q became %q (%v)", path, back, err)
		}
	})
}

func TestWhatFilesAre(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n"
	for _, c := range []struct {
		name, head string
		mime       string
		text       bool
	}{
		{"a.csv", "a,b\n", "text/csv", true},
		{"a.json", "{}", "application/json", true},
		{"a.png", png, "image/png", false},
		{"a.csv", png, "image/png", false}, // the content counts
		{"a.png", "a,b\n", "text/plain", true},
		{"a.bin", "\x00\x01", "application/octet-stream", false},
		{"a.parquet", "PAR1\x00", "application/vnd.apache.parquet", false},
		{"empty", "", "text/plain", true},
		{"latin1.txt", "\xe9t\xe9", "text/plain", false},
	} {
		if got := mimeOf(c.name, []byte(c.head)); got != c.mime {
			t.Errorf("%s with %q is %s", c.name, c.head, got)
		}
		if got := isText([]byte(c.head), true); got != c.text {
			t.Errorf("%s with %q: text is %v", c.name, c.head, got)
		}
	}
	// A character that is cut at the end of what was looked at is none the worse.
	if cut := []byte("é")[:1]; !isText(append([]byte("text "), cut...), false) || isText(append([]byte("text "), cut...), true) || utf8.Valid(cut) {
		t.Error("a cut character")
	}
}

func TestPathsAsCodeWritesThem(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "./a": "a", "/workspace/a/b": "a/b", "/workspace": "", ".": "", "": "", "d/": "d", "../a": "../a", "/etc/passwd": "/etc/passwd",
		"/workspace//etc/passwd": "/etc/passwd", "/workspacex/a": "/workspacex/a",
	} {
		if got := inWorkspace(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
