package escape

import (
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

func TestForgedProtocol(t *testing.T) { table(t, protocolProbes) }

// Whatever code does to its own REPL, only this session may suffer, and no
// host's fact may become its word.
var protocolProbes = []probe{
	{n: "74", name: "junk into every descriptor", code: `
for fd in range(3, 1024):
    try: os.write(fd, b'\xff' * 5000)
    except OSError: pass
`, verdict: executor.VerdictCrashed, lost: true},
	{n: "74", name: "junk that is a little", code: `os.write(3, b'x')`, verdict: executor.VerdictCrashed, lost: true},
	{n: "75", name: "closerange", code: `os.closerange(0, 1024)`, verdict: executor.VerdictExit, lost: true},
	{n: "75", name: "closerange and go on", code: `
os.closerange(0, 1024)
time.sleep(30)
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{n: "76", name: "a forged end", code: forge + `
send(b'{"status":"ok","value":"forged","namespace":{}}')
while True: pass
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{n: "76", name: "a forged end with another number", code: forge + `
send(b'{"status":"ok","value":"forged","namespace":{}}')
time.sleep(1)
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{
		n: "76", name: "a forged end with the right number", code: forge + `
import gc
seqs = set()
f = sys._getframe()
while f:
    for v in list(f.f_locals.values()):
        if isinstance(v, bytes) and len(v) >= 44: seqs.add(v[12:20])
    f = f.f_back
print(len(seqs) >= 1, flush=True)
if seqs: send(b'{"status":"ok","value":"forged","namespace":{"x":{"type":"int"}}}', seqs.pop())
time.sleep(0.2)
os.kill(os.getpid(), 9)
`, match: true, want: "True", anyVerdict: true, anyLost: true,
		then: func(t *testing.T, s *stage, r executor.Result) {
			// Its own session it may lie about: value and namespace are its words.
			// Facts are the host's: the next execution must not take the lie for its answer.
			r = s.run(t, s.session, executor.Request{Code: "print('mine')\n5"})
			if r.Verdict == executor.VerdictOK && (r.Output != "mine\n" || r.Value == nil || *r.Value != "5") {
				t.Errorf("the next execution says %q %v", r.Output, r.Value)
			}
		},
	},
	{n: "77", name: "frame length 2**32-1", code: `os.write(3, b'\xff\xff\xff\xff' + b'x' * 100)`, verdict: executor.VerdictCrashed, lost: true},
	{n: "77", name: "frame length 0", code: `os.write(3, bytes(4))`, verdict: executor.VerdictCrashed, lost: true},
	{n: "77", name: "frame length 2**31", code: `os.write(3, struct.pack('<I', 1 << 31) + b'x' * 100)`, verdict: executor.VerdictCrashed, lost: true},
	{n: "77", name: "half a frame, then the end", code: `os.write(3, struct.pack('<I', 1000) + b'x'); os._exit(0)`, verdict: executor.VerdictExit, lost: true},
	{n: "77", name: "half a frame, then nothing", code: `
os.write(3, struct.pack('<I', 1000) + b'x')
time.sleep(100)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(300 * time.Millisecond)},
	{n: "77", name: "deep and wide answers", code: forge + `
send(b'[' * 500000)
`, verdict: executor.VerdictCrashed, lost: true},
	{n: "78", name: "dup2 over the control channel", code: `
r, w = os.pipe(); os.dup2(w, 3); os.close(w)
print('still here')
`, want: "still here", verdict: executor.VerdictExit, lost: true},
	{n: "78", name: "dup2 over it, and go on", code: `
r, w = os.pipe(); os.dup2(w, 3)
time.sleep(30)
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{n: "79", name: "streams, builtins and modules patched", code: `
import builtins, json
class Evil:
    def write(self, s): raise MemoryError
    def flush(self): raise KeyboardInterrupt
    def fileno(self): return 3
for n in ('len', 'repr', 'str', 'print', 'isinstance', 'open', 'compile', 'exec', 'eval', '__import__', 'type', 'list'):
    setattr(builtins, n, lambda *a, **k: os.abort())
json.dumps = json.loads = os.write = os.read = lambda *a, **k: 1 / 0
sys.modules.clear(); sys.path[:] = []; sys.meta_path[:] = []
sys.stdout = sys.stderr = sys.__stdout__ = Evil()
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		r := s.run(t, s.session, executor.Request{Code: "token"})
		if r.Value == nil || *r.Value != "'alive'" {
			t.Errorf("value %v (%s %s)", r.Value, r.Verdict, clip(deref(r.Error)))
		}
		s.run(t, s.session, executor.Request{Code: "os._exit(0)"})
	}, anyVerdict: true, anyLost: true},
	{n: "80", name: "walking to the REPL's own objects", code: `
import gc, types
f = sys._getframe()
while f.f_back: f = f.f_back
g = f.f_globals
for k in list(g):
    if k not in ('__name__',) and callable(g[k]) and not k.startswith('__'): g[k] = lambda *a, **k: os._exit(9)
`, verdict: executor.VerdictExit, lost: true},
	{n: "81", name: "settrace and setprofile", code: `
def trace(*a): raise RuntimeError('traced')
sys.settrace(trace); sys.setprofile(trace)
`, exc: "RuntimeError"},
	{n: "81", name: "an audit hook that refuses all", code: `
end = time.monotonic() + 0.5
def hook(*a, now=time.monotonic):
    if now() < end: raise RuntimeError('audited')
sys.addaudithook(hook)
`, anyVerdict: true, anyLost: true, then: func(t *testing.T, s *stage, _ executor.Result) {
		s.run(t, s.session, executor.Request{Code: "1", Timeout: testkit.Paced(time.Second)})
		time.Sleep(500 * time.Millisecond) // the hook's own time
	}},
	{n: "81", name: "atexit that hangs", code: `
import atexit
atexit.register(lambda: time.sleep(1000))
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		r := s.run(t, s.session, executor.Request{Code: "raise SystemExit(4)", Finish: true, Timeout: testkit.Paced(500 * time.Millisecond)})
		if r.Verdict != executor.VerdictTimeout {
			t.Errorf("verdict %s", r.Verdict)
		}
	}, lostLater: true},
	{n: "81", name: "a timer of faulthandler", code: `
import faulthandler
faulthandler.dump_traceback_later(0.2, exit=True)
time.sleep(5)
`, verdict: executor.VerdictExit, lost: true},
	{n: "82", slow: true, name: "the SIGINT handler replaced", code: `
signal.signal(signal.SIGINT, lambda *a: None)
while True: time.sleep(0.01)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(300 * time.Millisecond)},
	{n: "82", name: "KeyboardInterrupt and SystemExit raised", code: `
try: raise KeyboardInterrupt
except BaseException as e: print(type(e).__name__)
raise KeyboardInterrupt('mine')
`, want: "KeyboardInterrupt", exc: "KeyboardInterrupt"},
	{n: "82", name: "an exit status", code: `raise SystemExit(7)`, verdict: executor.VerdictExit},
	{n: "83", name: "os._exit", code: `os._exit(5)`, verdict: executor.VerdictExit, lost: true},
	{n: "83", name: "abort", code: `os.abort()`, verdict: executor.VerdictCrashed, signal: "SIGABRT", lost: true},
	{n: "83", name: "null dereference", code: `ctypes.string_at(0)`, verdict: executor.VerdictCrashed, signal: "SIGSEGV", lost: true},
	{n: "83", name: "a bus error and an illegal instruction", code: `
print(child(lambda: os.kill(os.getpid(), signal.SIGILL)), child(os.abort), child(lambda: ctypes.string_at(1)))
os.kill(os.getpid(), signal.SIGBUS)
`, want: "SIGILL SIGABRT SIGSEGV", verdict: executor.VerdictCrashed, signal: "SIGBUS", lost: true},
	{n: "84", name: "the C stack by recursion", code: `
sys.setrecursionlimit(10**9)
class A:
    def __getattr__(self, n): return getattr(self, n + 'x')
def f(x): return [f(x) for _ in range(1)]
import functools
g = functools.partial(print)
a = []
for _ in range(2 * 10**5): a = [a]
repr(a)
`, anyVerdict: true, anyLost: true}, // SIGSEGV; from Python 3.12, which counts calls in C, RecursionError
	{n: "85", name: "a child that writes frames after the end", code: forge + `
fd = os.dup(3)
pid = os.fork()
if pid == 0:
    time.sleep(0.3)
    while True:
        os.write(fd, struct.pack('<I', 30) + bytes(8) + b'{"status":"ok"}       ')
        time.sleep(0.01)
`, anyLost: true, then: func(t *testing.T, s *stage, _ executor.Result) {
		time.Sleep(400 * time.Millisecond)
		r := s.run(t, s.session, executor.Request{Code: "print('mine')"})
		if r.Success && r.Output != "mine\n" {
			t.Errorf("a frame of a child was taken for the answer: %q", r.Output)
		}
		s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)"})
	}},
	{n: "86", name: "a thread that prints into the next execution", code: `
import threading
def later():
    while True: print('late'); time.sleep(0.005)
threading.Thread(target=later, daemon=True).start()
time.sleep(0.1); print('first')
`, match: true, want: "first", then: func(t *testing.T, s *stage, _ executor.Result) {
		r := s.run(t, s.session, executor.Request{Code: "x = 41 + 1\nx", Timeout: testkit.Paced(5 * time.Second)})
		if r.Verdict != executor.VerdictOK || r.Value == nil || *r.Value != "42" {
			t.Errorf("%s %v", r.Verdict, r.Value)
		}
		s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)"})
	}, lostLater: true},
}

// forge speaks on the control channel as the REPL does.
const forge = `
def send(payload, seq=bytes(8)):
    data = seq + payload
    data = struct.pack('<I', len(data)) + data
    while data: data = data[os.write(3, data):]
`
