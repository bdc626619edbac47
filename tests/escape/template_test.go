package escape

import (
	"os"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// TestTemplate plays on what sessions that were forked from one template could
// have in common.
func TestTemplate(t *testing.T) { table(t, templateProbes) }

func preloaded(c *executor.Config) {
	c.Template, c.MaxMemoryMB = true, 256
	if c.Root == "" {
		c.Packages = []string{"numpy"}
	}
	c.Preload = []string{"random", "uuid", "tempfile", "secrets", "numpy as np"}
}

// chance is what is to be different in every session.
const chance = `
for x in (random.random(), uuid.uuid1(), uuid.uuid4(), uuid.getnode(), tempfile.mktemp(), secrets.token_hex(), os.urandom(8).hex(), np.random.random(), np.random.default_rng().random()):
    print(x)
`

// queued says whether a process may queue as many signals as it is to have, and no more.
const queued = `
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
n = 0
try:
    for n in range(1000): signal.pthread_kill(threading.get_ident(), signal.SIGRTMIN)
except OSError: pass
print(200 <= n <= 256)
`

var templateProbes = []probe{
	{
		n: "62", name: "chance differs between siblings", code: chance, match: true, cfg: preloaded,
		then: func(t *testing.T, s *stage, r executor.Result) {
			sibling, err := s.ex.NewSession(t.Context(), executor.SessionOptions{})
			must(t, err)
			defer sibling.Close()
			other := s.run(t, sibling, executor.Request{Code: "import os" + chance})
			mine, theirs := strings.Fields(r.Output), strings.Fields(other.Output)
			if len(mine) != 9 || len(theirs) != 9 {
				t.Fatalf("%q, %q", r.Output, other.Output)
			}
			for i := range mine {
				if mine[i] == theirs[i] {
					t.Errorf("two siblings have the same %s", mine[i])
				}
			}
		},
	},
	{
		n: "62", name: "a fork is charged to the session", code: "1",
		cfg: func(c *executor.Config) { // many pages, and so large page tables
			c.Template, c.MaxMemoryMB = true, 256
			largest := "pandas"
			if _, err := os.Stat("/usr/lib/python3/dist-packages/pandas"); err != nil {
				largest = "numpy" // the emulated machine would take minutes to prepare the other
			}
			c.Packages, c.Preload = []string{largest}, []string{largest}
		},
		then: func(t *testing.T, s *stage, _ executor.Result) {
			var siblings []*executor.Session
			defer func() {
				for _, sibling := range siblings {
					sibling.Close()
				}
			}()
			fork := func() {
				sibling, err := s.ex.NewSession(t.Context(), executor.SessionOptions{})
				must(t, err)
				siblings = append(siblings, sibling)
				s.run(t, sibling, executor.Request{Code: "1"})
			}
			fork()
			before, err := s.ex.TemplateUsage()
			must(t, err)
			const forks = 24 // the kernel counts in lots of 256 KB for each CPU
			for range forks {
				fork()
			}
			after, err := s.ex.TemplateUsage()
			must(t, err)
			if grown := (after.MemoryBytes - before.MemoryBytes) / forks; grown >= 50<<10 {
				t.Errorf("the template's group grew by %d bytes a fork", grown)
			}
		},
	},
	{
		n: "62", name: "pages that are touched are charged to the session", code: "import gc", cfg: preloaded,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			before, err := s.session.Usage()
			must(t, err)
			template, err := s.ex.TemplateUsage()
			must(t, err)
			// Every object of the template's is looked at, and so written to.
			if r := s.run(t, s.session, executor.Request{Code: "gc.unfreeze(); gc.collect(); kept = gc.get_objects()"}); !r.Success {
				t.Fatal(clip(deref(r.Error)))
			}
			after, err := s.session.Usage()
			must(t, err)
			now, err := s.ex.TemplateUsage()
			must(t, err)
			if grown := after.MemoryBytes - before.MemoryBytes; grown < 2<<20 {
				t.Errorf("the session's group grew by %d bytes only", grown)
			}
			if grown := now.MemoryBytes - template.MemoryBytes; grown > 256<<10 {
				t.Errorf("the template's group grew by %d bytes", grown)
			}
		},
	},
	{
		n: "55", name: "queued signals are each session's own", code: queued, want: "True", cfg: preloaded,
		then: func(t *testing.T, s *stage, _ executor.Result) {
			sibling, err := s.ex.NewSession(t.Context(), executor.SessionOptions{})
			must(t, err)
			defer sibling.Close()
			if r := s.run(t, sibling, executor.Request{Code: queued}); r.Output != "True\n" {
				t.Errorf("a sibling of one that has queued all it may says %q %s", r.Output, clip(deref(r.Error)))
			}
		},
	},
	{n: "16", name: "nothing of the template is to be seen or signalled", cfg: preloaded, code: `
print(sorted(n for n in os.listdir('/proc') if n.isdigit()) == ['1', str(os.getpid())], os.getppid())
print([E(os.kill, p, 9) for p in range(2, 400) if p != os.getpid() and E(os.kill, p, 9) != 'ESRCH'])
print(E(os.listdir, '/proc/%d/fd' % os.getppid()), sorted(os.listdir('/proc/self/fd'))[:4])
`, want: "True 1\n[]\nEACCES ['0', '1', '2', '3']"},
}
