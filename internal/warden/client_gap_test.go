package warden

import (
	"net"
	"path/filepath"
	"testing"
)

// However a warden ends, a connection to it is known as cut: also where it had not read
// what was sent.
func TestIsCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, unread := range []bool{false, true} {
		socket, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(socket.(*net.UnixConn))
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if unread {
			if err := c.send(frameCall, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		other.Close()
		if _, err := c.receive(); !isCut(err) {
			t.Errorf("with something unread (%v) it is %v", unread, err)
		}
		c.close()
	}
}
