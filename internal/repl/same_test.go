package repl

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What these print, on both streams, and how they end must be the same as with
// `python FILE`.
var sameTable = []struct{ name, code, stdin string }{
	{name: "print", code: "print('héllo', 1)\n"},
	{name: "empty"},
	{name: "comment", code: "# nothing"},
	{name: "main", code: "if __name__ == '__main__': print(sorted(n for n in globals()))\nprint(__file__, __package__, __spec__, __doc__, __cached__, __annotations__, type(__builtins__), type(__loader__).__name__)"},
	{name: "docstring", code: "'''doc'''\nprint(__doc__)\n"},
	{name: "argv", code: "import sys\nprint(sys.argv, sys.path[0])"},
	{name: "error", code: "x = 1\ndef f(a):\n    return a / 0\nprint('before')\nf(\n  x)\n"},
	{name: "chained", code: "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no') from e\n"},
	{name: "context", code: "def f():\n    try:\n        1/0\n    finally:\n        undefined_name\nf()"},
	{name: "suppressed", code: "try:\n    1/0\nexcept ZeroDivisionError:\n    raise RuntimeError('x') from None"},
	{name: "carets", code: "d = {'a': {'b': None}}\nprint(1)\nd['a']['b']['c']\n"},
	{name: "wide carets", code: "s = 'äöü'; t = s + 'ß' + (1 + len(s)) + '日本'\n"},
	{name: "custom exception", code: "class E(Exception):\n    def __str__(self): return 'line1\\nline2'\nraise E"},
	{name: "nested class exception", code: "class A:\n    class E(Exception): pass\nraise A.E('x')"},
	{name: "exception without str", code: "class E(Exception):\n    def __str__(self): raise ValueError\nraise E('x')"},
	{name: "assertion", code: "assert 1 == 2, 'math'"},
	{name: "recursion", code: "def f(n):\n    return f(n + 1)\nf(0)"},
	{name: "syntax", code: "print('not run')\nx = (1 +\ny z\n"},
	{name: "syntax caret", code: "a = 1\nfor x in range(3)\n    print(x)\n"},
	{name: "syntax unclosed string", code: "print('abc"},
	{name: "syntax await", code: "await x"},
	{name: "syntax return", code: "return 5"},
	{name: "indentation", code: "if 1:\nprint(1)"},
	{name: "tabs", code: "if 1:\n\tx = 1\n        y = 2\n"},
	{name: "unexpected indent", code: "  print(1)"},
	{name: "syntax from exec", code: "exec('1 +')"},
	{name: "syntax from compile", code: "compile('x = \\n', 'other.py', 'exec')"},
	{name: "import error", code: "import not_there_at_all"},
	{name: "attribute error", code: "import sys\nsys.versio"},
	{name: "name error", code: "value = 1\nprint(valu)"},
	{name: "exit", code: "import sys\nprint(1)\nsys.exit(3)"},
	{name: "exit none", code: "import sys\nsys.exit()"},
	{name: "exit text", code: "import sys\nsys.exit('went wrong')"},
	{name: "exit negative", code: "raise SystemExit(-1)"},
	{name: "exit large", code: "raise SystemExit(256 + 7)"},
	{name: "exit true", code: "raise SystemExit(True)"},
	{name: "exit tuple", code: "raise SystemExit((1, 2))"},
	{name: "exit builtin", code: "exit(4)"},
	{name: "quit builtin", code: "quit()"},
	{name: "exit repr", code: "print(exit, quit, copyright)"},
	{name: "no input", code: "try:\n    input('? ')\nexcept EOFError as e:\n    print(repr(e))"},
	{name: "no input, uncaught", code: "input()"},
	{name: "input", code: "a = input('name? ')\nb = input()\nprint(a, b)\nimport sys\nprint(sys.stdin.read())", stdin: "Ada\nBell\nrest\nof it"},
	{name: "input bytes", code: "import sys, os\nprint(sys.stdin.buffer.read(3), os.read(0, 0))", stdin: "\xff\x00a"},
	{name: "input surrogates", code: "print(ascii(input()))", stdin: "a\xffb\n"},
	{name: "stdout bytes", code: "import sys\nsys.stdout.buffer.write(b'\\xff\\x00raw\\n')\nprint('\\udcff')"},
	{name: "stderr", code: "import sys\nprint('e', file=sys.stderr)\nprint('\\ud800', file=sys.stderr)"},
	{name: "unencodable", code: "print('\\ud800')"},
	{name: "no newline", code: "print('x', end='')"},
	{name: "write count", code: "import sys\nprint(sys.stdout.write('abc'), sys.stdout.encoding, sys.stdout.errors, sys.stdin.errors, sys.stderr.errors, sys.stdout.name, sys.stdin.name, sys.stdout.mode, sys.stdin.mode)"},
	{name: "warnings", code: "import warnings\nfor i in range(3):\n    warnings.warn('once')\nwarnings.warn('twice', UserWarning)\nwarnings.warn('old', DeprecationWarning)\n"},
	{name: "syntax warning", code: "x = 1\nprint(x is 1)\n"},
	{name: "escape warning", code: "x = '\\d'\n'\\e'\n"},
	{name: "warning as error", code: "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('no')"},
	{name: "resource warning", code: "import warnings\nwarnings.simplefilter('always')\nopen(__file__)\n"},
	{name: "future", code: "from __future__ import annotations\ndef f(x: undefined): pass\nprint(f.__annotations__)"},
	{name: "dataclass", code: "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: 'list[int]' = None\nimport typing\nprint(P(1), typing.get_type_hints(P)['x'])"},
	{name: "pickle", code: "import pickle\nclass C:\n    def __eq__(self, o): return True\ndef f(): pass\nprint(pickle.loads(pickle.dumps(C())) == 1, pickle.loads(pickle.dumps(f)) is f)"},
	{name: "enum", code: "import enum\nclass Color(enum.Enum):\n    RED = 1\nprint(repr(Color.RED), Color.__module__)"},
	{name: "getsource", code: "import inspect\ndef f(x):\n    # comment\n    return x\nclass C:\n    a = 1\nprint(inspect.getsource(f), inspect.getsource(C))"},
	{name: "format_exc", code: "import traceback\ndef g(): raise KeyError('k')\ntry:\n    g()\nexcept KeyError:\n    print(traceback.format_exc())"},
	{name: "logging", code: "import logging\nlogging.warning('w %s', 1)\ntry:\n    1/0\nexcept Exception:\n    logging.exception('e')"},
	{name: "excepthook", code: "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)\n1/0"},
	{name: "atexit", code: "import atexit\natexit.register(print, 'bye')\nprint('hi')\n1/0"},
	{name: "atexit order", code: "import atexit, sys\natexit.register(print, 'one')\natexit.register(print, 'two')\nsys.exit(5)"},
	{name: "thread", code: "import threading, time\ndef f():\n    time.sleep(0.05)\n    print('late')\nthreading.Thread(target=f).start()\nprint('main')"},
	{name: "daemon", code: "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint('main')"},
	{name: "thread error", code: "import threading\ndef f():\n    1/0\nt = threading.Thread(target=f, name='T'); t.start(); t.join()"},
	{name: "del", code: "class D:\n    def __init__(self, n): self.n = n\n    def __del__(self): print('gone', self.n)\na = D(1)\n_b = D(2)\nd = D(3)\ndel a\nprint('end')"},
	{name: "unraisable", code: "class D:\n    def __del__(self): 1/0\nx = D()\ndel x\nprint('on')"},
	{name: "fork", code: "import os, sys\npid = os.fork()\nif pid == 0:\n    print('child')\nelse:\n    os.waitpid(pid, 0)\n    print('parent')"},
	{name: "fork exit", code: "import os, sys\npid = os.fork()\nif pid == 0:\n    sys.exit(9)\nprint(os.waitpid(pid, 0)[1] >> 8)"},
	{name: "fork error", code: "import os, sys\npid = os.fork()\nif pid == 0:\n    raise ValueError('in the child')\nprint(os.waitpid(pid, 0)[1] >> 8)"},
	{name: "multiprocessing", code: "import multiprocessing as m\ndef sq(x): return x * x\nif __name__ == '__main__':\n    with m.get_context('fork').Pool(2) as p:\n        print(p.map(sq, range(4)))"},
	{name: "asyncio", code: "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 5\nprint(asyncio.run(main()))"},
	{name: "signal handler", code: "import signal\nprint(signal.getsignal(signal.SIGINT))"},
	{name: "keyboard interrupt", code: "try:\n    import os, signal\n    os.kill(os.getpid(), signal.SIGINT)\n    for i in range(10**6): pass\nexcept KeyboardInterrupt:\n    print('caught')"},
	{name: "limits", code: "import sys\nprint(sys.getrecursionlimit(), sys.gettrace(), sys.getprofile(), sys.displayhook)"},
	{name: "last expressions", code: "1\n'two'\n[3]\nNone\n"},
	{name: "cookie", code: "# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n"},
	{name: "bom", code: "\ufeffprint('bom')\n"},
	{name: "crlf", code: "x = '''a\r\nb'''\r\nprint(repr(x))\r\n"},
	{name: "form feed", code: "x = 1\n\x0c\ndef f():\n    raise ValueError\nf()\n"},
	{name: "generator error", code: "def g():\n    yield 1\n    raise KeyError('late')\nprint(list(g()))"},
	{name: "memory error", code: "bytearray(1 << 60)"},
	{name: "stop iteration", code: "next(iter([]))"},
	{name: "system error", code: "raise BaseException('base')"},
	{name: "stdout replaced", code: "import sys, io\nsys.stdout = io.StringIO()\nprint('lost')\n"},
	{name: "stdout wrapped", code: "import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('wrapped ü')\n"},
	{name: "stderr replaced", code: "import sys, io\nsys.stderr = sys.stdout\n1/0"},
	{name: "own line lost", code: "exec(compile('def f():\\n  1/0', 'gone.py', 'exec'))\nf()"},
	{name: "many lines", code: strings.Repeat("# filler\n", 3000) + "raise ValueError('far down')\n"},
	{name: "long message", code: "raise ValueError('x' * 20000)"},
	{name: "lambda", code: "f = lambda: 1/0\n(f)()"},
	{name: "decorator", code: "def deco(f): raise TypeError('deco')\n@deco\ndef g():\n    pass\n"},
	{name: "with", code: "class C:\n    def __enter__(self): return self\n    def __exit__(self, *a): print('exit', a[0]); return False\nwith C():\n    1/0"},
}

// Those that need a newer Python.
var sameSince = map[int][]struct{ name, code string }{
	11: {
		{"group", "def f():\n    raise ValueError(1)\nes = []\ntry:\n    f()\nexcept ValueError as e:\n    es.append(e)\nraise ExceptionGroup('many', [*es, ExceptionGroup('inner', [TypeError('t')])])"},
		{"notes", "e = ValueError('v')\ne.add_note('a note\\nin two lines')\nraise e"},
		{"except star", "try:\n    raise ExceptionGroup('g', [ValueError(1), TypeError(2)])\nexcept* ValueError:\n    print('v')\n"},
	},
	12: {{"suggestion", "import sys\nsys.stdou.write('x')"}},
}

// Replay differences that are known and wanted.
var (
	// Our three frames below the code's count against the recursion limit.
	repeated = regexp.MustCompile(`\[Previous line repeated \d+ more times\]`)
	// Addresses and thread numbers.
	address = regexp.MustCompile(`0x[0-9a-f]+`)
)

func normal(s string) string {
	return address.ReplaceAllString(repeated.ReplaceAllString(s, "[repeated]"), "0x")
}

func TestSameAsPlainPython(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		rows := append(sameTable[:0:0], sameTable...)
		for since, more := range sameSince {
			if n, _ := strconv.Atoi(minor(p.version)); n >= since {
				for _, row := range more {
					rows = append(rows, struct{ name, code, stdin string }{row.name, row.code, ""})
				}
			}
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) { compare(t, p, row.code, row.stdin) })
		}
	})
}

func compare(t *testing.T, p python, code, stdin string) {
	r := start(t, p)
	file := filepath.Join(r.dir, "script.py")
	if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	wantOut, wantErr, wantStatus := plain(t, p, r.dir, file, stdin)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}

	req := Request{Code: code, Filename: file, Script: true, Finish: true, ShowTraceback: true, Save: true}
	if stdin != "" {
		req.Stdin = []byte(stdin)
	}
	reply := r.run(req)
	r.Close()
	<-r.exited
	gotOut, gotErr := r.stdout.take(), r.stderr.take()
	if normal(gotOut) != normal(wantOut) {
		t.Errorf("stdout\n%s\nwant\n%s", gotOut, wantOut)
	}
	if normal(gotErr) != normal(wantErr) {
		t.Errorf("stderr\n%s\nwant\n%s", gotErr, wantErr)
	}
	status := reply.ExitCode
	if reply.Status != StatusOK && reply.Status != StatusExit {
		status = 1
		if !strings.HasSuffix(gotErr, reply.Exception.Traceback) && len(gotErr) < 4096 && !strings.Contains(code, "sys.excepthook") &&
			!strings.Contains(code, "sys.stderr = ") {
			t.Errorf("traceback %q is not what was printed", reply.Exception.Traceback)
		}
	}
	if status != wantStatus {
		t.Errorf("exit status %d (%s), want %d", status, reply.Status, wantStatus)
	}
}
