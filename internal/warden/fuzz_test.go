package warden

import (
	"net"
	"os"
	"syscall"
	"testing"
)

// FuzzConversation: whatever a process sends that was let in, the warden reads it
// as calls or ends the conversation.
func FuzzConversation(f *testing.F) {
	for _, text := range []string{
		`{"method":"make","spec":{"owner":"o","id":"s","created":"2026-01-01T00:00:00Z","limits":{"MaxMemoryMB":64},"env":{"A":"b"}}}`,
		`{"method":"execute","session":"h","context":"c","request":{"code":"1","timeout":1,"stream":true,"given":["a"]}}`,
		`{"method":"open","session":"h","path":"YQ=="}`, `{"method":"hold","protocol":1}`, `{}`, `[]`, `{"method":"list"}{"method":"list"}`,
	} {
		f.Add(append([]byte{frameCall, 0, 0, 0, 0, byte(len(text))}, text...))
	}
	f.Add([]byte{frameGiven, 1, 0, 0, 0, 0, frameCancel, 0, 0, 0, 0, 0})
	f.Add([]byte{frameCall, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, sent []byte) {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ends := [2]*conn{}
		for i, fd := range pair {
			file := os.NewFile(uintptr(fd), "pair")
			socket, err := net.FileConn(file)
			if err != nil {
				t.Fatal(err)
			}
			file.Close()
			ends[i] = newConn(socket.(*net.UnixConn))
			defer ends[i].close()
		}
		go func() {
			ends[0].socket.Write(sent)
			ends[0].socket.CloseWrite()
		}()
		taken := 0
		for {
			got, err := ends[1].receive()
			if err != nil {
				return
			}
			taken += headerSize + len(got.bytes)
			if taken > len(sent) || len(got.files) > 0 {
				t.Fatalf("%d bytes and %d files were taken of %d and none", taken, len(got.files), len(sent))
			}
			var c call
			if strictly(got.bytes, &c) == nil && c.Request != nil {
				c.Request.request()
			}
		}
	})
}
