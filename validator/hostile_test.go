package validator

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func fill(unit string, size int) string { return strings.Repeat(unit, size/len(unit)) }

// hostile sources: each must be judged within a second, whatever becomes of the
// process. want is "not" (valid), "valid", or "" where versions of CPython
// differ. A source that takes too long is never wrong. slow ones are expected to
// run into MaxDelay, and are tried on one Python only.
var hostile = []struct {
	name, code, want string
	slow             bool
}{
	{name: "100,000 nested parentheses", code: strings.Repeat("(", 100000) + strings.Repeat(")", 100000), want: "not"},
	{name: "100,000 nested brackets in a call", code: "f(" + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + ")", want: "not"},
	{name: "150 nested parentheses", code: strings.Repeat("(", 150) + "1" + strings.Repeat(")", 150)},
	{name: "a megabyte of backslash-newlines", code: fill("\\\n", 1<<20), want: "not"},
	{name: "a megabyte of backslash-newlines and a name", code: fill("\\\n", 1<<20) + "x"},
	{name: "4 MiB of (", code: fill("(", MaxSource), want: "not"},
	{name: "4 MiB of newlines", code: fill("\n", MaxSource), want: "valid"},
	{name: "4 MiB of spaces", code: fill(" ", MaxSource)},
	{name: "4 MiB of carriage returns", code: fill("\r", MaxSource)},
	{name: "4 MiB of one comment", code: fill("#", MaxSource)},
	{name: "4 MiB of one name", code: fill("x", MaxSource)},
	{name: "4 MiB of one string", code: `"` + fill("x", MaxSource-2) + `"`},
	{name: "4 MiB of an open string", code: `"""` + fill("x", MaxSource-3), want: "not"},
	{name: "4 MiB of x,", code: fill("x,", MaxSource), slow: true},
	{name: "4 MiB of calls", code: fill("f();", MaxSource), slow: true},
	{name: "4 MiB of imports", code: fill("import a\n", MaxSource), want: "not", slow: true},
	{name: "4 MiB of bad escapes", code: `"` + fill(`\d`, MaxSource-2) + `"`},
	{name: "many bad escapes", code: fill(`"\d";`, 1<<20), slow: true},
	{name: "4 MiB of NUL", code: fill("\x00", MaxSource), want: "not"},
	{name: "4 MiB of 0xff", code: fill("\xff", MaxSource), want: "not"},
	{name: "more than 4 MiB", code: fill("\n", MaxSource) + "\n", want: "not"},
	{name: "100,000 attributes", code: "a" + strings.Repeat(".b", 100000)},
	{name: "100,000 calls of calls", code: "f" + strings.Repeat("()", 100000), slow: true},
	{name: "100,000 subscripts", code: "a" + strings.Repeat("[0]", 100000), slow: true},
	{name: "2,000 attributes", code: "a" + strings.Repeat(".b", 2000)},
	{name: "100,000 not", code: strings.Repeat("not ", 100000) + "x", want: "not"},
	{name: "100,000 minus", code: strings.Repeat("-", 100000) + "x", want: "not"},
	{name: "100,000 lambda", code: strings.Repeat("lambda:", 100000) + "x", want: "not"},
	{name: "100,000 await", code: "async def f(): " + strings.Repeat("await ", 100000) + "x", want: "not"},
	{name: "100,000 plus", code: "x" + strings.Repeat("+x", 100000)},
	{name: "100,000 comparisons", code: "x" + strings.Repeat("<x", 100000), want: "valid", slow: true},
	{name: "100,000 powers", code: "x" + strings.Repeat("**x", 100000), want: "not"},
	{name: "100,000 if else", code: "x" + strings.Repeat(" if x else x", 100000), want: "not"},
	{name: "100,000 elif", code: "if x: y\n" + strings.Repeat("elif x: y\n", 100000), want: "not"},
	{name: "100,000 targets", code: strings.Repeat("x=", 100000) + "os", want: "not", slow: true}, // more aliases than are reported
	{name: "1,000 targets of a chain", code: strings.Repeat("x=", 1000) + "os" + strings.Repeat(".a", 900), want: "valid"},
	{name: "100,000 levels", code: "from " + strings.Repeat(".", 100000) + " import x", want: "valid"},
	{name: "99 indents", code: indents(99), want: "valid"},
	{name: "1,000 indents", code: indents(1000), want: "not"},
	{name: "a huge number", code: fill("9", 1<<20)},
	{name: "a huge hex number", code: "0x" + fill("f", 1<<20)},
	{name: "a huge exponent", code: "1e" + fill("9", 1<<20)},
	{name: "many huge numbers", code: fill(strings.Repeat("9", 4000)+",", 1<<20)},
	{name: "f-strings in f-strings", code: "x = " + strings.Repeat(`f"{`, 1000), want: "not"},
	{name: "an f-string of 50,000 fields", code: `f"` + strings.Repeat("{x}", 50000) + `"`, slow: true},
	{name: "a format of a format", code: `f"` + strings.Repeat("{x:", 10000), want: "not"},
	{name: "10,000 names", code: each("f%d()\n", 10000), want: "valid"},
	{name: "30,000 names", code: each("f%d()\n", 30000), want: "not", slow: true},
	{name: "20,000 names of a module", code: "import os\n" + each("os.f%d\n", 15000), want: "valid", slow: true},
	{name: "30,000 aliases in a ring", code: each("a%[1]d = a%[2]d\n", 30000), want: "not", slow: true},
	{name: "9,000 aliases backwards", code: "import os\n" + each("a%[1]d = a%[2]d\n", 9000), want: "valid"},
	{name: "200 getattr", code: strings.Repeat("getattr(", 80) + "os" + strings.Repeat(",'x')", 80)},
	{name: "bad cookie", code: "# coding: \x01\n", want: "valid"},
	{name: "unknown cookie", code: "# coding: no-such-codec\n", want: "not"},
	{name: "long cookie", code: "# coding: " + fill("x", 1<<20) + "\n", want: "not"},
	{name: "long utf-8 cookie", code: "# coding: utf8" + fill("-", 1<<20) + "\n"},
	{name: "cookie of bytes", code: "# coding: zlib\n", want: "not"},
	{name: "cookie of rot13", code: "# coding: rot13\nvzcbeg fbpxrg", want: "not"},
	{name: "cookie of a module", code: "# coding: os.path\n", want: "not"},
	{name: "cookie of punycode", code: "# coding: punycode\n" + fill("a", 1<<20) + "-" + fill("9", 1<<16), slow: true},
	{name: "cookie of idna", code: "# coding: idna\n" + fill("a.", 1<<20), slow: true},
	{name: "cookie of utf-16", code: "# coding: utf-16\nx", want: "not"},
	{name: "cookie and mark", code: "\ufeff# coding: latin-1\n", want: "not"},
	{name: "mark only", code: "\ufeff", want: "valid"},
	{name: "two marks", code: "\ufeff\ufeff", want: "not"},
	{name: "half a mark", code: "\xef\xbb", want: "not"},
	{name: "lone surrogates", code: "'\xed\xa0\x80\xed\xb0\x80'", want: "not"},
	{name: "surrogate in a comment", code: "# \xed\xa0\x80"},
	{name: "cut UTF-8", code: "x = '\xe2\x82", want: "not"},
	{name: "overlong UTF-8", code: "\xc0\xa9mport", want: "not"},
	{name: "form feeds", code: fill("\f", 1<<20) + "x", want: "valid"},
	{name: "end-of-file mark", code: "x\x1aimport socket", want: "not"},
	{name: "combining marks", code: "a" + fill("\u0301", 1<<20), slow: true},
	{name: "NFKC blow-up", code: fill("\ufdfa", 1<<20)},
}

func indents(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "if x:\n")
	}
	return b.String() + strings.Repeat(" ", n) + "y\n"
}

func each(format string, n int) string {
	var b strings.Builder
	for i := range n {
		if strings.Contains(format, "[2]") {
			fmt.Fprintf(&b, format, i, (i+1)%n)
		} else {
			fmt.Fprintf(&b, format, i)
		}
	}
	return b.String()
}

// TestHostile gives every Python every hostile source, and one of them a small
// stack as well. The process may die; the next source is answered all the same.
func TestHostile(t *testing.T) {
	for n, p := range pythons(t) {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			testHostile(t, p, 8192, n == 0 && !testing.Short())
		})
		if n == 0 {
			t.Run("small stack", func(t *testing.T) {
				t.Parallel()
				testHostile(t, p, 1024, false)
			})
		} else if testing.Short() {
			break
		}
	}
}

func testHostile(t *testing.T, p python, stack int, slow bool) {
	r, starts := resident(t, p, stack)
	v := New(r)
	ctx := context.Background()
	for _, h := range hostile {
		if h.slow && !slow {
			continue
		}
		if err := r.Warm(ctx); err != nil {
			t.Fatal(err)
		}
		begun, started := time.Now(), *starts
		valid, issues, err := v.Validate(ctx, []byte(h.code))
		took := time.Since(begun)
		if err != nil {
			t.Fatalf("%s: %v", h.name, err)
		}
		late := len(issues) == 1 && strings.Contains(issues[0].Message, errSlow.Error())
		if h.want == "not" && valid || h.want == "valid" && !valid && !late {
			t.Errorf("%s: valid is %v, %.300q", h.name, valid, fmt.Sprint(issues))
		}
		if !valid && len(issues) == 0 {
			t.Errorf("%s: not valid, and no reason", h.name)
		}
		// TestWithinASecond is the strict one; here all Pythons work at once.
		if took > 3*time.Second {
			t.Errorf("%s: %v", h.name, took)
		}
		t.Logf("%-45s %6d ms, %d restarts, valid is %v, %.100q", h.name, took.Milliseconds(), *starts-started, valid, fmt.Sprint(issues))
		valid, issues, err = v.Validate(ctx, []byte("import socket"))
		if err != nil || valid || len(issues) != 1 || issues[0].Name != "socket" {
			t.Fatalf("after %s: %v %v %v", h.name, valid, issues, err)
		}
	}
}

// TestWithinASecond: the promise in numbers, for what is refused at once and for
// what runs into MaxDelay.
func TestWithinASecond(t *testing.T) {
	r, _ := resident(t, pythons(t)[0], 8192)
	v := New(r)
	for _, code := range []string{
		strings.Repeat("(", 100000) + strings.Repeat(")", 100000),
		fill("\\\n", 1<<20),
		fill("f();", MaxSource),
	} {
		if err := r.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		valid, _, err := v.Validate(t.Context(), []byte(code))
		if took := time.Since(begun); valid || err != nil || took > time.Second {
			t.Errorf("%.10q…: %v, valid is %v, %v", code, took, valid, err)
		}
	}
}

// TestAsCPython: where facts.py says that a source has a syntax error, it is
// that of ast.parse, to the letter.
func TestAsCPython(t *testing.T) {
	codes := []string{"x = (", "import", "print 'x'", "  x", "\xff", "f(a=1, 2)", "é = )", "if 1:\n\tx\n        y"}
	for _, p := range pythons(t) {
		r, _ := resident(t, p, 8192)
		want := astParse(t, p, codes)
		for n, code := range codes {
			_, issues, err := New(r).Validate(context.Background(), []byte(code))
			if err != nil || len(issues) != 1 {
				t.Fatalf("%v: %q: %v %v", p, code, issues, err)
			}
			got := fmt.Sprintf("%s|%d|%d", issues[0].Message, issues[0].Line, issues[0].Column)
			if got != want[n] {
				t.Errorf("%v: %q: %s, CPython says %s", p, code, got, want[n])
			}
		}
	}
}

// TestMemoryStaysFlat: what a source leaves in the process is freed.
func TestMemoryStaysFlat(t *testing.T) {
	p := pythons(t)[0]
	conn, err := startFacts(p, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	pipe := NewPipe(conn)
	sources := [][]byte{[]byte(sample), []byte("x = ("), []byte("a" + strings.Repeat(".b", 5000)), bytes.Repeat([]byte("x = y(z)\n"), 500)}
	round := func(n int) int {
		for range n {
			for _, s := range sources {
				if _, err := pipe.Facts(context.Background(), s); err != nil {
					t.Fatal(err)
				}
			}
		}
		return residentKB(t, conn.cmd.Process.Pid)
	}
	before := round(20)
	after := round(100)
	if after > before+2048 {
		t.Errorf("%d KB after 20 rounds, %d KB after 120", before, after)
	}
}
