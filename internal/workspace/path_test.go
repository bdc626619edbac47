package workspace

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheckPath(t *testing.T) {
	long := strings.Repeat("n", 255)
	good := map[string]string{
		"a":               "a",
		"./a":             "a",
		"a/./b":           "a/b",
		"-rf":             "-rf",
		"...":             "...",
		"..a/b..":         "..a/b..",
		"a b\nc":          "a b\nc",
		"caf\u00e9.txt":   "caf\u00e9.txt",
		"\xff\xfe":        "\xff\xfe",
		"100%.csv":        "100%.csv",
		"a%20b%2ecsv":     "a%20b%2ecsv",
		`win\name`:        `win\name`,
		long + "/" + long: long + "/" + long,
	}
	for in, want := range good {
		if got, err := CheckPath(in); err != nil || got != want {
			t.Errorf("CheckPath(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	bad := []string{
		"", ".", "./.", "/", "/x", "//x", "../x", "..", "a/..", "a/../b", "a//b", "a/", "a\x00b",
		"%2e%2e", "%2E%2e/x", "a/%2e%2e", ".%2e", "%252e%252e", "%2f", "a%2fb", "a%00b", `..\x`, `a\..\b`, `%2e%2e%5cx`,
		strings.Repeat("n", 256), strings.Repeat("n", 300), strings.Repeat("a/", 2048) + "b",
		".cellblock-partial-x", "d/.cellblock-partial-",
	}
	for _, in := range bad {
		got, err := CheckPath(in)
		var pe *PathError
		if !errors.As(err, &pe) {
			t.Errorf("CheckPath(%q) = %q, %v; want an error", in, got, err)
		} else if strings.ContainsAny(err.Error(), "\n\x00\x1b") {
			t.Errorf("the message for %q is not plain: %q", in, err)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"a", "../x", "/x", "a/b/c", "%2e%2e", "a\x00", "./a", `..\`, "%25252e%25252e", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		clean, err := CheckPath(p)
		if err != nil {
			return
		}
		if err := checkRaw(clean); err != nil {
			t.Fatalf("CheckPath(%q) = %q: %v", p, clean, err)
		}
		if !filepath.IsLocal(clean) || filepath.Clean(clean) != clean {
			t.Fatalf("CheckPath(%q) = %q is not local and clean", p, clean)
		}
		if again, err := CheckPath(clean); err != nil || again != clean {
			t.Fatalf("CheckPath(%q) = %q, %v: not stable", clean, again, err)
		}
	})
}

func TestIsScript(t *testing.T) {
	for path, want := range map[string]bool{
		"script.py": true, "script_load.py": true, "scripts.py": true,
		"script.pyc": false, "my_script.py": false, "d/script.py": false, "script": false,
	} {
		if IsScript(path) != want {
			t.Errorf("IsScript(%q) = %t", path, !want)
		}
	}
	got := CreatedFiles([]Change{{"a", 1, Created}, {"b", 1, Changed}, {"c", 0, Deleted}, {"script.py", 1, Created}})
	if len(got) != 1 || got[0] != "a" {
		t.Errorf("CreatedFiles: %q", got)
	}
}

func TestNamesForPeople(t *testing.T) {
	for in, want := range map[string]string{
		"a/b.txt": "a/b.txt", "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "\xff": `"\xff"`, "": `""`, "a b": `"a b"`,
		"\u202egpj": `"\u202egpj"`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
	b, err := json.Marshal(Change{"a\xffb", 3, Created})
	if err != nil || string(b) != `{"path":"a\ufffdb","size":3,"change":"created"}` {
		t.Errorf("%s, %v", b, err)
	}
	if got := Display("a\xffb"); got != "a\uFFFDb" {
		t.Errorf("Display: %q", got)
	}
}

// FuzzQuote: no name that code gives a file reaches a terminal as more than
// text, and JSON can hold what is shown of it.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "\x1b[31m", "a\nb", "\xff", "\u202e", "\u009b", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		for _, r := range Quote(p) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q is quoted as %q", p, Quote(p))
			}
		}
		if !utf8.ValidString(Display(p)) {
			t.Fatalf("%q is shown as %q", p, Display(p))
		}
		if checkRaw(p) == nil {
			dir, name := split(p)
			if join(dir, name) != p {
				t.Fatalf("%q is split into %q and %q", p, dir, name)
			}
		}
	})
}
