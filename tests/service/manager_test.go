package service

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manager starts a warden as systemd does: it holds the warden's socket, and the
// descriptors that one warden stores for the next.
type manager struct {
	t      *testing.T
	notify *net.UnixConn
	socket *os.File // listens
	ready  chan bool

	mu     sync.Mutex
	stored []stored
}

type stored struct {
	name string
	fd   int
}

// managed is startSplit with a manager; args are the warden's, own those of the other.
func managed(t *testing.T, args []string, own ...string) (*split, *manager) {
	t.Helper()
	m := &manager{t: t, ready: make(chan bool, 8)}
	x := splitWith(t, func(x *split, socket string, args []string) *exec.Cmd {
		m.listen(x.dir, socket)
		return m.start(x, args)
	}, args, own...)
	return x, m
}

func (m *manager) listen(dir, socket string) {
	m.t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		m.t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if m.socket, err = l.File(); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		m.t.Fatal(err)
	}
	if m.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		m.notify.Close()
		m.socket.Close()
		m.drop()
	})
	go m.hear()
}

// hear takes what wardens say.
func (m *manager) hear() {
	b, oob := make([]byte, 4096), make([]byte, syscall.CmsgSpace(4*16))
	for {
		n, on, _, _, err := m.notify.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		var fds []int
		if messages, err := syscall.ParseSocketControlMessage(oob[:on]); err == nil {
			for i := range messages {
				got, _ := syscall.ParseUnixRights(&messages[i])
				fds = append(fds, got...)
			}
		}
		said := map[string]string{}
		for line := range strings.Lines(string(b[:n])) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			said[key] = value
		}
		m.mu.Lock()
		switch {
		case said["FDSTORE"] == "1":
			for _, fd := range fds {
				m.stored = append(m.stored, stored{said["FDNAME"], fd})
			}
			fds = nil
		case said["FDSTOREREMOVE"] == "1":
			var rest []stored
			for _, s := range m.stored {
				if s.name == said["FDNAME"] {
					syscall.Close(s.fd)
				} else {
					rest = append(rest, s)
				}
			}
			m.stored = rest
		}
		m.mu.Unlock()
		for _, fd := range fds {
			syscall.Close(fd) // also of a barrier
		}
		if said["READY"] == "1" {
			m.ready <- true
		}
	}
}

// drop closes what is stored, as for a unit that is stopped.
func (m *manager) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.stored {
		syscall.Close(s.fd)
	}
	m.stored = nil
}

func (m *manager) keeps() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.stored)
}

// start starts a warden with all that there is for it.
func (m *manager) start(x *split, args []string) *exec.Cmd {
	m.t.Helper()
	dir, err := build()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, filepath.Join(dir, "cellblock-warden")}, args...)...)
	cmd.ExtraFiles = []*os.File{m.socket}
	names := []string{"cellblock-warden.socket"}
	m.mu.Lock()
	for _, s := range m.stored {
		own, err := syscall.Dup(s.fd)
		if err != nil {
			m.t.Fatal(err)
		}
		f := os.NewFile(uintptr(own), s.name)
		defer f.Close()
		cmd.ExtraFiles, names = append(cmd.ExtraFiles, f), append(names, s.name)
	}
	m.mu.Unlock()
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(x.dir, "notify"), "TMPDIR="+x.dir, "FDSTORE=4",
		fmt.Sprintf("LISTEN_FDS=%d", len(cmd.ExtraFiles)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.Stdout, cmd.Stderr = x.wlog, x.wlog
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-m.ready:
	case <-time.After(5 * time.Minute):
		m.t.Fatalf("the warden is not ready\n%s", x.wlog)
	}
	return cmd
}

// args are what a warden of its was started with.
func (m *manager) args(cmd *exec.Cmd) []string { return cmd.Args[4:] }

// restart ends the warden and starts another; meanwhile runs between.
func (m *manager) restart(x *split, meanwhile func()) {
	m.t.Helper()
	args := m.args(x.warden)
	x.endWarden()
	if meanwhile != nil {
		meanwhile()
	}
	x.warden = m.start(x, args)
}
