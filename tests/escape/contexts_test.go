package escape

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// TestContexts plays on cells that hold more than one REPL.
func TestContexts(t *testing.T) { table(t, contextProbes) }

// beside gives the stage's session a context with the prelude in it.
func (s *stage) beside(t *testing.T) *executor.Context {
	t.Helper()
	c, err := s.session.NewContext(t.Context(), executor.ContextOptions{})
	must(t, err)
	code, err := prelude()
	must(t, err)
	s.in(t, c, code)
	return c
}

func (s *stage) in(t *testing.T, c *executor.Context, code string) executor.Result {
	t.Helper()
	r, err := c.Execute(t.Context(), executor.Request{Code: s.fill(code), Timeout: testkit.Paced(20 * time.Second)})
	must(t, err)
	return r
}

// expect runs code in a context and compares what it prints.
func (s *stage) expect(t *testing.T, c *executor.Context, code, want string) {
	t.Helper()
	r := s.in(t, c, code)
	if got := strings.TrimSpace(r.Output); got != want || r.Verdict != executor.VerdictOK {
		t.Errorf("the context says %q, want %q (%s: %s)", clip(got), want, r.Verdict, clip(deref(r.Error)))
	}
}

var contextProbes = []probe{
	{
		n: "99", name: "a second REPL is held as the first", code: "print(os.getpid())", match: true,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			s.expect(t, s.beside(t), `
st = dict(l.split(':\t', 1) for l in open('/proc/self/status').read().splitlines())
print(st['Uid'], st['CapPrm'], st['CapBnd'], st['NoNewPrivs'], st['Seccomp'])
print(os.listdir('/proc/self/fd')[:4], os.getppid(), E(os.execv, PYTHON, [PYTHON]), S('seccomp', 0, 0, 0), E(socket.socket))
print(E(open, '/etc/x', 'w'), S('mount', b'x', b'/tmp', b'tmpfs', 0, 0), S('unshare', 0x10000000))
`, "1\t1\t1\t1 0000000000000000 0000000000000000 1 2\n['0', '1', '2', '3'] 1 EPERM EPERM EAFNOSUPPORT\nEROFS EPERM EPERM")
		},
	},
	{
		n: "99", name: "a second REPL is checked while code of the first goes on", match: true,
		code: `
if not os.fork():
    os.setsid()
    while True:
        try:
            pid = os.fork()
            if not pid: os._exit(0)
            os.waitpid(pid, 0)
        except OSError: pass
print('goes on')`, want: "goes on",
		then: func(t *testing.T, s *stage, _ executor.Result) {
			for range 3 {
				c := s.beside(t)
				s.expect(t, c, "print(6*7)", "42")
				must(t, c.Close())
			}
		},
	},
	{
		n: "100", name: "the memory of a sibling in the cell is closed", code: "secret = 'sesame'; print(os.getpid())", match: true,
		then: func(t *testing.T, s *stage, r executor.Result) {
			pid := strings.TrimSpace(r.Output)
			if _, err := strconv.Atoi(pid); err != nil {
				t.Fatal(err)
			}
			s.expect(t, s.beside(t), "p = "+pid+`
print(E(open, '/proc/%d/mem' % p, 'rb'), E(open, '/proc/%d/maps' % p), E(os.listdir, '/proc/%d/fd' % p), E(os.listdir, '/proc/%d/root/' % p))
print(S('ptrace', 16, p, 0, 0), S('process_vm_readv', p, 0, 0, 0, 0, 0), S('pidfd_getfd', 3, 3, 0), S('kcmp', p, os.getpid(), 0, 0, 0))
`, "EACCES EACCES EACCES EACCES\nEPERM EPERM EPERM EPERM")
		},
	},
	{
		n: "101", name: "one of two REPLs crashes", code: "print(1)", want: "1",
		then: func(t *testing.T, s *stage, _ executor.Result) {
			c := s.beside(t)
			if r := s.in(t, c, "ctypes.string_at(0)"); r.Signal != "SIGSEGV" || !r.Session.Lost {
				t.Errorf("%s %s, lost %v", r.Verdict, r.Signal, r.Session.Lost)
			}
			s.expect(t, c, "print('token' in globals())", "False")
		},
	},
	{
		n: "101", name: "one of two REPLs is killed by the other", code: "print(os.getpid())", match: true, lostLater: true,
		then: func(t *testing.T, s *stage, r executor.Result) {
			c := s.beside(t)
			s.expect(t, c, "print(E(os.kill, "+strings.TrimSpace(r.Output)+", 9), E(os.kill, 1, 9))", "ok EPERM")
			s.expect(t, c, "print(token)", "alive")
			for end := time.Now().Add(testkit.Paced(10 * time.Second)); s.session.Alive() && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // until the host has heard of it
			}
		},
	},
	{
		n: "101", name: "what holds a dead REPL's channel holds nobody up", code: "print(1)", want: "1",
		then: func(t *testing.T, s *stage, _ executor.Result) {
			c := s.beside(t)
			began := time.Now()
			r := s.in(t, c, `
held = [os.dup(n) for n in range(4)]
for _ in range(3):
    if not os.fork():
        os.setsid()
        time.sleep(99)
os._exit(5)`)
			if took := time.Since(began); r.ReturnCode != 5 || !r.Session.Lost || took > testkit.Paced(3*time.Second) {
				t.Errorf("%s %d, lost %v, after %s", r.Verdict, r.ReturnCode, r.Session.Lost, took)
			}
			s.expect(t, c, "print('again')", "again")
		},
	},
	{
		n: "102", name: "two REPLs have one limit of memory", code: "print(1)", want: "1", lostLater: true,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			r := s.in(t, s.beside(t), "m = mmap.mmap(-1, 1 << 28)\nfor i in range(0, 1 << 28, 4096): m[i] = 1")
			if r.Verdict != executor.VerdictOutOfMemory {
				t.Errorf("%s: %s", r.Verdict, clip(deref(r.Error)))
			}
		},
	},
	{
		n: "102", name: "two REPLs have one limit of processes", code: `
n = 0
while True:
    try:
        if not os.fork(): time.sleep(99)
        n += 1
    except BlockingIOError: break
print(n)`, match: true, cfg: func(c *executor.Config) { c.PIDs = 16 },
		then: func(t *testing.T, s *stage, r executor.Result) {
			if n, _ := strconv.Atoi(strings.TrimSpace(r.Output)); n < 8 || n > 15 {
				t.Errorf("%s processes in a group of 16", r.Output)
			}
			if _, err := s.session.NewContext(t.Context(), executor.ContextOptions{}); err == nil {
				t.Error("a REPL started beyond the limit of processes")
			}
		},
	},
}
