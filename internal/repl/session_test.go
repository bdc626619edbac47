package repl

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValueOfLastExpression(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		for _, row := range []struct{ code, want string }{
			{"1 + 1", "2"},
			{"x = 5", "(no value)"},
			{"x", "5"},
			{"x += 1\nx", "6"},
			{"x; x + 1", "7"},
			{"None", "(no value)"},
			{"print('hi')", "(no value)"},
			{"'text'", "'text'"},
			{"'''doc'''\n'second'", "'second'"},
			{"f(\n)" + "if False else 3", "3"},
			{"if x:\n    x\n", "(no value)"},
			{"for i in range(3): i", "(no value)"},
			{"[i for i in range(3)]", "[0, 1, 2]"},
			{"# only a comment", "(no value)"},
			{"", "(no value)"},
			{"\n\n  # c\n(x,\n 2)\n\n", "(6, 2)"},
			{"'\\ud800 ü \\0'", "'\\ud800 ü \\x00'"},
			{"'a' 'b'  # comment", "'ab'"},
			{"(y := 4)", "4"},
			{"def f(): pass", "(no value)"},
			{"lambda: 0\n'last'", "'last'"},
			{"from __future__ import annotations\n1", "1"},
			{"import asyncio\nasync def g(): return 9\nawait g()", "9"},
			{"await g()", "9"},
			{"z = await g()\nz + 1", "10"},
			{"await g()\nasync with asyncio.Lock(): w = 3", "(no value)"},
			{"w", "3"},
			{strings.Repeat("1+", 3000) + "1", "3001"},
		} {
			reply := r.code(row.code)
			if reply.Status != StatusOK && len(row.code) > 5000 {
				continue // deeper than this Python compiles at all
			}
			if reply.Status != StatusOK || value(reply) != row.want {
				t.Errorf("%.60q: %s %s %+v, want %s", row.code, reply.Status, value(reply), reply.Exception, row.want)
			}
		}
		if v := r.run(Request{Code: "1", Script: true}); v.Value != nil {
			t.Errorf("a script has the value %q", *v.Value)
		}
		long := *r.must("'x' * 10**6").Value
		if len(long) != 65536 || !strings.HasSuffix(long, "xxx...") {
			t.Errorf("a long value has %d bytes", len(long))
		}
	})
}

func TestNamespaceSummary(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		reply := r.must(`
import collections, enum, sys
i, f, b, s, n, z = 7, 1.5, True, 'text "q" \n ü', None, b'bytes'
big, huge, long, inf = 10 ** 300, 1 << 100000, 'x' * 1000, float('inf')
l, t, d = [1, 2], (1,), {k: 0 for k in range(12)}
od = collections.OrderedDict(a=1)
mixed = {'k': 1, 2: 2, None: 3, (1, 'a'): 4, 1.5: 5}
class C: pass
c = C()
class Color(enum.IntEnum):
    RED = 4
color = Color.RED
class L(list): pass
ll = L([1])
def func(): pass
lam, builtin = (lambda: 0), len
_private, __dunder = 1, 2
lone = '\ud800'
class Name(str): pass
name = Name('n')
globals()[5] = 'not a name'
`)
		got, _ := json.Marshal(reply.Namespace)
		want := `{"C":{"type":"type"},"Color":{"type":"enum.EnumMeta"},"L":{"type":"type"},"Name":{"type":"type"},` +
			`"b":{"type":"bool","value":"True"},"big":{"type":"int","value":"1` + strings.Repeat("0", 99) + `"},"c":{"type":"__main__.C"},` +
			`"color":{"type":"__main__.Color","value":"4"},` +
			`"d":{"type":"dict","keys":["0","1","2","3","4","5","6","7","8","9"]},"f":{"type":"float","value":"1.5"},` +
			`"huge":{"type":"int","value":"\u003cinteger of 100001 bits\u003e"},"i":{"type":"int","value":"7"},` +
			`"inf":{"type":"float","value":"inf"},"l":{"type":"list","length":2},"ll":{"type":"__main__.L","length":1},` +
			`"lone":{"type":"str","value":"` + "\ufffd" + `"},` +
			`"long":{"type":"str","value":"` + strings.Repeat("x", 100) + `"},` +
			`"mixed":{"type":"dict","keys":["k","2","None","(1, 'a')","1.5"]},"n":{"type":"NoneType"},` +
			`"name":{"type":"__main__.Name","value":"n"},"od":{"type":"collections.OrderedDict","keys":["a"]},` +
			`"s":{"type":"str","value":"text \"q\" \n ü"},"t":{"type":"tuple"},"z":{"type":"bytes"}}`
		if g := strings.Replace(string(got), "enum.EnumType", "enum.EnumMeta", 1); g != want {
			t.Errorf("namespace\n%s\nwant\n%s", g, want)
		}
		for _, row := range []struct{ code, name, want string }{
			{"i = 8", "i", "8"}, {"i += 1", "i", "9"}, {"i = 9.0", "i", "9.0"}, {"i = 'i'", "i", "i"}, {"del i", "i", ""}, {"i = 1", "i", "1"},
		} {
			v := r.must(row.code).Namespace[row.name]
			if (v.Value == nil) != (row.want == "") || v.Value != nil && *v.Value != row.want {
				t.Errorf("%s: %+v", row.code, v)
			}
		}
		if n := len(r.must("for i in range(3000): globals()['v%d' % i] = 'x' * 90").Namespace); n < 300 || n > 500 {
			t.Errorf("%d variables are described", n)
		}
		if ns := r.run(Request{Code: "1", NoNamespace: true}).Namespace; ns != nil {
			t.Errorf("unwanted namespace %v", ns)
		}
	})
}

// TestArraysAndFrames uses stand-ins by the names that numpy and pandas give
// their types; whether the real ones are here is up to the host.
func TestArraysAndFrames(t *testing.T) {
	r := start(t, pythons(t)[0])
	ns := r.must(`
class ndarray:
    shape, dtype = (2, 3), 'float64'
ndarray.__module__ = 'numpy'
class DataFrame:
    shape, columns = (10, 2), ['a', 5]
DataFrame.__module__ = 'pandas.core.frame'
a, df = ndarray(), DataFrame()
class Bad(DataFrame):
    columns = property(lambda self: 1 / 0)
bad = Bad()
`).Namespace
	got, _ := json.Marshal(map[string]Variable{"a": ns["a"], "df": ns["df"], "bad": ns["bad"]})
	want := `{"a":{"type":"numpy.ndarray","shape":[2,3],"dtype":"float64"},"bad":{"type":"__main__.Bad"},` +
		`"df":{"type":"pandas.core.frame.DataFrame","shape":[10,2],"columns":["a","5"]}}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestFreshPreloadAndMain(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.run(Request{Code: "a, b = [1], 2", Preload: true})
		reply := r.must("c = 3\nb = 4")
		if _, ok := reply.Namespace["a"]; ok || len(reply.Namespace) != 2 {
			t.Errorf("preloaded names are shown: %v", reply.Namespace)
		}
		reply = r.run(Request{Code: "sorted(n for n in globals() if n[0] != '_')", Fresh: true})
		if value(reply) != "['a', 'b']" || len(reply.Namespace) != 0 {
			t.Errorf("fresh namespace holds %s, %v", value(reply), reply.Namespace)
		}
		r.must("assert b == 2 and 'c' not in globals()")
		r.must("import sys, __main__\nassert __main__.__dict__ is globals() and sys.modules['__main__'] is __main__")
		r.must("del sys.modules['__main__']")
		r.must("import __main__\n__main__.x = 5\nassert x == 5")
		if v := value(r.run(Request{Code: "import sys\nsys.argv", Argv: []string{"prog", "", "ü"}})); v != "['prog', '', 'ü']" {
			t.Errorf("argv is %s", v)
		}
		if v := value(r.run(Request{Code: "import os\nos.environ['AB'], os.getenv('CD')", Env: []string{"AB=1=2", "CD=ü"}})); v != "('1=2', 'ü')" {
			t.Errorf("environment %s", v)
		}
		if v := value(r.run(Request{Code: "'__file__' in globals()", Filename: "<string>", Fresh: true})); v != "False" {
			t.Errorf("__file__ with <string>: %s", v)
		}
	})
}

func TestModule(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		if err := os.WriteFile(filepath.Join(r.dir, "mod.py"), []byte("import sys\nprint(__name__, sys.argv[1:])\nsys.exit(3)\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		reply := r.run(Request{Module: "mod", Argv: []string{"-m", "arg"}, Finish: true, Script: true})
		r.wantOut("__main__ ['arg']\n")
		if reply.Status != StatusExit || reply.ExitCode != 3 {
			t.Errorf("%+v", reply)
		}
		r = start(t, p)
		reply = r.run(Request{Module: "no_such", Script: true})
		if reply.Status != StatusExit || reply.ExitCode != 1 {
			t.Errorf("%+v", reply)
		}
		r.waitFor(&r.stderr, p.path+": No module named no_such\n")
	})
}

// TestTracebackOfEarlierExecution: every execution has the same file name, and
// still each function's own lines are shown.
func TestTracebackOfEarlierExecution(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.must("def old(x):\n    return 1 / x  # the old line\n")
		r.must("def middle(x):\n    # one\n    # two\n    return old(x)  # the middle line\nmiddle(1)")
		reply := r.code("# new\nmiddle(0)  # the new line")
		e := reply.Exception
		for _, want := range []string{
			`File "script.py", line 2, in <module>` + "\n    middle(0)  # the new line",
			`File "script.py (execution 2)", line 4, in middle` + "\n    return old(x)  # the middle line",
			`File "script.py (execution 1)", line 2, in old` + "\n    return 1 / x  # the old line",
			"ZeroDivisionError: division by zero",
		} {
			if !strings.Contains(e.Traceback, want) {
				t.Errorf("traceback\n%s\nlacks\n%s", e.Traceback, want)
			}
		}
		if e.Line != 2 || e.Name != "ZeroDivisionError" || e.Value != "division by zero" {
			t.Errorf("%+v", e)
		}
		if strings.Contains(e.Traceback, "cellrepl") || strings.Contains(e.Traceback, "/cellblock/") {
			t.Errorf("the REPL's own frames are in\n%s", e.Traceback)
		}
		// The code's own use of traceback and inspect sees the same text.
		for code, want := range map[string]string{
			"import inspect\ninspect.getsource(old)":                                                      "the old line",
			"import traceback\ntry:\n    middle(0)\nexcept Exception:\n    s = traceback.format_exc()\ns": "the middle line",
			"import inspect\ndef late():\n    return 'late'\ninspect.getsource(late)":                     "return 'late'",
		} {
			if v := value(r.must(code)); !strings.Contains(v, want) {
				t.Errorf("%q: %s", code, v)
			}
		}
		reply = r.code("x = (1 +\n")
		if reply.Status != StatusSyntaxError || reply.Exception.Name != "SyntaxError" || reply.Exception.Line == 0 {
			t.Errorf("syntax error: %s %+v", reply.Status, reply.Exception)
		}
		if reply = r.code("exec('1 +')"); reply.Status != StatusError || reply.Exception.Line != 1 {
			t.Errorf("syntax error at run time: %s %+v", reply.Status, reply.Exception)
		}
		if reply = r.code("x = '\\0'\n\x00"); reply.Status != StatusSyntaxError {
			t.Errorf("a NUL byte: %s %+v", reply.Status, reply.Exception)
		}
		if reply = r.code("x = '\xff'"); reply.Status != StatusSyntaxError {
			t.Errorf("not UTF-8: %s %+v", reply.Status, reply.Exception)
		}
		if v := value(r.must("import sys\nsys.last_type.__name__")); v != "'SyntaxError'" {
			t.Errorf("sys.last_type is %s", v)
		}
	})
}

func TestInterrupt(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.must("keep = 41")
		for _, code := range []string{
			"print('go')\nwhile True: pass",
			"print('go')\nimport time\ntime.sleep(60)",
			"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nprint('go')\nwhile True: pass",
			"class R:\n    def __repr__(self):\n        print('go')\n        while True: pass\nR()",
			"class E(Exception):\n    def __str__(self):\n        print('go')\n        while True: pass\nraise E",
			"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nprint('go')\nthreading.Event().wait()",
			"print('go')\ninput\nimport os\nos.read(os.pipe()[0], 1)",
			"import sys\nclass O:\n    def write(self, s): pass\n    def flush(self):\n        sys.__stdout__.write('go\\n')\n        while True: pass\nsys.stdout = O()",
			"import asyncio\nprint('go')\nawait asyncio.sleep(60)",
		} {
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				r.wantOut("go\n")
				cancel()
			}()
			_, err := r.Exec(ctx, Request{Code: code})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%q: %v", code, err)
			}
			reply, err := r.Interrupt(limited(t), r.interrupt)
			if err != nil || reply.Status != StatusInterrupted || reply.Exception.Name != "KeyboardInterrupt" {
				t.Fatalf("%q: %+v, %v", code, reply, err)
			}
			r.wantAlive()
		}
		// Between executions it does nothing, and code may catch it.
		for range 20 {
			r.interrupt()
		}
		r.wantAlive()
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		r.Exec(ctx, Request{Code: "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt: caught = 1"})
		if reply, err := r.Interrupt(limited(t), r.interrupt); err != nil || reply.Status != StatusOK {
			t.Errorf("caught: %+v %+v, %v", reply, reply.Exception, err)
		}
		r.wantAlive()
	})
}

func TestStreamsBetweenExecutions(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		for _, code := range []string{
			"import sys, io\nsys.stdout = io.StringIO()",
			"sys.stdout = None\nsys.stderr = None\nsys.stdin = None",
			"sys.stdout.close()\nsys.stderr.close()\nsys.stdin.close()",
			"sys.stdout.detach()\nsys.stderr.detach()",
			"sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1')",
			"sys.stdout = sys.__stdout__ = 5",
			"del sys.stdout, sys.stderr, sys.stdin",
			"class Out:\n    def flush(self): raise SystemExit\n    write = None\nsys.stdout = Out()",
		} {
			r.code(code)
			reply := r.run(Request{Code: "import sys\nprint('ü')\nprint('err', file=sys.stderr)\nsys.stdin.read()", Stdin: []byte("in")})
			if value(reply) != "'in'" {
				t.Errorf("after %q: %+v %+v", code, reply, reply.Exception)
			}
			r.wantOut("ü\n")
			r.waitFor(&r.stderr, "err\n")
		}
		if v := value(r.code("sys.stdin.read()")); v != "''" {
			t.Errorf("input after the end: %s", v)
		}
		r.must("print('not flushed', end='')")
		r.wantOut("not flushed")
	})
}

func TestMemoryErrorLeavesTheSessionAlive(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.must("keep = 41")
		if err := r.LimitData(limited(t), 80<<20); err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{
			"bytearray(1 << 40)",
			"def grow():\n    l = []\n    while True: l.append(bytearray(1 << 20))\ngrow()",
			"def grow():\n    l = []\n    while True: l.append([None] * 10)\ngrow()",
			"l = []\nwhile True: l.append('x' * 100000)",
			"class R:\n    def __repr__(self): return 'x' * (1 << 40)\nR()",
			"class E(Exception):\n    def __str__(self): return 'x' * (1 << 40)\nraise E",
		} {
			reply := r.code(code)
			if reply.Status != StatusError || reply.Exception.Name != "MemoryError" && reply.Exception.Name != "E" {
				t.Errorf("%q: %s %+v", code, reply.Status, reply.Exception)
			}
			r.code("l = None")
			r.wantAlive()
		}
		if v := value(r.must("len(bytearray(30 << 20))")); v != "31457280" {
			t.Errorf("memory did not come back: %s", v)
		}
	})
}

func TestCompleteAndCheck(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.must("variable_one, variable_two = 1, {}")
		names, err := r.Complete(limited(t), "variable_")
		if err != nil || strings.Join(names, " ") != "variable_one variable_two" {
			t.Errorf("%q, %v", names, err)
		}
		if names, err = r.Complete(limited(t), "variable_two.ke"); err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "variable_two.keys(") {
			t.Errorf("%q, %v", names, err)
		}
		if names, err = r.Complete(limited(t), ""); err != nil || len(names) != 0 {
			t.Errorf("%q, %v", names, err)
		}
		for source, want := range map[string]string{
			"x = 1": "complete", "if x:": "incomplete", "if x:\n  y": "incomplete", "if x:\n  y\n": "complete", "f(": "incomplete", "'''a": "incomplete", "1 +": "invalid", "x = 1\ny = 2\n": "complete", "": "complete",
		} {
			if got, err := r.Check(limited(t), source); err != nil || got != want {
				t.Errorf("%q: %s, want %s (%v)", source, got, want, err)
			}
		}
	})
}

func TestLateOutputAndEnd(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		// Threads and exit functions live on between executions, and end with the REPL.
		r.must("import atexit, threading\natexit.register(print, 'bye')\ne = threading.Event()\nthreading.Thread(target=lambda: (e.wait(), print('woken'))).start()")
		r.must("e.set()")
		r.wantOut("woken\n")
		r.Close()
		<-r.exited
		r.wantOut("bye\n")
		if errs := r.stderr.take(); errs != "" {
			t.Errorf("stderr %q", errs)
		}
	})
}
