package template

import (
	"net"
	"path/filepath"
	"testing"
)

// A template that was replaced between a Keeper's look and its use counts as
// lost, so that the fork is tried again with the new one.
func TestAskingAReplacedTemplate(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "socket"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	socket.Close() // as template.end does
	gone := &template{socket: socket}
	if err := gone.ask(); err == nil || !lost(err) {
		t.Errorf("asked after its end: %v is not taken for a lost template", err)
	}
}
