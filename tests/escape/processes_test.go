package escape

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

func TestProcesses(t *testing.T) { table(t, processProbes) }

// timeout is one at the usual pace.
func timeout(d time.Duration) func(*executor.Request) {
	return func(r *executor.Request) { r.Timeout = testkit.Paced(d) }
}

var processProbes = []probe{
	{n: "43", name: "a fork bomb", code: `
n = 0
try:
    while n < 1000:
        if os.fork() == 0:
            time.sleep(100); os._exit(0)
        n += 1
except OSError as e: print(errno.errorcode[e.errno], 20 < n < 32)
`, want: "EAGAIN True", then: func(t *testing.T, s *stage, r executor.Result) {
		// Its children hold every place; the session still runs plain code.
		if r := s.run(t, s.session, executor.Request{Code: "print(6 * 7)"}); r.Output != "42\n" {
			t.Errorf("with no process left: %q", r.Output)
		}
	}},
	{n: "43", name: "a fork bomb that breeds", code: `
def bomb():
    while True:
        try:
            if os.fork() == 0: bomb()
        except OSError: pass
bomb()
`, verdict: executor.VerdictTimeout, req: timeout(time.Second), anyLost: true}, // the interrupt has to find its way among thirty that spin
	{n: "44", name: "ten thousand threads", code: `
import threading
n = 0
try:
    for n in range(10_000): threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
except RuntimeError as e: print(e, 4 < n < 32)
`, want: "can't start new thread True"},
	{
		n: "45", name: "double fork and setsid, signals ignored", code: daemon, want: "started", alone: true,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			pids := marked(t, "escape-daemon")
			if len(pids) == 0 {
				t.Error("the daemon does not run, so that nothing is shown")
			}
			must(t, s.session.Close())
			if pids := marked(t, "escape-daemon"); len(pids) != 0 {
				t.Errorf("processes %v outlive the session", pids)
			}
			s.renew(t)
		},
	},
	{
		n: "46", name: "a background child goes with a lost namespace", code: daemon, want: "started",
		then: func(t *testing.T, s *stage, _ executor.Result) {
			r := s.run(t, s.session, executor.Request{Code: "import os; os._exit(3)"})
			if r.Verdict != executor.VerdictExit || r.ReturnCode != 3 || !r.Session.Lost {
				t.Errorf("os._exit: %s %d lost %v", r.Verdict, r.ReturnCode, r.Session.Lost)
			}
			if pids := marked(t, "escape-daemon"); len(pids) != 0 {
				t.Errorf("processes %v outlive the REPL", pids)
			}
		}, lostLater: true,
	},
	{n: "47", slow: true, name: "stops itself", code: `os.kill(os.getpid(), signal.SIGSTOP)`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "48", name: "SIGINT and SIGTERM ignored, spinning", code: `
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
while True: pass
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "48", slow: true, name: "SIGINT blocked", code: `
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
time.sleep(1000)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "49", name: "signals to PID 1", code: `
odd('EPERM', {s: E(os.kill, 1, s) for s in list(range(0, 32)) + [34, 40, 64]})
odd('EPERM', {s: S('tgkill', 1, 1, s) for s in (1, 3, 6, 9, 11, 15)})
i = ctypes.create_string_buffer(struct.pack('iii', 3, 0, -1) + bytes(116))
odd('EPERM', {s: S('rt_sigqueueinfo', 1, s, i) for s in (3, 10, 34)})
fd = R('pidfd_open', 1, 0)
print(fd > 0, S('pidfd_send_signal', fd, 9, 0, 0), S('pidfd_getfd', fd, 3, 0))
`, want: "EPERM\nEPERM\nEPERM\nTrue EPERM EPERM"},
	{n: "49", name: "signals to the host's processes", code: `
odd('ESRCH', {p: E(os.kill, p, 9) for p in range(2, 70000) if p not in (os.getpid(),)})
print(os.getppid())
`, want: "ESRCH\n1"},
	{
		n: "50", name: "kill(-1, 9)", code: `os.kill(-1, signal.SIGTERM) if os.fork() else time.sleep(5); os.kill(os.getpid(), 9)`,
		verdict: executor.VerdictKilled, signal: "SIGKILL", lost: true,
	},
	{n: "50", name: "kill(-1, 9) by a child", code: `
if os.fork() == 0:
    os.setsid(); os.kill(-1, 9)
time.sleep(10)
`, verdict: executor.VerdictKilled, signal: "SIGKILL", lost: true},
	{n: "51", name: "ptrace and the memory of others", code: `
pid = os.getpid()
buf = ctypes.create_string_buffer(16); iov = (ctypes.c_void_p * 2)(ctypes.addressof(buf), 16)
odd('EPERM', {(r, p): S('ptrace', r, p, 0, 0) for r in (0, 16, 0x4206) for p in (0, 1, pid)})
odd('EPERM', {(c, p): S(c, p, iov, 1, iov, 1, 0) for c in ('process_vm_readv', 'process_vm_writev') for p in (1, pid)})
def peek(): return {'EACCES': 0, 'EPERM': 0}.get(E(open, '/proc/%d/mem' % pid, 'rb'), 1) + {'EACCES': 0}.get(E(os.readlink, '/proc/%d/exe' % pid), 2) + {'EACCES': 0, 'EPERM': 0}.get(E(os.listdir, '/proc/%d/fd' % pid), 4)
print(child(peek), R('prctl', 3))
`, want: "EPERM\nEPERM\nexit 0 0"},
	{n: "52", name: "a name that looks like the rest of a line", code: `
name = ctypes.create_string_buffer(b') R 1\n) Z 0 0')
print(S('prctl', 15, name), repr(open('/proc/self/comm').read()))
print(E(open, '/proc/self/comm', 'w') == 'EROFS')
def spin():
    for _ in range(10**5): pass
spin()
`, want: "ok ') R 1\\n) Z 0 0\\n'\nTrue"},
	{n: "52", name: "its own name by a file", code: `
try: open('/proc/self/comm', 'w').write('x'); print('ok')
except OSError as e: print(errno.errorcode[e.errno])
odd('EROFS/ENOENT', {f: E(open, '/proc/self/' + f, 'w') for f in ('oom_score_adj', 'coredump_filter', 'clear_refs', 'loginuid', 'timerslack_ns', 'sched', 'autogroup', 'task/%d/comm' % os.getpid(), 'attr/current')})
`, want: "EROFS\nEROFS/ENOENT"},
	{n: "53", name: "zombies", code: `
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0: os._exit(0)   # to PID 1
        os._exit(0)
    os.waitpid(pid, 0)
for _ in range(100):
    left = [p for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]
    if not left: break
    time.sleep(0.02)
print(left)
`, want: "[]", within: 20 * time.Second},
	{
		n: "54", name: "a segfault reaches no core handler", code: `
import resource
print(resource.getrlimit(resource.RLIMIT_CORE), E(resource.setrlimit, resource.RLIMIT_CORE, (1 << 20, 1 << 20)))
sys.stdout.flush()
ctypes.string_at(0)
`, want: "(0, 0) ValueError", verdict: executor.VerdictCrashed, signal: "SIGSEGV", lost: true,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			if cores, _ := filepath.Glob("core*"); len(cores) != 0 {
				t.Errorf("core files %v", cores)
			}
		},
	},
	{n: "55", name: "limits and priorities up", code: `
import resource
odd('ValueError', {k: E(resource.setrlimit, getattr(resource, k), (-1, -1)) for k in ('RLIMIT_CORE', 'RLIMIT_NOFILE', 'RLIMIT_FSIZE', 'RLIMIT_STACK', 'RLIMIT_MEMLOCK', 'RLIMIT_MSGQUEUE', 'RLIMIT_SIGPENDING', 'RLIMIT_NICE', 'RLIMIT_RTPRIO', 'RLIMIT_DATA')})
print(E(resource.prlimit, 1, resource.RLIMIT_NOFILE, (1, 1)), E(os.nice, -1), E(os.setpriority, os.PRIO_PROCESS, 1, 19))
odd('EPERM', {p: E(os.sched_setscheduler, 0, p, os.sched_param(1)) for p in (os.SCHED_FIFO, os.SCHED_RR)})
print(S('sched_setattr', 0, ctypes.create_string_buffer(struct.pack('IIQiIQQQ', 48, 6, 0, 0, 0, 10**6, 10**7, 10**7)), 0), S('ioprio_set', 1, 0, 1 << 13))
try: open('/proc/self/oom_score_adj', 'w').write('-1000'); print('lowered')
except OSError as e: print(errno.errorcode[e.errno])
`, want: "ValueError\nEPERM EPERM EPERM\nEPERM\nEPERM EPERM\nEROFS"},
	{n: "55", name: "every limit", code: `
import resource
for k in sorted(k for k in dir(resource) if k.startswith('RLIMIT_') and k[7:] in 'CORE NOFILE FSIZE STACK MEMLOCK MSGQUEUE SIGPENDING NICE RTPRIO'.split()):
    print(k[7:], *resource.getrlimit(getattr(resource, k)))
soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
print(soft == hard, 32 << 20 < hard < 256 << 20)
`, want: "CORE 0 0\nFSIZE 17825792 17825792\nMEMLOCK 65536 65536\nMSGQUEUE 0 0\nNICE 0 0\nNOFILE 1024 1024\nRTPRIO 0 0\nSIGPENDING 256 256\nSTACK 8388608 8388608\nTrue True"},
	{n: "55", name: "first to go when the machine is short of memory", code: `
print(open('/proc/self/oom_score_adj').read().strip(), child(lambda: int(open('/proc/self/oom_score_adj').read()) != 1000))
`, want: "1000 exit 0"},
}

// daemon leaves a process behind that does all it can to live on.
const daemon = `
import ctypes
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in range(1, 65):
            try: signal.signal(s, signal.SIG_IGN)
            except (OSError, ValueError): pass
        S('prctl', 15, b'escape-daemon')
        os.write(w, b'x')
        while True: time.sleep(0.01)
    os._exit(0)
os.wait(); os.read(r, 1)
print('started')
`

// marked finds processes on the host by the name they gave themselves.
func marked(t *testing.T, name string) (pids []string) {
	t.Helper()
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	must(t, err)
	for _, file := range comms {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// TestCloseKillsWithinASecond: whatever the code does, Close ends it at once.
func TestCloseKillsWithinASecond(t *testing.T) {
	h := newHost(t)
	before := h.slots(t)
	for i, code := range []string{"while True: pass", "import time; time.sleep(1000)", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"} {
		s, err := h.ex.NewSession(t.Context(), executor.SessionOptions{})
		must(t, err)
		h.run(t, s, executor.Request{Code: "1"})
		done := make(chan executor.Result, 1)
		running := make(chan struct{})
		var once bool
		go func() {
			r, _ := s.Execute(t.Context(), executor.Request{Code: "print('.', flush=True)\n" + code, Stdout: func([]byte) {
				if !once {
					once = true
					close(running)
				}
			}})
			done <- r
		}()
		<-running
		began := time.Now()
		must(t, s.Close())
		r := <-done
		if took := time.Since(began); took > testkit.Paced(time.Second) {
			t.Errorf("%d: took %s", i, took)
		}
		if r.Success {
			t.Errorf("%d: %s", i, r.Verdict)
		}
	}
	if more := h.nothingLeft(t, before, nil); len(more) != 0 {
		t.Errorf("records of cells are left: %v", more)
	}
	h.holds(t)
}
