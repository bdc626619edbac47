package warden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/foreign"
	"github.com/cellblock/cellblock/internal/testkit"
)

// opened counts this process's descriptors for a file, also one that was removed.
func opened(t *testing.T, path string) (n int) {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if to, err := os.Readlink(name); err == nil && strings.HasSuffix(strings.TrimSuffix(to, " (deleted)"), path) {
			n++
		}
	}
	return n
}

// What callers have sent is bounded on all connections together, is closed with them,
// and is not kept for a call that does not take it.
func TestDescriptorsAreBounded(t *testing.T) {
	const all = 4 * mostRights
	socket := serveHostile(t, func(s *Server) { s.descriptors = &descriptors{left: all} })
	x := takeOver(t, socket)
	s := x.session()
	file, err := os.Create(filepath.Join(t.TempDir(), "given"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fds := make([]int, maxFDs)
	for i := range fds {
		fds[i] = int(file.Fd())
	}
	t.Run("of calls that never come", func(t *testing.T) {
		var hoards []*taken
		for range 40 {
			h := takeOver(t, socket)
			for range 8 {
				if h.c.send(frameGiven, nil, fds...) != nil {
					break // it was refused
				}
			}
			hoards = append(hoards, h)
		}
		// One that finds no room is told, and all the others wait.
		refused := 0
		for _, h := range hoards {
			h.c.socket.SetReadDeadline(time.Now().Add(time.Second))
			if f, err := h.c.receive(); err == nil && f.kind == frameFailure && strings.Contains(string(f.bytes), classNoRoom) {
				refused++
			}
			if n := opened(t, file.Name()); n > all+1 {
				t.Fatalf("%d descriptors are open, more than there may be", n)
			}
			if refused > 5 {
				break
			}
		}
		if refused == 0 {
			t.Error("nobody was refused")
		}
		for _, h := range hoards {
			h.c.close()
		}
		until(t, "all are closed", func() bool { return opened(t, file.Name()) == 1 })
	})
	t.Run("that no call takes", func(t *testing.T) {
		y := takeOver(t, socket)
		y.refused("invalid", `{"method":"list"}`, fds...)
		until(t, "all are closed", func() bool { return opened(t, file.Name()) == 1 })
	})
	t.Run("that nobody announced", func(t *testing.T) {
		y := takeOver(t, socket)
		text := `{"method":"list"}`
		if _, _, err := y.c.socket.WriteMsgUnix(append([]byte{frameCall, 0, 0, 0, 0, byte(len(text))}, text...), syscall.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
		y.c.socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		if f, err := y.c.receive(); err == nil {
			t.Errorf("it was answered: %s", f.bytes)
		}
		until(t, "all are closed", func() bool { return opened(t, file.Name()) == 1 })
	})
	if f := x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"print(6*7)"}}`, s)); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("afterwards: %s", f.bytes)
	}
}

// Nobody keeps a file of a workspace, nor its memory, beyond the session's end.
func TestFilesEndWithTheirSession(t *testing.T) {
	socket := serveHostile(t)
	x := takeOver(t, socket)
	s := x.session()
	code := `open('kept-by-an-asker', 'wb').write(bytes(1 << 20))`
	if f := x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":%q}}`, s, code)); f.kind != frameAnswer {
		t.Fatalf("%s", f.bytes)
	}
	for range 3 {
		y := takeOver(t, socket)
		if f := y.ask(fmt.Sprintf(`{"method":"open","session":%q,"path":"a2VwdC1ieS1hbi1hc2tlcg=="}`, s)); f.kind != frameAnswer || len(f.files) > 0 {
			t.Errorf("%d files came with %d %s", len(f.files), f.kind, f.bytes)
		}
		defer y.refused("closed", `{"method":"read","offset":0,"size":9}`)
	}
	if n := opened(t, "/kept-by-an-asker"); n != 3 {
		t.Errorf("%d are open in the warden", n)
	}
	x.ask(fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"import os; os.remove('kept-by-an-asker')"}}`, s))
	x.ask(fmt.Sprintf(`{"method":"end","session":%q}`, s))
	if n := opened(t, "/kept-by-an-asker"); n > 0 {
		t.Errorf("%d are open when the session has ended", n)
	}
}

func threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Files of a file system that never answers cost calls on them some time, and the
// warden a bounded number of threads: sessions go on, and when that file system has
// ended all is as before.
func TestFileThatNeverAnswers(t *testing.T) {
	testkit.Require(t, testkit.File("/dev/fuse"))
	socket := serveHostile(t)
	x := takeOver(t, socket)
	s := x.session()
	good, err := os.Create(filepath.Join(t.TempDir(), "good"))
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	silent := newSilent(t)
	before := threads(t)

	// As long as descriptors are passed and closed, no call on them waits.
	began := time.Now()
	x.refused("invalid", `{"method":"list"}`, silent.open(syscall.O_NONBLOCK), silent.open(0))
	x.ask(`{"method":"list"}`)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the next answer took %s", took)
	}

	put := fmt.Sprintf(`{"method":"put","session":%q,"path":"Zg=="}`, s)
	var calls sync.WaitGroup
	answers := make(chan frame, 200)
	for range cap(answers) {
		y, fd := takeOver(t, socket), silent.open(0)
		calls.Go(func() {
			if y.c.send(frameGiven, nil, fd) != nil || y.c.send(frameCall, []byte(put)) != nil {
				return
			}
			y.c.socket.SetReadDeadline(time.Now().Add(60 * time.Second))
			f, err := y.c.receive()
			if err != nil {
				t.Errorf("a call with a file that never answers: %v", err)
			}
			answers <- f
		})
	}
	run := fmt.Sprintf(`{"method":"execute","session":%q,"request":{"code":"print(6*7)"}}`, s)
	if f := x.ask(run); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("meanwhile: %s", f.bytes)
	}
	calls.Wait()
	close(answers)
	for f := range answers {
		var why failure
		if f.kind != frameFailure || json.Unmarshal(f.bytes, &why) != nil || why.Class != classInvalid {
			t.Errorf("answer %d %.300s", f.kind, f.bytes)
		}
	}
	if n := threads(t); n > before+64+32+40 {
		t.Errorf("%d threads, and %d were before", n, before)
	}
	silent.end()
	if f := x.ask(put, int(good.Fd())); f.kind != frameAnswer {
		t.Errorf("when that file system has ended: %s", f.bytes)
	}
	until(t, "no thread waits", func() bool { return foreign.Waiting() == 0 })
	until(t, "all are closed", func() bool { return opened(t, silent.path) == 0 })
}

// silent is a file of FUSE that can be opened, and answers nothing else.
type silent struct {
	t      *testing.T
	dir    string
	path   string
	device int
	do     chan func()
	fds    []int
	once   sync.Once
}

func newSilent(t *testing.T) *silent {
	t.Helper()
	device, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &silent{t: t, dir: dir, path: dir + "/f", device: device, do: make(chan func())}
	mounted := make(chan error)
	go func() {
		// A thread with a mount namespace of its own, which ends with it.
		runtime.LockOSThread()
		err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_FS)
		if err == nil {
			err = syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		if err == nil {
			err = syscall.Mount("silent", dir, "fuse", 0, "fd="+strconv.Itoa(device)+",rootmode=40000,user_id=0,group_id=0")
		}
		mounted <- err
		for f := range s.do {
			f()
		}
	}()
	if err := <-mounted; err != nil {
		t.Fatal(err)
	}
	go s.serve()
	t.Cleanup(s.end)
	return s
}

// open returns a descriptor that is closed at the end.
func (s *silent) open(flags int) int {
	s.t.Helper()
	opened := make(chan int)
	var err error
	s.do <- func() {
		var fd int
		fd, err = syscall.Open(s.path, syscall.O_RDONLY|syscall.O_CLOEXEC|flags, 0)
		opened <- fd
	}
	fd := <-opened
	if err != nil {
		s.t.Fatal(err)
	}
	s.fds = append(s.fds, fd)
	return fd
}

// end has all that waits for an answer fail.
func (s *silent) end() {
	s.once.Do(func() {
		s.do <- func() {
			// With force, all that waits is told ENOTCONN.
			if err := syscall.Unmount(s.dir, syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
				s.t.Error(err)
			}
		}
		close(s.do)
		for _, fd := range s.fds {
			syscall.Close(fd)
		}
	})
}
