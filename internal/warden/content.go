package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/workspace"
)

// Files of a workspace are read over the connection that opened them, and no descriptor
// of one leaves the warden: who held it would keep the memory of the whole workspace
// when the session has ended, and nobody would count it.

// open opens one, in place of what the connection had open.
func (s *Server) open(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	p.conn.closeFile()
	f, err := h.OpenFile(string(p.Path))
	if err != nil {
		return nil, err
	}
	p.conn.file = f // closed with the session's cell as well
	return openAnswer{h.Cells(), f.Size, f.Mode, f.Mtime}, nil
}

// mostRead is how much of a file one answer has.
const mostRead = 128 << 10

// read sends a part of what is open, as the output of a call; none: it ends there.
func (s *Server) read(p *pending) (any, error) {
	f := p.conn.file
	if f == nil || p.Offset < 0 || p.Size < 0 {
		return nil, &executor.InvalidError{What: "call", Got: "read", Why: "no file is open on this connection, or it is to be read before its start"}
	}
	if _, err := f.Seek(p.Offset, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, min(p.Size, mostRead))
	n, err := f.Read(b)
	switch {
	case errors.Is(err, fs.ErrClosed):
		return nil, executor.ErrClosed
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case n == 0:
		return nothing{}, nil
	}
	return nothing{}, p.conn.send(frameStdout, b[:n])
}

func (c *conn) closeFile() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// content is the source of a file that a warden has open. It asks for more than is
// wanted, as most files are read from their start to their end in small pieces.
type content struct {
	client *Client
	path   string
	size   int64

	conn    *conn
	closed  atomic.Bool
	reading sync.Mutex // held while the connection is in use
	ahead   []byte     // what came last, from here on:
	at      int64
}

// openFile opens a file, which has the connection to itself until it is closed.
func (c *Client) openFile(call call) (_ *executor.File, cells int, err error) {
	var opened openAnswer
	l, k, err := c.asked(context.Background(), &exchange{call: call, answer: &opened})
	if err != nil {
		if k != nil {
			c.give(l, k)
		}
		return nil, 0, err
	}
	path := string(call.Path)
	e := workspace.Entry{Path: path, Size: opened.Size, Mode: opened.Mode, Mtime: opened.Mtime}
	return workspace.NewFile(e, &content{client: c, path: path, size: opened.Size, conn: k}), opened.Cells, nil
}

// ReadAt implements workspace.Source.
func (x *content) ReadAt(p []byte, off int64) (n int, err error) {
	x.reading.Lock()
	defer x.reading.Unlock()
	if from := off - x.at; from >= 0 && from < int64(len(x.ahead)) && !x.closed.Load() {
		return copy(p, x.ahead[from:]), nil
	}
	x.at, x.ahead = off, x.ahead[:0]
	into := func(b []byte) { x.ahead = append(x.ahead, b...) }
	size := min(mostRead, max(0, x.size-off))
	_, err = x.client.on(context.Background(), x.conn, &exchange{call: call{Method: "read", Offset: off, Size: size}, stdout: into})
	if err != nil { // the session has ended, or the file was closed meanwhile
		if errors.Is(err, executor.ErrClosed) || x.closed.Load() {
			err = fs.ErrClosed
		}
		if errors.Is(err, errLeaving) || isCut(err) {
			err = ErrRestarting // the next warden does not have it open
		}
		return 0, fmt.Errorf("cannot read %s: %w", workspace.Quote(x.path), err)
	}
	return copy(p, x.ahead), nil
}

// Now implements workspace.Source: nobody asks of what is in a workspace.
func (x *content) Now() (workspace.Entry, error) {
	return workspace.Entry{}, fmt.Errorf("cannot describe %s: %w", workspace.Quote(x.path), errors.ErrUnsupported)
}

// Close implements workspace.Source. The warden closes what its connection had open.
func (x *content) Close() error {
	x.closed.Store(true)
	err := x.conn.socket.Close() // a read under way ends
	x.reading.Lock()
	defer x.reading.Unlock()
	x.conn.drop()
	return err
}
