package repl

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// What code may do to the REPL that holds it, and still the next execution
// works.
var survived = []struct{ name, code string }{
	{"builtins gone", "import builtins\nfor n in ('len', 'print', 'type', 'str', 'repr', 'eval', 'compile', 'int', 'list', 'dict', 'getattr', 'BaseException', 'Exception', 'slice', '__import__'):\n    setattr(builtins, n, None)"},
	{"builtins cleared", "import builtins\nbuiltins.__dict__.clear()"},
	{"sys cleared", "import sys\nfor n in list(vars(sys)):\n    if n not in ('modules', 'stdout', 'stderr', 'stdin'):\n        try: delattr(sys, n)\n        except Exception: pass"},
	{"modules cleared", "import sys\nsys.modules.clear()"},
	{"modules replaced", "import sys\nfor n in ('traceback', 'linecache', 'io', 'os', 'threading', '_ast', 'warnings', 'json'):\n    sys.modules[n] = 5"},
	{"json patched", "import json\njson.dumps = json.loads = None"},
	{"trace", "import sys\ndef tr(*a):\n    raise ValueError\nsys.settrace(tr)"},
	{"profile", "import sys\ndef pr(*a):\n    raise ValueError\nsys.setprofile(pr)"},
	{"endless profile", "import sys\nn = 0\ndef pr(*a):\n    global n\n    n += 1\n    if n == 2: raise KeyboardInterrupt\nsys.setprofile(pr)"},
	{"excepthook", "import sys\ndef hook(*a): raise SystemExit(5)\nsys.excepthook = hook\n1/0"},
	{"displayhook", "import sys\nsys.displayhook = None"},
	{"recursion limit", "import sys\nsys.setrecursionlimit(30)\ndef f(): f()\ntry: f()\nexcept RecursionError: pass"},
	{"deep recursion", "def f(): return f()\nf()"},
	{"recursive repr", "class R:\n    def __repr__(self): return repr(self)\nR()"},
	{"deep list repr", "l = []\nfor i in range(100000): l = [l]\nl"},
	{"repr is no text", "class R:\n    def __repr__(self): return 5\nR()"},
	{"repr raises SystemExit", "class R:\n    def __repr__(self): raise SystemExit(3)\nR()"},
	{"repr of a str subclass", "class S(str):\n    def __len__(self): raise KeyboardInterrupt\n    __getitem__ = __str__ = translate = __len__\nclass R:\n    def __repr__(self): return S('x')\nR()"},
	{"exception str of a subclass", "class S(str):\n    def __len__(self): raise KeyboardInterrupt\n    __getitem__ = __str__ = translate = __len__\nclass E(Exception):\n    def __str__(self): return S('x')\nraise E"},
	{"class metaclass", "class M(type):\n    def __getattribute__(c, n): raise KeyboardInterrupt\n    def __eq__(c, o): raise KeyboardInterrupt\n    __hash__ = type.__hash__\nclass C(metaclass=M): pass\nc = C()"},
	{"dict subclass", "class D(dict):\n    def __iter__(self): raise KeyboardInterrupt\n    __len__ = keys = items = __iter__\nd = D(a=1)"},
	{"hostile keys", "class K:\n    def __str__(self): raise KeyboardInterrupt\n    __repr__ = __str__\nd = {K(): 1}"},
	{"hostile class property", "class C:\n    @property\n    def __class__(self): raise KeyboardInterrupt\nc = C()"},
	{"hostile name", "class S(str):\n    def __hash__(self): return 1\n    def __eq__(self, o): raise KeyboardInterrupt\nglobals()[S('x')] = 1"},
	{"module name is no text", "class C: pass\nC.__module__ = 5\nc = C()"},
	{"frames", "import sys\nf = sys._getframe(1)\nf.f_locals['reply'] = 5\ndel f"},
	{"gc", "import gc\nfor o in gc.get_objects():\n    if type(o) is list and len(o) > 5 and o is not sys.path if 'sys' in globals() else 0: pass"},
	{"exit code property", "class X(SystemExit):\n    @property\n    def code(self): raise ValueError\nraise X"},
	{"exit text that raises", "class T:\n    def __str__(self): raise ValueError\nraise SystemExit(T())"},
	{"exit huge", "raise SystemExit(1 << 100)"},
	{"exception without traceback", "class E(Exception):\n    def __getattribute__(self, n): raise ValueError\nraise E"},
	{"lineno is text", "class E(SyntaxError): pass\nraise E('m', ('f', 'x', 'y', 'z'))"},
	{"cyclic cause", "a, b = ValueError(), KeyError()\na.__cause__, b.__cause__ = b, a\nraise a"},
	{"long chain", "e = None\nfor i in range(3000):\n    n = ValueError(i); n.__cause__ = e; e = n\nraise e"},
	{"long message", "raise ValueError('x' * 10**7)"},
	{"control characters", "raise ValueError('\\0\\x1b\"\\\\\\ud800' * 100000)"},
	{"sigint handler", "import signal\ndef h(*a): raise SystemExit(4)\nsignal.signal(signal.SIGINT, h)"},
	{"sigint ignored", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"},
	{"sigint to itself", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGINT)"},
	{"interrupt_main", "import _thread\n_thread.interrupt_main()"},
	{"alarm", "import signal, time\ndef h(*a): raise TimeoutError('late')\nsignal.signal(signal.SIGALRM, h)\nsignal.setitimer(signal.ITIMER_REAL, 0.05)"},
	{"alarm series", "import signal\ndef h(*a): raise SystemExit('late')\nsignal.signal(signal.SIGALRM, h)\nsignal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)"},
	{"alarm off", "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)"},
	{"audit hook", "import sys\nif hasattr(sys, 'addaudithook'):\n    on = [True]\n    sys.addaudithook(lambda e, a: 1 / 0 if on and e in ('compile', 'exec', 'open') else None)\n    on.clear()"},
	{"surviving thread", "import threading, time\ndef f():\n    for i in range(20):\n        time.sleep(0.005); sum(range(10000))\nthreading.Thread(target=f, daemon=True).start()"},
	{"warnings as errors", "import warnings\nwarnings.simplefilter('error')\nx = 1\nx is 1"},
	{"import hook", "import sys\nclass F:\n    def find_spec(self, *a): raise SystemExit\nsys.meta_path.insert(0, F())"},
	{"codec", "import codecs\ncodecs.register_error('backslashreplace', lambda e: 1 / 0)\n'\\ud800'"},
	{"forked child", "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)"},
	{"forked child in a function", "import os, sys\ndef f():\n    if os.fork() == 0: raise KeyError('child')\n    os.wait()\nf()"},
	{"namespace cleared", "k = keep\nglobals().clear()\nglobals()['keep'] = 41"},
	{"frozen namespace", "__builtins__ = {}"},
}

func TestREPLSurvives(t *testing.T) {
	first, last := pythons(t)[0].version, pythons(t)[len(pythons(t))-1].version
	eachPython(t, func(t *testing.T, p python) {
		if os.Getenv("REQUIRE_ALL") == "" && p.version != first && p.version != last {
			t.Skip("with REQUIRE_ALL=1 only")
		}
		for _, row := range survived {
			t.Run(row.name, func(t *testing.T) {
				r := start(t, p)
				r.must("keep = 41")
				reply := r.code(row.code)
				if reply.Exception != nil && (len(reply.Exception.Traceback) > 6*65536 || len(reply.Exception.Value) > 6*8192) {
					t.Error("the exception is not bounded")
				}
				// An alarm may hit this execution as well: that is the code's own doing.
				var err error
				for range 5 {
					reply, err = r.Exec(limited(t), Request{Code: "keep\nkeep"})
					if err != nil {
						t.Fatalf("%v\n%s", err, r.stderr.take())
					}
					if reply.Status == StatusOK {
						break
					}
				}
				if value(reply) != "41" {
					t.Errorf("afterwards: %+v %+v", reply, reply.Exception)
				}
				if reply = r.code("1/0"); reply.Status == StatusOK {
					t.Errorf("an exception afterwards: %+v", reply)
				}
			})
		}
	})
}

// What ends the session, and must end it at once and with a typed error.
var lost = []struct {
	name, code string
	want       error
}{
	{"closerange", "import os\nos.closerange(0, 1024)", ErrClosed},
	{"dup2 over the channel", "import os\nr, w = os.pipe()\nos.dup2(w, 3)", ErrClosed},
	{"exit", "import os\nos._exit(3)", ErrClosed},
	{"abort", "import os\nos.abort()", ErrClosed},
	{"kill", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", ErrClosed},
	{"null", "import ctypes\nctypes.string_at(0)", ErrClosed},
	{"junk", "import os\nos.write(3, b'junk' * 100)", ErrProtocol},
	{"length -1", "import os\nos.write(3, b'\\xff\\xff\\xff\\xff')\nos._exit(0)", ErrProtocol},
	{"length 2**31", "import os\nos.write(3, b'\\0\\0\\0\\x80')\nos._exit(0)", ErrProtocol},
	{"length 0", "import os\nos.write(3, bytes(4))\nos._exit(0)", ErrProtocol},
	{"half a length", "import os\nos.write(3, b'\\1')\nos._exit(0)", ErrClosed},
	{"half a frame", "import os\nos.write(3, b'\\x20\\0\\0\\0')\nos._exit(0)", ErrClosed},
	{"forged reply", "import os\nm = b'{\"status\":\"ok\"}'\nos.write(3, (len(m) + 8).to_bytes(4, 'little') + bytes(8) + m)\nos._exit(0)", ErrProtocol},
	{"forged reply of a child", "import os\nfd = os.dup(3)\nm = b'{\"status\":\"ok\"}'\nif os.fork() == 0:\n    os.write(fd, (len(m) + 8).to_bytes(4, 'little') + b'12345678' + m)\n    os._exit(0)\nos.wait()", ErrProtocol},
	{"signals to junk", "import ctypes\nctypes.CDLL(None).raise_(11) if 0 else __import__('os').kill(__import__('os').getpid(), 11)", ErrClosed},
}

func TestSessionLost(t *testing.T) {
	p := pythons(t)[0]
	for _, row := range lost {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, p)
			began := time.Now()
			reply, err := r.Exec(limited(t), Request{Code: row.code})
			if err == nil {
				reply, err = r.Exec(limited(t), Request{Code: "1"})
			}
			if !errors.Is(err, row.want) {
				t.Errorf("%+v, %v, want %v", reply, err, row.want)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			if _, again := r.Exec(limited(t), Request{Code: "1"}); again == nil {
				t.Error("a broken connection still works")
			}
		})
	}
}

// TestForgedClaims: with the right number a forged reply is taken for what any
// reply is, a claim; the next one no longer fits.
func TestForgedClaims(t *testing.T) {
	r := start(t, pythons(t)[0])
	reply, err := r.Exec(limited(t), Request{Code: `
import os, sys
f = sys._getframe()
while f.f_code.co_name != 'serve': f = f.f_back
seq = f.f_locals['data'][12:20]
m = b'{"status":"ok","value":"forged","namespace":{"a":{"type":"x"}}}'
os.write(3, (len(m) + 8).to_bytes(4, 'little') + seq + m)
`})
	if errors.Is(err, ErrProtocol) {
		return // the real one was there as well by then
	}
	if err != nil || value(reply) != "forged" {
		t.Errorf("%+v, %v", reply, err)
	}
	if _, err := r.Exec(limited(t), Request{Code: "1"}); !errors.Is(err, ErrProtocol) {
		t.Errorf("after a forged reply: %v", err)
	}
}

// TestStuckREPL: a REPL that never reads holds nobody up.
func TestStuckREPL(t *testing.T) {
	c, cell := socketpair(t)
	defer cell.Close()
	defer c.Close()
	large := Request{Code: strings.Repeat("#", 1<<20)}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(ctx, large); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Exec(limited(t), Request{Code: "1"}); !errors.Is(err, c.broken) || c.broken == nil {
		t.Errorf("half a request was followed by another: %v", err)
	}
}

func TestEndlessExitFunction(t *testing.T) {
	r := start(t, pythons(t)[0])
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := r.Exec(ctx, Request{Code: "import atexit\n@atexit.register\ndef f():\n    while True: pass", Finish: true})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if reply, err := r.Interrupt(limited(t), r.interrupt); err != nil || reply.Status == "" {
		t.Errorf("%+v, %v", reply, err)
	}
}
