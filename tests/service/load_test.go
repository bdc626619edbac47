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
	l := newLoad(t)
	l.service = start(t, l.flags()...)
	l.watch = watch(l.service, func() int { return l.cmd.Process.Pid }, func() []string { return []string{l.log.String()} }, l.stop)
	l.run(func(time.Time) {})
}

// The same against a service in two processes, of which the one that speaks HTTP is
// killed and started again LOAD_RESTARTS times (2): what was asked then has no answer,
// and all the rest is as if nothing had happened.
func TestLoadSplit(t *testing.T) {
	l := newLoad(t)
	x := startSplit(t, l.flags(), l.flags()...)
	l.service = x.service
	var before []string // logs
	l.watch = watch(x.service, func() int { return x.warden.Process.Pid }, func() []string { return append(before, x.log.String(), x.wlog.String()) }, x.end)
	restarts := number(t, "LOAD_RESTARTS", 2)
	l.run(func(end time.Time) {
		pause := time.Until(end) / time.Duration(restarts+1)
		for range restarts {
			time.Sleep(pause) // the load is what it waits for
			l.epoch.Add(1)
			x.kill()
			before = append(before, x.log.String())
			x.start()
			l.epoch.Add(1)
		}
		if n := l.unanswered.Load(); n == 0 && restarts > 0 {
			t.Errorf("the service was killed %d times, and no request noticed", restarts)
		}
	})
}

func newLoad(t *testing.T) *load {
	t.Helper()
	length, err := time.ParseDuration(fallback("LOAD_TIME", "10s"))
	if err != nil {
		t.Fatal(err)
	}
	return &load{
		length: length, clients: number(t, "LOAD_CLIENTS", 12), slots: make([]*slot, number(t, "LOAD_SESSIONS", 24)),
		statuses: map[string]int{}, unclear: map[string]int{},
	}
}

func (l *load) flags() []string {
	most := strconv.Itoa(len(l.slots) + 2*l.clients)
	return []string{
		"--memory", "48M", "--total-memory", "200G", "--quota-memory", "200G", "--timeout", "2s", "--start-wait", "60s",
		"--sessions", most, "--quota-sessions", most, "--quota-executions", "1000", "--log-format", "text",
	}
}

// run does all of it; meanwhile runs beside the clients.
func (l *load) run(meanwhile func(end time.Time)) {
	t := l.t
	var all sync.WaitGroup
	turns := make(chan int)
	for range l.clients {
		all.Go(func() {
			for i := range turns {
				l.slots[i] = &slot{load: l, number: i, now: l.create(i, 0)}
			}
		})
	}
	for i := range l.slots {
		turns <- i
	}
	close(turns)
	all.Wait()
	if t.Failed() {
		return
	}
	began := time.Now()
	end := began.Add(l.length)
	sampled := l.watch.sample(end)
	for c := range l.clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 1))
			for n := c; time.Now().Before(end); n++ {
				l.slots[random.IntN(len(l.slots))].use(random, n%2 == 1)
			}
		})
	}
	meanwhile(end)
	all.Wait()
	for _, x := range l.slots {
		x.judge()
	}
	before, after := l.watch.typical(<-sampled)
	// What ran for a client of a service that was killed has still to end.
	l.until(200, fmt.Sprintf(`"sessions":%d,"running":0,`, len(l.slots)), "GET", "/v1/stats")
	for _, x := range l.slots {
		l.want(204, "", "DELETE", "/v1/sessions/"+x.now.id, nil)
	}
	t.Logf("%d sessions, %d clients, %s", len(l.slots), l.clients, time.Since(began).Round(time.Second))
	for _, what := range slices.Sorted(maps.Keys(l.statuses)) {
		t.Logf("%6d × %s", l.statuses[what], what)
	}
	t.Logf("%d sessions were made; variables were lost %d times; %d executions met a session that was full: %v", l.made.Load(), l.lost, sum(l.unclear), l.unclear)
	t.Logf("the service's memory: %d MB when it was warm, %d MB at the end, %d MB at most, %d MB without sessions", before>>20, after>>20, l.watch.most>>20, l.watch.memory()>>20)
	if l.answered < len(l.slots)/2 {
		t.Errorf("only %d requests had what they asked for", l.answered)
	}
	if after > before+growth {
		t.Errorf("memory grew from %d to %d bytes, which is more than %d", before, after, growth)
	}
	l.watch.nothingLeft()
}

// patience is the time limit of code that is quick, on a machine that may be slow.
const patience = 120

// growth is how much more memory the service may have in the end than when it was warm.
const growth = 64 << 20

// load is a run of it.
type load struct {
	*service
	length  time.Duration
	clients int
	slots   []*slot
	epoch   atomic.Int64 // odd while the service is away
	made    atomic.Int64
	nonce   atomic.Int64
	watch   *watcher

	unanswered atomic.Int64 // requests under way when the service went away

	mu       sync.Mutex
	statuses map[string]int // by what was asked, and answered
	unclear  map[string]int // executions in sessions that were filled on purpose
	answered int
	lost     int
}

// send asks; away says that there is no answer because the service went away.
func (l *load) send(what, method, path string, body any, headers ...string) (status int, text string, away bool) {
	before := l.epoch.Load()
	status, text = l.ask(method, path, body, headers...)
	away = (status == 0 || status == 503) && (before%2 == 1 || l.epoch.Load() != before)
	if away {
		l.unanswered.Add(1)
		time.Sleep(50 * time.Millisecond) // as a client that tries again
	}
	l.count(what, status)
	return status, text, away
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
	unsure := false // whether it was made when the service went away
	for deadline := time.Now().Add(5 * time.Minute); ; {
		status, text, away := l.send("a session is made", "POST", "/v1/sessions", body)
		if status == 201 || status == 409 && unsure {
			l.made.Add(1)
			return g
		}
		unsure = unsure || away
		if status != 429 && !away || time.Now().After(deadline) {
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
	for {
		status, text, away := x.load.send("a session is ended", "DELETE", "/v1/sessions/"+g.id, nil)
		if !away && status != 204 {
			x.load.t.Errorf("ending %s: %d %.400s", g.id, status, text)
		}
		if !away {
			break
		}
		time.Sleep(100 * time.Millisecond)
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
	status, text, away := x.load.send("a file is written", "PUT", path, io.Reader(strings.NewReader(content)))
	switch {
	case away:
	case status == 413: // hostile code has filled the workspace, or the session's memory
	case status == 204:
		status, text, away = x.load.send("a file is read", "GET", path, nil)
		if status == 200 && text != content {
			x.load.t.Errorf("%s: %d bytes were written, and %d others are read: %.100s", path, len(content), len(text), text)
		} else if status != 200 && !away {
			x.refused(g, "GET "+path, status, text)
		}
		status, text, away = x.load.send("a file is deleted", "DELETE", path, nil)
		if status != 204 && status != 413 && !away {
			x.refused(g, "DELETE "+path, status, text)
		}
	default:
		x.refused(g, "PUT "+path, status, text)
	}
}

// alone runs code in a cell that is gone afterwards.
func (x *slot) alone() {
	nonce := x.load.nonce.Add(1)
	status, text, away := x.load.send("code alone", "POST", "/v1/execute", fmt.Sprintf(`{"code":"print('alone', %d, len(globals()))","timeout":%d,"limits":{"pids":16}}`, nonce, patience))
	if status == 200 && !strings.Contains(text, fmt.Sprintf(`"output":"alone %d `, nonce)) || status != 200 && status != 429 && !away {
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
