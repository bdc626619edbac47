package lane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server serves over a Unix socket, with lanes or without.
type server struct {
	lanes  *Lanes
	http   *http.Server
	addr   string
	given  chan struct{} // one for each connection that package http serves
	begun  chan struct{} // one for each /v1/wait that waits
	ended  chan error    // what ended it
	finish chan struct{} // closed to end them
	log    bytes.Buffer  // read after the end only
}

func serve(t testing.TB, withLanes bool, also func(*Config)) *server {
	s := &server{
		given: make(chan struct{}, 100), begun: make(chan struct{}, 100), ended: make(chan error, 100), finish: make(chan struct{}),
		addr: filepath.Join(t.TempDir(), "s"),
	}
	l, err := net.Listen("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	s.http.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			signal(s.given)
		}
	}
	c := Config{
		Handler: s.http.Handler, Context: func(ctx context.Context, _ net.Conn) context.Context { return ctx },
		Short:     func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") },
		FirstTime: time.Minute, IdleTime: time.Minute, WriteTime: time.Minute, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	if also != nil {
		also(&c)
	}
	s.lanes = New(c)
	if withLanes {
		l = s.lanes.Listen(l)
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(l) }()
	t.Cleanup(func() {
		s.http.Close()
		s.lanes.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		s.lanes.busy.Wait()
	})
	return s
}

// signal tells of an event if anybody still counts.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// answer is the handler. X-Lane says who asked it.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	if _, own := w.(*answer); own {
		w.Header().Set("X-Lane", "yes")
	}
	w.Header().Set("Content-Type", "text/plain")
	body, err := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/v1/none":
		w.WriteHeader(http.StatusNoContent)
	case "/v1/big":
		signal(s.begun)
		w.Write(bytes.Repeat([]byte("x"), 4<<20))
	case "/v1/abort":
		panic(http.ErrAbortHandler)
	case "/v1/panic":
		panic("a fault")
	case "/v1/wait":
		s.begun <- struct{}{}
		select {
		case <-r.Context().Done():
			s.ended <- r.Context().Err()
		case <-s.finish:
			s.ended <- nil
		}
		fmt.Fprint(w, "waited")
	default:
		fmt.Fprintf(w, "%s %s %q %v", r.Method, r.RequestURI, body, err)
	}
}

func (s *server) dial(t testing.TB) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.UnixConn)
}

const plain = "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"

func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// texts are what clients may send.
var texts = map[string]struct {
	ways string // who answers: a lane or package http, for each request that is
	text string
}{
	"a body":                       {"l", plain},
	"no body":                      {"l", get("/v1/x")},
	"no content":                   {"l", get("/v1/none")},
	"two at once":                  {"ll", plain + plain},
	"kept alive":                   {"l", get("/v1/x", "Connection: keep-alive")},
	"usual headers":                {"l", get("/v1/x", "Accept: */*", "User-Agent: curl/8", "Accept-Encoding: gzip, deflate", "Authorization: Bearer x")},
	"a query":                      {"l", get("/v1/x?a=b%20c")},
	"large answer":                 {"l", get("/v1/big")},
	"not short":                    {"h", get("/x")},
	"one of each":                  {"lhh", plain + get("/x") + plain},
	"to be closed":                 {"h", get("/v1/x", "Connection: close") + plain},
	"chunked":                      {"h", "POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
	"chunked, and of a length":     {"h", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
	"chunked after a lane":         {"lh", plain + "POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
	"unknown transfer encoding":    {"", "POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"},
	"an expectation":               {"h", "POST /v1/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"},
	"HTTP/1.0":                     {"h", "GET /v1/x HTTP/1.0\r\nHost: a\r\n\r\n"},
	"HTTP/1.0, kept alive":         {"hh", strings.Repeat("GET /v1/x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 2)},
	"HTTP/2":                       {"h", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	"no Host":                      {"", "GET /v1/x HTTP/1.1\r\n\r\n"},
	"two Hosts":                    {"", get("/v1/x", "Host: b")},
	"an odd Host":                  {"", "GET /v1/x HTTP/1.1\r\nHost: a b\r\n\r\n"},
	"a Host that goes another way": {"h", "GET /v1/x HTTP/1.1\r\nHost: a,b\r\n\r\n"},
	"a whole URL":                  {"h", "GET http://b/v1/x HTTP/1.1\r\nHost: a\r\n\r\n"},
	"two lengths":                  {"", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"},
	"two equal lengths":            {"l", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"},
	"a length with a sign":         {"", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nhi"},
	"a huge length":                {"", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhi"},
	"bare newlines":                {"h", "GET /v1/x HTTP/1.1\nHost: a\n\n"},
	"a head that ends before":      {"hh", "POST /v1/x HTTP/1.1\nHost: a\nContent-Length: 36\n\nGET /v1/y HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n" + plain},
	"a continued line":             {"l", get("/v1/x", "X: a", " b")},
	"a space before the colon":     {"", get("/v1/x", "X : a")},
	"a NUL":                        {"", get("/v1/x", "X: a\x00b")},
	"a bare return":                {"", get("/v1/x", "X: a\rb")},
	"nonsense":                     {"", "nonsense\r\n\r\n"},
	"a newline before":             {"", "\r\n" + plain},
	"a newline between":            {"ll", plain + "\r\n" + plain},
	"newlines between":             {"ll", plain + "\r\n\r\n" + plain},
	"many newlines between":        {"l", plain + "\r\n\r\n\r\n" + plain},
	"a newline after a GET":        {"l", get("/v1/x") + "\r\n" + plain},
	"a newline at the end":         {"l", plain + "\r\n"},
	"a long head":                  {"h", get("/v1/x", "X: "+strings.Repeat("a", 20<<10))},
	"too long a head":              {"", get("/v1/x", "X: "+strings.Repeat("a", 64<<10))},
	"a long body":                  {"h", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("a", 20000)},
	"half a head":                  {"", "GET /v1/x HTT"},
	"half a body":                  {"h", "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nhi"},
	"nothing":                      {"", ""},
	"aborted":                      {"", get("/v1/abort") + plain},
	"a fault":                      {"", get("/v1/panic") + plain},
}

// Whatever is sent is answered as package http answers it, whether it goes by a lane
// or not.
func TestAnswersAsPackageHTTP(t *testing.T) {
	with, without := serve(t, true, nil), serve(t, false, nil)
	for name, c := range texts {
		t.Run(name, func(t *testing.T) {
			got, ways := with.converse(t, c.text)
			want, _ := without.converse(t, c.text)
			if got != want {
				t.Errorf("it was answered\n%s\nand package http answers\n%s", got, want)
			}
			if ways != c.ways {
				t.Errorf("it was answered by %q, not by %q", ways, c.ways)
			}
		})
	}
}

func FuzzAnswersAsPackageHTTP(f *testing.F) {
	for _, c := range texts {
		if len(c.text) < 1<<10 {
			f.Add(c.text)
		}
	}
	with, without := serve(f, true, nil), serve(f, false, nil)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "wait") || len(text) > 64<<10 {
			return
		}
		got, ways := with.converse(t, text)
		if want, _ := without.converse(t, text); got != want {
			t.Errorf("it was answered by %q\n%s\nand package http answers\n%s", ways, got, want)
		}
	})
}

// converse sends a text and returns what is answered until the connection is closed,
// without what differs by its nature, and who answered.
func (s *server) converse(t *testing.T, text string) (all, ways string) {
	c := s.dial(t)
	defer c.Close()
	go func() {
		io.WriteString(c, text)
		c.CloseWrite()
	}()
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return all, ways
		}
		body, err := io.ReadAll(resp.Body)
		way := "h"
		if resp.Header.Get("X-Lane") != "" {
			way = "l"
		}
		if resp.StatusCode < 300 && resp.StatusCode >= 200 {
			ways += way
		}
		if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil && resp.StatusCode < 300 && resp.StatusCode >= 200 {
			t.Error(err)
		}
		for _, h := range []string{"X-Lane", "Date", "Content-Length"} {
			resp.Header.Del(h) // the last where package http sends a large answer in chunks
		}
		if len(body) > 1000 {
			body = fmt.Appendf(nil, "%.10s… %d", body, len(body))
		}
		all += fmt.Sprintf("%s %v %v %s %v\n", resp.Status, resp.Header, resp.Close, body, err)
	}
}

// The head and the body often come apart.
func TestBodyComesLater(t *testing.T) {
	s := serve(t, true, nil)
	c := s.dial(t)
	r := bufio.NewReader(c)
	head, body, _ := strings.Cut(plain, "\r\n\r\n")
	for range 3 {
		io.WriteString(c, head+"\r\n\r\n")
		time.Sleep(time.Millisecond) // most likely it is read by then; either is to do
		io.WriteString(c, body)
		expect(t, r, "X-Lane", "yes")
	}
	// Package http waits longer.
	io.WriteString(c, head+"\r\n\r\nh")
	<-s.given
	io.WriteString(c, "i")
	expect(t, r, "X-Lane", "")
}

func expect(t *testing.T, r *bufio.Reader, header, value string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get(header); resp.StatusCode != 200 || got != value {
		t.Fatalf("%s, %s: %q, and %q was wanted", resp.Status, header, got, value)
	}
}

func TestClientGoesAway(t *testing.T) {
	s := serve(t, true, nil)
	c := s.dial(t)
	r := bufio.NewReader(c)
	// A request that is looked after ends, and others follow it.
	for range 2 {
		io.WriteString(c, get("/v1/wait"))
		<-s.begun
		s.looks()
		s.finish <- struct{}{}
		if err := <-s.ended; err != nil {
			t.Fatal(err)
		}
		expect(t, r, "X-Lane", "yes")
		io.WriteString(c, plain)
		expect(t, r, "X-Lane", "yes")
	}
	io.WriteString(c, get("/v1/wait"))
	<-s.begun
	c.Close()
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
}

// looks waits until the client of the one connection is looked after.
func (s *server) looks() {
	for {
		s.lanes.mu.Lock()
		for c := range s.lanes.open {
			c.lookout.mu.Lock()
			looks := c.lookout.looking != nil
			c.lookout.mu.Unlock()
			if looks {
				s.lanes.mu.Unlock()
				return
			}
		}
		s.lanes.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

func TestShutdown(t *testing.T) {
	s := serve(t, true, nil)
	idle, busy := s.dial(t), s.dial(t)
	ir, br := bufio.NewReader(idle), bufio.NewReader(busy)
	io.WriteString(idle, plain)
	expect(t, ir, "X-Lane", "yes")
	io.WriteString(busy, get("/v1/wait"))
	<-s.begun
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.lanes.Shutdown(short); !errors.Is(err, context.Canceled) {
		t.Errorf("a shutdown without time gave %v", err)
	}
	if _, err := ir.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("an idle connection is not closed: %v", err)
	}
	close(s.finish)
	if err := s.lanes.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil || !resp.Close {
		t.Fatalf("the last answer: %v, %v", resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a connection is not closed after its last answer: %v", err)
	}
	if late := s.dial(t); late != nil {
		io.WriteString(late, plain)
		if _, err := bufio.NewReader(late).ReadByte(); err == nil {
			t.Error("a request is answered after the end")
		}
	}
}

func TestTimes(t *testing.T) {
	const short = 20 * time.Millisecond
	for name, also := range map[string]func(*Config){
		"first": func(c *Config) { c.FirstTime = short },
		"idle":  func(c *Config) { c.IdleTime = short },
		"write": func(c *Config) { c.WriteTime = short },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, true, also)
			c := s.dial(t)
			r := bufio.NewReader(c)
			began := time.Now()
			switch name {
			case "idle":
				// What is sent in time is answered, however often.
				for range 3 {
					io.WriteString(c, plain)
					expect(t, r, "X-Lane", "yes")
				}
				began = time.Now()
			case "write":
				io.WriteString(c, get("/v1/big"))
				<-s.begun
				s.quiet()
			}
			n, err := io.Copy(io.Discard, r)
			if took := time.Since(began); took < short/2 {
				t.Errorf("it was closed after %v", took)
			}
			if err != nil || name == "write" && n >= 4<<20 || name != "write" && n > 0 {
				t.Errorf("%d bytes came, and %v", n, err)
			}
		})
	}
}

// quiet waits until there is no connection.
func (s *server) quiet() {
	for {
		s.lanes.mu.Lock()
		n := len(s.lanes.open)
		s.lanes.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFaultIsLogged(t *testing.T) {
	s := serve(t, true, nil)
	s.converse(t, get("/v1/panic"))
	s.quiet()
	if text := s.log.String(); !strings.Contains(text, "a fault") {
		t.Errorf("the log says %q", text)
	}
}

// Who does not read a large answer keeps its handler, which others count, and not an
// answer that nobody counts.
func TestLargeAnswerIsNotKept(t *testing.T) {
	done := make(chan struct{}, 1)
	const size = 8 << 20
	s := serve(t, true, func(c *Config) {
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Lane", fmt.Sprint(r.URL.Path))
			w.Write([]byte("before "))
			if r.URL.Path == "/v1/large" {
				for range 4 {
					w.Write(bytes.Repeat([]byte("x"), size/4))
				}
			}
			done <- struct{}{}
		})
	})
	c := s.dial(t)
	in := bufio.NewReader(c)
	fmt.Fprint(c, get("/v1/large"))
	select {
	case <-done:
		t.Fatal("the handler has ended, and nobody has read what it wrote")
	case <-time.After(300 * time.Millisecond):
	}
	fmt.Fprint(c, get("/v1/small")) // on the same connection
	for _, want := range []struct {
		path string
		size int
	}{{"/v1/large", len("before ") + size}, {"/v1/small", len("before ")}} {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(r.Body); err != nil || len(body) != want.size || r.Header.Get("X-Lane") != want.path {
			t.Errorf("%s: %d bytes, %v", r.Header.Get("X-Lane"), len(body), err)
		}
		<-done
	}
}
