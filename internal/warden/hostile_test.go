package warden

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// taken stands for a process that was allowed to ask, and was taken over.
type taken struct {
	t *testing.T
	c *conn
}

// serveHostile starts a warden, and returns its socket and log.
func serveHostile(t *testing.T, also ...func(*Server)) string {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir, err := os.MkdirTemp("", "cb")
	if err != nil {
		t.Fatal(err)
	}
	local, err := NewLocal(Options{Executor: executor.Config{Template: true, RuntimeDir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "w"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(local, []int{os.Geteuid()}, "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	for _, change := range also {
		change(server)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(l), <-served); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	if err := server.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func takeOver(t *testing.T, socket string) *taken {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	x := &taken{t, newConn(c.(*net.UnixConn))}
	t.Cleanup(func() { x.c.close() })
	return x
}

// ask sends a call as it stands, with descriptors, and returns the answer.
func (x *taken) ask(text string, fds ...int) frame {
	x.t.Helper()
	for len(fds) > 0 {
		n := min(len(fds), maxFDs)
		if err := x.c.send(frameGiven, nil, fds[:n]...); err != nil {
			x.t.Fatal(err)
		}
		fds = fds[n:]
	}
	if err := x.c.send(frameCall, []byte(text)); err != nil {
		x.t.Fatal(err)
	}
	x.c.socket.SetReadDeadline(time.Now().Add(60 * time.Second))
	f, err := x.c.receive()
	if err != nil {
		x.t.Fatalf("%.100s: %v", text, err)
	}
	return f
}

// refused is the class of the failure that an ask must end with.
func (x *taken) refused(class, text string, fds ...int) {
	x.t.Helper()
	f := x.ask(text, fds...)
	var why failure
	if f.kind != frameFailure || json.Unmarshal(f.bytes, &why) != nil || why.Class != class {
		x.t.Errorf("%.120s: answer %d %.300s; a failure of class %s is wanted", text, f.kind, f.bytes, class)
	}
}

func (x *taken) session() string {
	x.t.Helper()
	f := x.ask(`{"method":"make","spec":{"owner":"o","id":"s","created":"2026-01-01T00:00:00Z","limits":{}}}`)
	var made madeAnswer
	if f.kind != frameAnswer || json.Unmarshal(f.bytes, &made) != nil {
		x.t.Fatalf("no session: %s", f.bytes)
	}
	return made.Handle
}

// Who took over the asker gets nothing of the host through the warden.
func TestTakenOverAsker(t *testing.T) {
	socket := serveHostile(t)
	x := takeOver(t, socket)
	s := x.session()

	// Nothing that names a place on the host is understood.
	for _, request := range []string{
		`"code":"1","input_files":{"/etc/shadow":"a"}`, `"code":"1","InputFiles":{"/etc/shadow":"a"}`, `"code":"1","collect":"/tmp/x"`,
		`"code":"1","dirs":[{"Host":"/etc"}]`, `"module":"os"`, `"code":"1","session_id":"x"`,
	} {
		x.refused("invalid", fmt.Sprintf(`{"method":"execute","session":%q,"request":{%s}}`, s, request))
	}
	for _, spec := range []string{
		`"folder":"/etc"`, `"dirs":[{"Host":"/etc"}]`, `"without":["cgroup"]`, `"cgroup_parent":"/"`, `"state_dir":"/tmp"`, `"runtime_dir":"/tmp"`, `"python":"/bin/sh"`, `"template":true`,
	} {
		x.refused("invalid", `{"method":"make","spec":{"owner":"o","id":"b","created":"2026-01-01T00:00:00Z","limits":{},`+spec+`}}`)
	}
	for _, root := range []string{"../../../etc", "/etc", ".", "..", "a/b"} {
		f := x.ask(fmt.Sprintf(`{"method":"make","spec":{"owner":"o","id":"b","created":"2026-01-01T00:00:00Z","limits":{},"root":%q}}`, root))
		if f.kind != frameFailure {
			t.Errorf("a root of the name %q: %s", root, f.bytes)
		}
	}
	x.refused("invalid", `{"method":"make","spec":{"owner":"o","id":"b","created":"2026-01-01T00:00:00Z","limits":{},"env":{"LD_PRELOAD":"/x"}}}`)
	x.refused("invalid", `{"method":"make","spec":{"owner":"o","id":"b","created":"2026-01-01T00:00:00Z","limits":{"MaxMemoryMB":-5}}}`)
	x.refused("invalid", `{"method":"make"}`)
	x.refused("invalid", `{"method":"exec"}`)
	x.refused("invalid", `{"method":7}`)
	x.refused("invalid", `not JSON`)
	x.refused("closed", `{"method":"execute","session":"guessed","request":{"code":"1"}}`)

	// A name of a file is no file: a descriptor that cannot be read gives nothing,
	// though the warden could open what it stands for.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("only the warden may read this"), 0o600); err != nil {
		t.Fatal(err)
	}
	const oPath = 0x200000
	for name, flags := range map[string]int{"by name": oPath, "to write": syscall.O_WRONLY} {
		fd, err := syscall.Open(secret, flags|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{
			fmt.Sprintf(`{"method":"put","session":%q,"path":"c2VjcmV0"}`, s),
			fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"1","given":["secret"]}}`, s),
		} {
			if f := x.ask(call, fd); f.kind != frameFailure && !strings.Contains(string(f.bytes), `"failure"`) {
				t.Errorf("a file opened %s was taken: %s", name, f.bytes)
			}
		}
		syscall.Close(fd)
	}
	if f := x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"import os; print(os.path.exists('secret') and open('secret').read())"}}`, s)); strings.Contains(string(f.bytes), "only the warden") {
		t.Error("the cell has read what only the warden may")
	}

	// Nor is what is no regular file.
	pipe, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	dir, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// And of these the kernel answers the warden what it may not answer its asker.
	process, err := os.Open("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	device, err := os.Open("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, f := range []*os.File{pipe, dir, process, device} {
		x.refused("invalid", fmt.Sprintf(`{"method":"put","session":%q,"path":"Zg=="}`, s), int(f.Fd()))
	}
	x.refused("invalid", fmt.Sprintf(`{"method":"put","session":%q,"path":"Zg=="}`, s))
	x.refused("invalid", fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"1","given":["a","b"]}}`, s), int(dir.Fd()))

	// A name that it gives is short and another's no second time; by it what was made
	// can be ended without an answer.
	x.refused("invalid", fmt.Sprintf(`{"method":"context","session":%q,"context":%q}`, s, strings.Repeat("x", 65)))
	for range 2 {
		if f := x.ask(fmt.Sprintf(`{"method":"context","session":%q,"context":"mine"}`, s)); f.kind != frameAnswer || string(f.bytes) != "\"mine\"\n" {
			t.Errorf("%d %s", f.kind, f.bytes)
		}
		x.refused("invalid", fmt.Sprintf(`{"method":"context","session":%q,"context":"mine"}`, s))
		x.ask(fmt.Sprintf(`{"method":"end","session":%q,"context":"mine"}`, s))
	}

	// A path of the workspace stays in it.
	for _, path := range []string{"../../etc/passwd", "/etc/passwd", "proc/../../x", ""} {
		text, err := json.Marshal(call{Method: "open", Session: s, Path: []byte(path)})
		if err != nil {
			t.Fatal(err)
		}
		if f := x.ask(string(text)); f.kind != frameFailure {
			t.Errorf("the warden opened %q", path)
		}
	}

	// What it gives to read is no descriptor: that could be held, and its memory with it.
	if f := x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"open('f','w').write('text')"}}`, s)); f.kind != frameAnswer {
		t.Fatalf("%s", f.bytes)
	}
	f := x.ask(fmt.Sprintf(`{"method":"open","session":%q,"path":"Zg=="}`, s))
	if f.kind != frameAnswer || len(f.files) > 0 {
		t.Errorf("%d files came: %s", len(f.files), f.bytes)
	}
	x.refused("invalid", `{"method":"read","offset":-1,"size":9}`)
	x.refused("invalid", `{"method":"read","offset":1,"size":-9}`)
	takeOver(t, socket).refused("invalid", `{"method":"read","offset":0,"size":9}`)

	// All of that was survived.
	if f := x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"print(6*7)"}}`, s)); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("afterwards: %s", f.bytes)
	}
}

// A conversation that breaks its rules ends, and nothing else does.
func TestBrokenConversation(t *testing.T) {
	socket := serveHostile(t)
	good := takeOver(t, socket)
	s := good.session()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFiles(t)
	for name, talk := range map[string]func(c *conn){
		"no header":              func(c *conn) { c.socket.Write([]byte{frameCall}) },
		"too many bytes":         func(c *conn) { c.socket.Write([]byte{frameCall, 0, 0xff, 0xff, 0xff, 0xff}) },
		"too many files":         func(c *conn) { c.socket.Write([]byte{frameGiven, 255, 0, 0, 0, 0}) },
		"files that do not come": func(c *conn) { c.socket.Write([]byte{frameGiven, 2, 0, 0, 0, 0}) },
		"files that are not wanted": func(c *conn) {
			for range 50 {
				c.send(frameGiven, nil, int(null.Fd()))
				c.send(frameCancel, nil, int(null.Fd()))
			}
			c.send(frameAnswer, nil)
		},
		"an answer": func(c *conn) { c.send(frameAnswer, []byte("{}")) },
		"another call inside of one": func(c *conn) {
			text := fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"import time; time.sleep(1)"}}`, s)
			c.send(frameCall, []byte(text))
			time.Sleep(50 * time.Millisecond) // it is under way, and listened to
			c.send(frameCall, []byte(text), int(null.Fd()))
		},
		"more files than a call has": func(c *conn) {
			for range maxGiven/maxFDs + 2 {
				fds := make([]int, maxFDs)
				for i := range fds {
					fds[i] = int(null.Fd())
				}
				if c.send(frameGiven, nil, fds...) != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := takeOver(t, socket)
			talk(x.c)
			x.c.socket.CloseWrite()
			x.c.socket.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, x.c.socket); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the conversation goes on: %v", err)
			}
		})
	}
	if f := good.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"print(6*7)"}}`, s)); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("afterwards: %s", f.bytes)
	}
	until(t, "no more files are open than before", func() bool { return openFiles(t) <= before+2 })
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

var stranger = flag.String("stranger", "", "the socket to ask at, as a process that may not")

// Processes of other users get no answer, even where they reach the socket.
func TestStranger(t *testing.T) {
	if *stranger != "" {
		x := takeOver(t, *stranger)
		sent := x.c.send(frameCall, []byte(`{"method":"list"}`)) // it may have been cut by then
		if f, err := x.c.receive(); err == nil && (f.kind != frameFailure || !strings.Contains(string(f.bytes), "may not ask")) {
			t.Errorf("a stranger was answered %d %s (%v)", f.kind, f.bytes, sent)
		}
		return
	}
	socket := serveHostile(t)
	for _, path := range []string{socket, filepath.Dir(socket)} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(socket), "asker")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestStranger$", "-stranger", socket)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// withLimit runs do while this process can open no descriptor beyond n.
func withLimit(t *testing.T, n uint64, do func()) {
	t.Helper()
	var usual syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: usual.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &usual); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// A warden that has no descriptor for a connection keeps its sessions, and takes
// connections again when there is one.
func TestNoDescriptorForAConnection(t *testing.T) {
	socket := serveHostile(t)
	x := takeOver(t, socket)
	s := x.session()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "late")
	defer file.Close()
	var later net.Conn
	withLimit(t, 4, func() {
		if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
			t.Fatal(err)
		}
		// An answer: the warden has had its time to try.
		for range 20 {
			x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"1"}}`, s))
		}
	})
	if later, err = net.FileConn(file); err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	y := &taken{t, newConn(later.(*net.UnixConn))}
	if f := y.ask(`{"method":"list"}`); !strings.Contains(string(f.bytes), s) {
		t.Errorf("who came when there was no descriptor was answered %s", f.bytes)
	}
}

// A warden that is to end before it was ready ends, whatever waits for it.
func TestEndBeforeReady(t *testing.T) {
	dir := t.TempDir()
	local, err := NewLocal(Options{Executor: executor.Config{RuntimeDir: dir}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "w"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(local, []int{os.Geteuid()}, "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	x := takeOver(t, l.Addr().String())
	if err := x.c.send(frameCall, []byte(`{"method":"make","spec":{"owner":"o","id":"s","created":"2026-01-01T00:00:00Z","limits":{}}}`)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(server.Close(l), <-served) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// A descriptor whose close waits for somebody else, as a socket's can, holds up
// nothing.
func TestDescriptorThatLingers(t *testing.T) {
	socket := serveHostile(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody accepts, or reads
	// given is a socket with data that nobody reads, for the warden's to be the last.
	given := func() int {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(c, neverEnding{}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("what nobody reads was sent: %v", err)
		}
		if err := c.(*net.TCPConn).SetLinger(20); err != nil {
			t.Fatal(err)
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	for name, send := range map[string]func(x *taken){
		"as it is": func(x *taken) {
			fd := given()
			defer syscall.Close(fd)
			if err := x.c.send(frameGiven, nil, fd); err != nil {
				t.Fatal(err)
			}
		},
		"on its way in another socket": func(x *taken) {
			pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Close(pair[0])
			defer syscall.Close(pair[1])
			fd := given()
			defer syscall.Close(fd)
			if err := syscall.Sendmsg(pair[0], []byte{0}, syscall.UnixRights(fd), nil, 0); err != nil {
				t.Fatal(err)
			}
			if err := x.c.send(frameGiven, nil, pair[1]); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := takeOver(t, socket)
			send(x)
			began := time.Now()
			x.ask(`{"method":"list"}`)
			x.ask(`{"method":"list"}`)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the next answer took %s", took)
			}
		})
	}
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) { return len(b), nil }

// Large messages take no more memory together than they may, and whoever finds none
// left is told and can go on.
func TestLargeMessagesAreBounded(t *testing.T) {
	const all = 8 << 20
	var bound *room
	socket := serveHostile(t, func(s *Server) {
		s.room = &room{left: all}
		bound = s.room
	})
	first, second := takeOver(t, socket), takeOver(t, socket)
	s := second.session()
	header := []byte{frameCall, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[2:], all)
	if _, err := first.c.socket.Write(append(header, make([]byte, 1<<20)...)); err != nil {
		t.Fatal(err)
	}
	large := fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"1 # %s"}}`, s, strings.Repeat("x", all/2))
	until(t, "the first has room", func() bool { return left(bound) < all/2 })
	second.refused("no-room", large)
	text := fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"print(6*7)"}}`, s)
	if f := second.ask(text); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("a small call was answered %s", f.bytes)
	}
	printed := strings.Replace(text, "print(6*7)", "print('x' * (4 << 20))", 1)
	second.refused("no-room", printed)
	first.c.close()
	until(t, "room is given back", func() bool { return left(bound) == all })
	if f := second.ask(large); f.kind != frameAnswer {
		t.Errorf("with room it was answered %s", f.bytes)
	}
	until(t, "room is given back", func() bool { return left(bound) == all })
}

func left(r *room) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}
