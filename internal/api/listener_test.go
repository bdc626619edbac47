package api

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/sys"
)

// Nobody hands descriptors to the service, whose close could hold up a thread.
func TestFilesAreRefused(t *testing.T) {
	c := serve(t, Settings{})
	c.ask("GET", "/v1/stats", nil).want(200) // it listens
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	k, err := net.Dial("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var want error
	if can := sys.RefuseFiles(own(t)); can == nil {
		want = syscall.EPERM
	}
	text := "GET /v1/stats HTTP/1.1\r\nHost: a\r\n\r\n"
	if _, _, err := k.(*net.UnixConn).WriteMsgUnix([]byte(text), syscall.UnixRights(int(null.Fd())), nil); !errors.Is(err, want) {
		t.Errorf("a descriptor was sent: %v instead of %v", err, want)
	}
	c.ask("GET", "/v1/stats", nil).want(200)
}

// own is a socket of the test's.
func own(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return fd
}
