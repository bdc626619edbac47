package service

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestHostileRequests(t *testing.T) {
	s := start(t)
	long := strings.Repeat("a", 10<<10)
	t.Run("ids", func(t *testing.T) {
		for _, id := range []string{"../../x", "a/b", ".", "..", long, "a\x00b", "é", " "} {
			body := fmt.Sprintf(`{"id":%q}`, id)
			if status, text := s.ask("POST", "/v1/sessions", body); status != 400 || len(text) > 2000 {
				t.Errorf("%.20q: %d %.200s", id, status, text)
			}
		}
		for _, path := range []string{"/v1/sessions/..%2f..%2fx", "/v1/sessions/" + long, "/v1/sessions/%00"} {
			if status, text := s.ask("GET", path, nil); status != 404 || len(text) > 2000 {
				t.Errorf("%.40s: %d %.200s", path, status, text)
			}
		}
		if status, _ := s.ask("GET", "/v1/sessions/"+strings.Repeat(long, 10), nil); status != 431 && status != 0 { // 0: cut while it was sent
			t.Errorf("100 KB of a URL: %d", status)
		}
	})
	t.Run("a gigabyte", func(t *testing.T) {
		for _, length := range []int64{1 << 30, -1} {
			r, err := http.NewRequest("POST", "http://cellblock/v1/execute", io.LimitReader(zeros{}, 1<<30))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = length
			r.Header.Set("Content-Type", "application/json")
			resp, err := s.http.Do(r)
			if err != nil {
				continue // cut while it was sent: an answer too
			}
			resp.Body.Close()
			if resp.StatusCode != 413 {
				t.Errorf("length %d: %d", length, resp.StatusCode)
			}
		}
	})
	t.Run("nested", func(t *testing.T) {
		for _, open := range []string{"[", `{"a":`} {
			if status, text := s.ask("POST", "/v1/execute", strings.Repeat(open, 1<<20)); status != 400 || len(text) > 2000 {
				t.Errorf("%d %.200s", status, text)
			}
		}
	})
	t.Run("bytes", func(t *testing.T) {
		for _, row := range []struct{ text, want string }{
			{"POST /v1/validate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 3\r\nContent-Length: 14\r\n\r\n{\"code\": \"1\"}", "400"},
			{"POST /v1/validate HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
			{"POST /v1/validate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", "501"},
			{"POST /v1/validate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n", "501"},
			{"GET /healthz HTTP/1.1\r\n\r\n", "400"},
			{"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", "400"},
			{"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n", "505"},
			{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"},
		} {
			c, err := s.dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, row.text)
			c.(*net.UnixConn).CloseWrite()
			line, _ := bufio.NewReader(c).ReadString('\n')
			if !strings.Contains(line, " "+row.want+" ") {
				t.Errorf("%.60q: %q instead of %s", row.text, line, row.want)
			}
			c.Close()
		}
	})
	// Both lengths at once: chunked counts, and the connection ends, so that
	// nothing can be read as a second request.
	t.Run("smuggling", func(t *testing.T) {
		c, err := s.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "POST /v1/validate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n"+
			"d\r\n{\"code\": \"1\"}\r\n0\r\n\r\nGET /v1/stats HTTP/1.1\r\nHost: a\r\n\r\n")
		all, _ := io.ReadAll(c)
		if n := strings.Count(string(all), "HTTP/1.1 "); n > 1 && strings.Contains(string(all), "quota") {
			t.Errorf("what followed was read as a request: %s", all)
		}
	})
	t.Run("a page", func(t *testing.T) {
		for _, headers := range [][]string{{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}} {
			if status, _ := s.ask("POST", "/v1/execute", code("1"), headers...); status != 403 {
				t.Errorf("%v: %d", headers, status)
			}
		}
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""} {
			if status, _ := s.ask("POST", "/v1/execute", code("1"), "Content-Type", kind); status != 415 {
				t.Errorf("%q: %d", kind, status)
			}
		}
	})
	s.want(200, `"output":"1\n"`, "POST", "/v1/execute", code("print(1)"))
}

// Clients that are slow take nothing from others, and are let go.
func TestSlowClients(t *testing.T) {
	s := start(t)
	var slow []net.Conn
	for i := range 200 {
		c, err := s.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text := "POST /v1/execute HTTP/1.1\r\nHost: a\r\n"
		if i%2 == 1 { // one that has sent its headers, and half of its body
			text += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"code\": "
		}
		io.WriteString(c, text)
		slow = append(slow, c)
	}
	began := time.Now()
	s.want(200, `"output":"1\n"`, "POST", "/v1/execute", code("print(1)"))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("with 200 slow clients an execution took %s", took)
	}
	slow[0].SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(slow[0]); err != nil {
		t.Errorf("who sends half of its headers is not let go: %v", err)
	}
}

// Far more sessions than there may be: a clear answer to each, and room again
// when some end.
func TestManyCreations(t *testing.T) {
	s := start(t, "--sessions", "10", "--quota-sessions", "100", "--memory", "64M")
	var mu sync.Mutex
	statuses := map[int]int{}
	var made []string
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 100 {
				status, text, h := s.askAll("POST", "/v1/sessions", "{}")
				mu.Lock()
				statuses[status]++
				if status == 201 {
					made = append(made, strings.Split(text, `"`)[3])
				} else if status == 429 && (h.Get("Retry-After") == "" || !strings.Contains(text, `"exhausted"`)) {
					t.Errorf("%v %s", h, text)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if statuses[201] != 10 || statuses[201]+statuses[429] != 5000 {
		t.Errorf("%v", statuses)
	}
	for _, id := range made {
		s.want(204, "", "DELETE", "/v1/sessions/"+id, nil)
	}
	s.want(201, "", "POST", "/v1/sessions", "{}")
}

// Fifty executions at once on one session: one after the other, none lost.
func TestOneSessionForMany(t *testing.T) {
	s := start(t)
	s.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	s.want(200, "", "POST", "/v1/sessions/s/execute", code("n = 0"))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			s.want(200, `"success":true`, "POST", "/v1/sessions/s/execute", code("m = n\nfor i in range(1000): pass\nn = m + 1"))
		})
	}
	all.Wait()
	s.want(200, `"output":"50\n"`, "POST", "/v1/sessions/s/execute", code("print(n)"))
}

// A service that is killed takes its cells along, whatever they were doing, and
// the next one removes what is left of them.
func TestKilledService(t *testing.T) {
	s := start(t, "--memory", "128M")
	own := len(s.groups()) // of the template
	go0 := func(method, path string, body any) { go s.ask(method, path, body) }
	for _, row := range []struct {
		when string
		do   func()
	}{
		{"idle", func() {}},
		{"making sessions", func() {
			for range 10 {
				go0("POST", "/v1/sessions", "{}")
			}
			s.await(func() bool { return len(s.groups()) > 3*own })
		}},
		{"running", func() {
			go0("POST", "/v1/sessions/s/execute", code("import os\nopen('begun','w')\nfor i in range(5): os.fork()\nwhile True: pass"))
			s.await(func() bool {
				_, text := s.ask("GET", "/v1/sessions/s/files", nil)
				return strings.Contains(text, "begun")
			})
		}},
		{"uploading", func() {
			r, w := io.Pipe()
			go0("PUT", "/v1/sessions/s/files/x", r)
			w.Write(make([]byte, 1<<20))
		}},
		{"deleting", func() { go0("DELETE", "/v1/sessions/s", nil) }},
	} {
		t.Run(row.when, func(t *testing.T) {
			s.t = t
			s.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
			row.do()
			groups := s.groups()
			s.kill()
			// The end of the lifeline ends every cell.
			s.await(func() bool {
				for _, g := range append(groups, s.groups()...) {
					if procs, err := os.ReadFile(filepath.Join(g, "cgroup.procs")); err == nil && len(procs) > 0 {
						return false
					}
				}
				return true
			})
			groups = append(groups, s.groups()...)
			s.start()
			for _, g := range groups {
				if _, err := os.Stat(g); err == nil {
					t.Errorf("the group %s is left", g)
				}
			}
			s.want(404, "", "GET", "/v1/sessions/s", nil)
			if n := len(s.groups()); n != own {
				t.Errorf("%d groups are recorded by a service that has no session, instead of %d", n, own)
			}
		})
	}
	s.t = t
}

// await waits for what no event tells of.
func (s *service) await(is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("it did not happen in 20 s")
		}
	}
}

// What the machine lacks for a moment is told as that, and is no end.
func TestShortages(t *testing.T) {
	t.Run("descriptors", func(t *testing.T) {
		s := start(t, "--memory", "64M", "--sessions", "500", "--quota-sessions", "500", "--total-memory", "64G", "--quota-memory", "64G")
		// The soft limit only: cells set the hard one themselves.
		if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(s.cmd.Process.Pid), "--nofile=100:").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		full := 0
		for range 60 {
			switch status, text := s.ask("POST", "/v1/sessions", "{}"); {
			case status == 429 && strings.Contains(text, `"exhausted"`):
				full++
			case status != 201:
				t.Errorf("%d %s", status, text)
			}
		}
		if t.Failed() {
			t.Logf("%.2000s", s.log)
		}
		if full == 0 {
			t.Error("60 sessions were made with 100 descriptors")
		}
		_, text := s.ask("GET", "/v1/sessions", nil)
		for _, id := range strings.Split(text, `"id":"`)[1:] {
			s.want(204, "", "DELETE", "/v1/sessions/"+id[:strings.IndexByte(id, '"')], nil)
		}
		s.want(200, `"output":"1\n"`, "POST", "/v1/execute", code("print(1)"))
	})
	t.Run("disk", func(t *testing.T) {
		testkit.Require(t, testkit.Root)
		small := filepath.Join(t.TempDir(), "small")
		if err := os.Mkdir(small, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("cellblock-test", small, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		defer syscall.Unmount(small, 0)
		s := start(t, "--spool", small)
		s.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
		s.want(429, "exhausted", "PUT", "/v1/sessions/s/files/x", io.LimitReader(zeros{}, 4<<20))
		s.want(204, "", "PUT", "/v1/sessions/s/files/x", io.LimitReader(zeros{}, 100<<10))
		s.stop()
	})
}

// A group that somebody else has entered is no obstacle to the end of a session.
func TestBusyGroup(t *testing.T) {
	s := start(t)
	own := s.groups() // of the template
	s.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	intruder := exec.Command("sleep", "60")
	if err := intruder.Start(); err != nil {
		t.Fatal(err)
	}
	groups := slices.DeleteFunc(s.groups(), func(g string) bool { return slices.Contains(own, g) })
	entered := 0
	for _, g := range groups {
		if os.WriteFile(filepath.Join(g, "cgroup.procs"), fmt.Append(nil, intruder.Process.Pid), 0) == nil {
			entered++
		}
	}
	if entered == 0 {
		t.Fatalf("none of %v could be entered", groups)
	}
	s.want(204, "", "DELETE", "/v1/sessions/s", nil)
	for _, g := range groups {
		if _, err := os.Stat(g); err == nil {
			t.Errorf("the group %s is left", g)
		}
	}
	intruder.Process.Kill()
	intruder.Wait()
}

// The service that a program starts for itself ends with it.
func TestLifeline(t *testing.T) {
	s := start(t)
	s.stop()
	var hold io.WriteCloser
	s.args = []string{"--lifeline"}
	s.before = func(cmd *exec.Cmd) { hold, _ = cmd.StdinPipe() }
	s.start()
	s.want(201, "", "POST", "/v1/sessions", "{}")
	hold.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
	s.cmd = nil
	s.nothingLeft()
}
