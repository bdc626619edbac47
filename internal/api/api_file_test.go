package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

func TestFile(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{}) + "/files/"
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	c.ask("PUT", path+"d/a b.bin", bytes.NewReader(content)).want(204)
	c.ask("PUT", path+"e", io.MultiReader(strings.NewReader("chunked"))).want(204)
	c.ask("PUT", path+"empty", strings.NewReader("")).want(204)
	for _, name := range []string{"d/a%20b.bin", url.PathEscape("d/a b.bin")} {
		if r := c.ask("GET", path+name, nil).want(200); !bytes.Equal(r.body, content) || r.header.Get("Content-Type") != octets {
			t.Errorf("%s: %d bytes, %v", name, len(r.body), r.header)
		}
	}
	if r := c.ask("GET", path+"d/a%20b.bin", nil, "Range", "bytes=3-5").want(206); string(r.body) != "345" {
		t.Errorf("a range: %q", r.body)
	}
	for _, part := range []string{"bytes=9999999-", "bytes=1000000-", "bytes=x"} {
		r := c.ask("GET", path+"d/a%20b.bin", nil, "Range", part).refused(416, KindInvalid)
		if h := r.header; h.Get("Content-Range") != "bytes */1000000" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Disposition") != "" {
			t.Errorf("%s: %v", part, h)
		}
	}
	if r := c.ask("GET", path+"e", nil).want(200); string(r.body) != "chunked" {
		t.Errorf("%q", r.body)
	}
	if r := c.ask("GET", path+"empty", nil).want(200); len(r.body) != 0 {
		t.Errorf("%q", r.body)
	}
	for range 2 {
		c.ask("DELETE", path+"e", nil).want(204)
	}
	c.ask("GET", path+"e", nil).problem(KindNotFound)
}

// A path that names another is refused, and not redirected there.
func TestPathsAreStraight(t *testing.T) {
	c := serve(t, Settings{})
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	session := c.session(NewSession{})
	for _, name := range []string{".", "..", "./a", "a/../b", "a//b", "a/.", "%2E"} {
		c.ask("GET", session+"/files/"+name, nil).problem(KindInvalid)
		c.ask("PUT", session+"/files/"+name, strings.NewReader("x")).problem(KindInvalid)
	}
	c.ask("PUT", session+"/files/.a./..b", strings.NewReader("x")).want(204)
}

// What a client does to its own request is no fault of the service.
func TestClientsDoing(t *testing.T) {
	log := new(testkit.Output)
	c := serve(t, Settings{Log: slog.New(slog.NewTextHandler(log, nil))})
	path := c.session(NewSession{})
	k, err := net.Dial("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(k, "PUT "+path+"/files/cut HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nbegun"); err != nil {
		t.Fatal(err)
	}
	k.Close()
	leave := c.started(path, Execution{Code: "print('here', flush=True)\nimport time; time.sleep(60)"})
	leave()
	c.run(path, "1") // in its turn
	for _, told := range []string{"status=400 kind=invalid error=\"the body was cut", "kind=timed-out error=\"the client went away\""} {
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), told); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log lacks %q:\n%s", told, log)
			}
		}
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log:\n%s", text)
	}
	if text := string(c.ask("GET", "/metrics", nil).body); strings.Contains(text, `cellblock_problems_total{kind="internal"}`) {
		t.Errorf("the metrics count a fault:\n%s", text)
	}
	c.ask("GET", path+"/files/cut", nil).problem(KindNotFound)
}

// No path leads out of the workspace, and no link is followed.
func TestFilePaths(t *testing.T) {
	c := serve(t, Settings{})
	session := c.session(NewSession{})
	c.run(session, "import os\nos.symlink('/etc','d'); os.symlink('/etc/ld.so.preload','l'); os.mkfifo('f')")
	for _, name := range []string{"%2e%2e/x", "..%2fx", "a/%2e%2e/%2e%2e/x", "%2fetc%2fpasswd", "a%00b", "", "%252e%252e%252fx"} {
		for _, method := range []string{"GET", "DELETE"} {
			c.ask(method, session+"/files/"+name, nil).problem(KindInvalid)
		}
		c.ask("PUT", session+"/files/"+name, strings.NewReader("x")).problem(KindInvalid)
	}
	for _, name := range []string{"d/ld.so.preload", "l", "f", "d", strings.Repeat("a", 255)} {
		c.ask("GET", session+"/files/"+name, nil).problem(KindNotFound)
	}
	c.ask("PUT", session+"/files/d/x", strings.NewReader("x")).problem(KindInvalid)
	c.ask("GET", session+"/files/"+strings.Repeat("a/", 2100)+"x", nil).problem(KindInvalid)
}

// An upload is bounded by its workspace, whatever it says of its length.
func TestFileTooLarge(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{Creation: Creation{Limits: Limits{WorkspaceSize: 1 << 20}}})
	big := bytes.Repeat([]byte("x"), 3<<20)
	c.ask("PUT", path+"/files/x", bytes.NewReader(big)).problem(KindTooLarge)
	c.ask("PUT", path+"/files/x", io.MultiReader(bytes.NewReader(big))).problem(KindTooLarge)
	c.ask("PUT", path+"/files/x", bytes.NewReader(big[:700<<10])).want(204)
	c.ask("PUT", path+"/files/y", bytes.NewReader(big[:700<<10])).problem(KindTooLarge) // not beside it
	if r := c.run(path, "import os; print(os.listdir())"); r.Output != "['x']\n" {
		t.Errorf("%q", r.Output)
	}
}

// A client that reads a file slowly does not keep the workspace of a session that
// has ended, whose memory is no longer counted: one open file keeps all of it.
func TestSlowReaderKeepsNoWorkspace(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{ID: "s"})
	c.run(path, "with open('kept-by-a-reader', 'wb') as f: f.truncate(64 << 20)")
	k, err := net.Dial("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(k, "GET "+path+"/files/kept-by-a-reader HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(k, 16), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	if !isOpen(t, "kept-by-a-reader") {
		t.Fatal("the file is not open while it is read: this test sees nothing")
	}
	c.ask("DELETE", path, nil).want(204)
	if isOpen(t, "kept-by-a-reader") {
		t.Error("the file is open after the end of its session")
	}
	if n, err := io.Copy(io.Discard, answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the reader got %d bytes of 64 MiB, and %v", n, err)
	}
}

// isOpen says whether this process has a file of that name open.
func isOpen(t *testing.T, name string) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		target, _ := os.Readlink("/proc/self/fd/" + fd.Name()) // it may be closed by now
		return strings.Contains(target, name)
	})
}
