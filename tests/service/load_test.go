package service

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Load: LOAD_TIME (10 s), LOAD_SESSIONS (24) and LOAD_CLIENTS (12) make it long; make
// test-load is ten minutes of 500 and 50. Every second request is hostile. Each answer
// is judged: by itself, by the session that it is of, and with all the others of its
// session, whose order the service tells.
func TestLoad(t *testing.T) {
	length, err := time.ParseDuration(fallback("LOAD_TIME", "10s"))
	if err != nil {
		t.Fatal(err)
	}
	sessions, clients := number(t, "LOAD_SESSIONS", 24), number(t, "LOAD_CLIENTS", 12)
	most := strconv.Itoa(sessions + 2*clients)
	s := start(t, "--memory", "48M", "--total-memory", "200G", "--quota-memory", "200G", "--timeout", "2s",
		"--sessions", most, "--quota-sessions", most, "--quota-executions", "1000", "--start-wait", "60s", "--log-format", "text")
	w := watch(s)
	l := &load{service: s, statuses: map[string]int{}, unclear: map[string]int{}, watch: w}
	var all sync.WaitGroup
	turns := make(chan int)
	for range clients {
		all.Go(func() {
			for i := range turns {
				l.slots[i] = &slot{load: l, number: i, now: l.create(i, 0)}
			}
		})
	}
	l.slots = make([]*slot, sessions)
	for i := range sessions {
		turns <- i
	}
	close(turns)
	all.Wait()
	if t.Failed() {
		return
	}

	began := time.Now()
	end := began.Add(length)
	sampled := w.sample(end)
	for c := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 1))
			for n := c; time.Now().Before(end); n++ {
				l.slots[random.IntN(sessions)].use(random, n%2 == 1)
			}
		})
	}
	all.Wait()
	for _, x := range l.slots {
		x.judge()
	}
	before, after := w.memory(<-sampled)
	for _, x := range l.slots {
		s.want(204, "", "DELETE", "/v1/sessions/"+x.now.id, nil)
	}
	t.Logf("%d sessions, %d clients, %s", sessions, clients, time.Since(began).Round(time.Second))
	for _, what := range slices.Sorted(maps.Keys(l.statuses)) {
		t.Logf("%6d × %s", l.statuses[what], what)
	}
	t.Logf("%d sessions were made; variables were lost %d times; %d executions met a session that was full: %v", l.made.Load(), l.lost, sum(l.unclear), l.unclear)
	t.Logf("the service's memory: %d MB when it was warm, %d MB at the end, %d MB at most, %d MB without sessions", before>>20, after>>20, w.most>>20, s.memory()>>20)
	if l.answered < sessions/2 {
		t.Errorf("only %d requests had what they asked for", l.answered)
	}
	if after > before+growth {
		t.Errorf("memory grew from %d to %d bytes, which is more than %d", before, after, growth)
	}
	w.nothingLeft()
}

// patience is the time limit of code that is quick, on a machine that may be slow.
const patience = 120

// growth is how much more memory the service may have in the end than when it was warm.
const growth = 64 << 20

// load is a run of it.
type load struct {
	*service
	slots []*slot
	made  atomic.Int64
	nonce atomic.Int64
	watch *watcher

	mu       sync.Mutex
	statuses map[string]int // by what was asked, and answered
	unclear  map[string]int // executions in sessions that were filled on purpose
	answered int
	lost     int
}

func (l *load) count(what string, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[fmt.Sprintf("%s: %d", what, status)]++
	if status >= 200 && status < 300 {
		l.answered++
	}
}

// create makes the session of a slot, for the nth time.
func (l *load) create(i, n int) *generation {
	g := &generation{id: fmt.Sprintf("s%d-%d", i, n)}
	body := fmt.Sprintf(`{"id":%q,"limits":{"pids":16,"workspace_size":"4M","workspace_files":1000}}`, g.id)
	for deadline := time.Now().Add(5 * time.Minute); ; {
		status, text := l.ask("POST", "/v1/sessions", body)
		l.count("a session is made", status)
		if status == 201 {
			l.made.Add(1)
			return g
		}
		if status != 429 || time.Now().After(deadline) {
			l.t.Errorf("making %s: %d %.400s", g.id, status, text)
			return g
		}
		time.Sleep(time.Second) // as Retry-After says
	}
}

// use does something with the slot's session, as a friend or as a foe.
func (x *slot) use(random *rand.Rand, hostile bool) {
	g := x.current()
	switch dice := random.IntN(100); {
	case hostile:
		pieces := foes
		if x.isFilled() {
			pieces = slices.Concat(foes, fillers)
		}
		x.execute(g, pieces[random.IntN(len(pieces))], 0, []float64{0.2, 0.5, 2}[random.IntN(3)], false)
	case dice < 3:
		x.renew(g)
	case dice < 10:
		x.moveFile(g, random)
	case dice < 15:
		x.alone()
	default:
		nonce := x.load.nonce.Add(1)
		x.execute(g, fmt.Sprintf("try:\n    n += 1\nexcept NameError:\n    me, n = %q, 1\nprint('answer', %d, me, n)", g.id, nonce), nonce, patience, dice < 50)
	}
}

// renew ends the session, whatever it does, and makes another.
func (x *slot) renew(g *generation) {
	x.mu.Lock()
	if x.now != g || g.ending {
		x.mu.Unlock()
		return // another client does that
	}
	g.ending = true
	n := x.made
	x.made++
	x.mu.Unlock()
	status, text := x.load.ask("DELETE", "/v1/sessions/"+g.id, nil)
	x.load.count("a session is ended", status)
	if status != 204 {
		x.load.t.Errorf("ending %s: %d %.400s", g.id, status, text)
	}
	next := x.load.create(x.number, n+1)
	x.mu.Lock()
	x.now, x.old = next, append(x.old, g)
	x.mu.Unlock()
}

// moveFile writes a file into the workspace and reads it back.
func (x *slot) moveFile(g *generation, random *rand.Rand) {
	content := strings.Repeat(fmt.Sprintf("%s %d\n", g.id, x.load.nonce.Add(1)), 1+random.IntN(2000))
	path := fmt.Sprintf("/v1/sessions/%s/files/up/%d", g.id, x.load.nonce.Add(1))
	status, text := x.load.ask("PUT", path, io.Reader(strings.NewReader(content)))
	x.load.count("a file is written", status)
	switch {
	case status == 413: // hostile code has filled the workspace, or the session's memory
	case status == 204:
		status, text = x.load.ask("GET", path, nil)
		x.load.count("a file is read", status)
		if status == 200 && text != content {
			x.load.t.Errorf("%s: %d bytes were written, and %d others are read: %.100s", path, len(content), len(text), text)
		} else if status != 200 {
			x.refused(g, "GET "+path, status, text)
		}
		status, text = x.load.ask("DELETE", path, nil)
		x.load.count("a file is deleted", status)
		if status != 204 && status != 413 {
			x.refused(g, "DELETE "+path, status, text)
		}
	default:
		x.refused(g, "PUT "+path, status, text)
	}
}

// alone runs code in a cell that is gone afterwards.
func (x *slot) alone() {
	nonce := x.load.nonce.Add(1)
	status, text := x.load.ask("POST", "/v1/execute", fmt.Sprintf(`{"code":"print('alone', %d, len(globals()))","timeout":%d,"limits":{"pids":16}}`, nonce, patience))
	x.load.count("code alone", status)
	if status == 200 && !strings.Contains(text, fmt.Sprintf(`"output":"alone %d `, nonce)) || status != 200 && status != 429 {
		x.load.t.Errorf("code alone: %d %.400s", status, text)
	}
}

// foes are the hostile pieces of code that leave the session as it was, or lost.
var foes = []string{
	"while True: pass",
	"def f():\n    l = []\n    while True: l.append(bytearray(1 << 20))\nf()",
	"import os\nwhile True: os.fork()",
	"import os; os._exit(1)",
	"import os; os.kill(os.getpid(), 11)",
	"print('x' * (20 << 20))",
	"import os\nfor i in range(100000): open(str(i), 'w')",
	"open('f', 'wb').write(bytes(8 << 20))",
	"import os\ntry: os.symlink('/etc/passwd', 'l')\nexcept OSError: pass\nprint(open('l').read())",
	"import sys; sys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
	"import os; os.closerange(0, 100)",
	"import os\nfor fd in range(3, 30):\n    try: os.write(fd, b'{\"forged\": 1}\\n' * 9)\n    except OSError: pass",
	"import socket; socket.socket()",
	"def f(:",
	"import sys; sys.exit(3)",
	"import threading\nfor i in range(1000): threading.Thread(target=lambda: None).start()",
}

// fillers take what the session has and keep it: what runs after them may fail for it.
var fillers = []string{
	"l = []\nwhile True: l.append(bytearray(1 << 20))",
	"import os, time\nwhile True:\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(1000)",
}

func fallback(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

func number(t *testing.T, name string, value int) int {
	t.Helper()
	n, err := strconv.Atoi(fallback(name, strconv.Itoa(value)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
