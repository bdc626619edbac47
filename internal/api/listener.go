package api

import (
	"net"
	"sync"

	"github.com/cellblock/cellblock/internal/sys"
)

// limitConnections keeps at most n connections of l open: more wait in the
// kernel's queue, and take no descriptor. Over a Unix socket none can be sent, either.
func limitConnections(l net.Listener, n int) net.Listener {
	if u, ok := l.(*net.UnixListener); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = sys.RefuseFiles(int(fd)) }) // an older kernel cannot
		}
	}
	return &limited{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	free   chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, give: sync.OnceFunc(func() { <-l.free })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	give func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.give()
	return err
}

// NetConn is the connection itself.
func (c *counted) NetConn() net.Conn { return c.Conn }
