package service

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Load: LOAD_TIME (10 s), LOAD_SESSIONS (24) and LOAD_CLIENTS (12) make it long.
func TestLoad(t *testing.T) {
	length, err := time.ParseDuration(fallback("LOAD_TIME", "10s"))
	if err != nil {
		t.Fatal(err)
	}
	sessions, clients := number(t, "LOAD_SESSIONS", 24), number(t, "LOAD_CLIENTS", 12)
	s := start(t, "--memory", "48M", "--total-memory", "200G", "--quota-memory", "200G", "--timeout", "2s",
		"--sessions", strconv.Itoa(sessions+clients), "--quota-sessions", strconv.Itoa(sessions+clients), "--quota-executions", "1000")
	for i := range sessions {
		s.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":"s%d","limits":{"pids":16,"workspace_size":"4M"}}`, i))
		s.want(200, "", "POST", fmt.Sprintf("/v1/sessions/s%d/execute", i), code(fmt.Sprintf("me = %d", i)))
	}
	before := s.memory()
	var mu sync.Mutex
	statuses, done, lost := map[int]int{}, 0, 0
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				i := rand.IntN(sessions)
				path := fmt.Sprintf("/v1/sessions/s%d", i)
				var status int
				var text, wrong string
				if n%2 == 0 {
					// The variable, or none if a hostile one took it.
					status, text = s.ask("POST", path+"/execute", code("print('me', globals().get('me'))"))
					if status == 200 && !strings.Contains(text, fmt.Sprintf(`me %d\n`, i)) && !strings.Contains(text, `me None\n`) && !strings.Contains(text, `"lost":true`) {
						wrong = text
					}
				} else {
					status, text = s.ask("POST", path+"/execute", code(hostile[rand.IntN(len(hostile))]+"\n"))
				}
				mu.Lock()
				statuses[status]++
				done++
				if strings.Contains(text, `"lost":true`) {
					lost++
				}
				mu.Unlock()
				if wrong != "" || status != 200 && status != 409 && status != 429 {
					t.Errorf("%s: %d %.400s", path, status, text)
				}
			}
		})
	}
	all.Wait()
	after := s.memory()
	for i := range sessions {
		s.want(204, "", "DELETE", fmt.Sprintf("/v1/sessions/s%d", i), nil)
	}
	t.Logf("%d sessions, %d clients, %s: %d executions, answers %v, %d lost their variables; the service's memory %d MB before, %d MB after",
		sessions, clients, length, done, statuses, lost, before>>20, after>>20)
	if done < sessions || after > before+128<<20 {
		t.Errorf("%d executions; memory grew from %d to %d bytes", done, before, after)
	}
}

// hostile is what every second execution is.
var hostile = []string{
	"while True: pass",
	"l = []\nwhile True: l.append(bytearray(1 << 20))",
	"import os\nwhile True: os.fork()",
	"import os; os._exit(1)",
	"import os; os.kill(os.getpid(), 11)",
	"print('x' * (20 << 20))",
	"import os\nfor i in range(100000): open(str(i), 'w')",
	"open('f', 'wb').write(bytes(8 << 20))",
	"import os\ntry: os.symlink('/etc/passwd', 'l')\nexcept OSError: pass\nprint(open('l').read())",
	"import sys; sys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
	"import os; os.closerange(0, 100)",
	"import socket; socket.socket()",
	"def f(:",
	"import threading\nfor i in range(1000): threading.Thread(target=lambda: None).start()",
}

// memory is what the service's own process has in memory.
func (s *service) memory() int64 {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
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
