package lane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

const (
	// room is what a request may have in all.
	room = 16 << 10
	// bodySoon is how long the rest of a body is waited for: many clients send it
	// apart from the head.
	bodySoon = time.Second
)

// conn is one connection. One goroutine uses it.
type conn struct {
	of       *Lanes
	listener *listener
	net      net.Conn
	raw      syscall.RawConn
	ctx      context.Context
	remote   string
	armed    time.Time // the deadline that reads have; zero: none
	lookout  *lookout

	buf    []byte
	n      int // bytes of buf that arrived
	blank  int // ends of lines that may come before the next request
	head   bytes.Reader
	parser *bufio.Reader
	body   bytes.Reader
	answer answer
}

func newConn(l *listener, c net.Conn, raw syscall.RawConn) *conn {
	x := &conn{
		of: l.lanes, listener: l, net: c, raw: raw, ctx: l.lanes.Context(context.Background(), c), remote: c.RemoteAddr().String(),
		lookout: newLookout(c, raw), buf: make([]byte, room), parser: bufio.NewReaderSize(nil, 1<<10), answer: answer{header: http.Header{}},
	}
	x.answer.send, x.answer.ending = x.send, x.of.isEnding
	return x
}

// serve answers short requests, one after the other.
func (c *conn) serve() {
	limit, least := c.of.FirstTime, 1
	for c.of.enter(c, false) {
		for skipped := c.skip(); c.n+skipped < least; skipped += c.skip() {
			if c.read(time.Now().Add(limit)) != nil {
				c.close()
				return
			}
		}
		r, size := c.request()
		if r == nil {
			c.leave()
			return
		}
		if !c.of.enter(c, true) || !c.respond(r, c.buf[size-int(r.ContentLength):size]) {
			break
		}
		c.n = copy(c.buf, c.buf[size:c.n])
		limit, least = c.of.IdleTime, 4 // bytes that package http wants to see, too
		if r.Method == http.MethodPost {
			c.blank = 4
		}
	}
	c.close()
}

func (c *conn) close() {
	c.net.Close()
	c.of.leave(c)
}

// skip skips empty lines after a POST, which old clients send. Package http does the
// same.
func (c *conn) skip() (n int) {
	for n < c.n && n < c.blank && (c.buf[n] == '\r' || c.buf[n] == '\n') {
		n++
	}
	c.blank -= n
	if n < c.n {
		c.blank = 0
	}
	c.n = copy(c.buf, c.buf[n:c.n])
	return n
}

// leave gives the connection to package http, as if nothing had been read of what is
// left unanswered.
func (c *conn) leave() {
	c.net.SetReadDeadline(time.Time{})
	c.of.leave(c)
	c.listener.give(accepted{&begun{c.net, c.buf[:c.n]}, nil})
}

// read reads what comes until then. A deadline that is set costs more than a short
// read: one that ends too early stays, and is set anew only once it has ended.
func (c *conn) read(until time.Time) (err error) {
	for {
		if c.armed.IsZero() || c.armed.After(until) {
			c.net.SetReadDeadline(until)
			c.armed = until
		}
		n := 0
		werr := c.raw.Read(func(fd uintptr) bool {
			var again bool
			n, again, err = sys.RecvNow(int(fd), c.buf[c.n:])
			return !again
		})
		switch {
		case errors.Is(werr, os.ErrDeadlineExceeded) && time.Now().Before(until):
			c.armed = time.Time{}
			continue
		case werr != nil:
			return werr
		}
		c.n += n
		return err
	}
}

// request parses the next request and reads its body: size is that of both. It is
// nil where that is up to package http.
func (c *conn) request() (r *http.Request, size int) {
	end := bytes.Index(c.buf[:c.n], []byte("\r\n\r\n")) + 4
	if end < 4 {
		return nil, 0
	}
	c.head.Reset(c.buf[:end])
	c.parser.Reset(&c.head)
	r, err := http.ReadRequest(c.parser)
	if err != nil || c.parser.Buffered()+c.head.Len() > 0 || !isPlain(r) || r.ContentLength > int64(room-end) || !c.of.Short(r) {
		return nil, 0
	}
	size = end + int(r.ContentLength)
	for until := time.Now().Add(bodySoon); c.n < size; {
		if c.read(until) != nil {
			return nil, 0
		}
	}
	r.RemoteAddr = c.remote
	return r, size
}

// isPlain says that nothing about a request needs more than to be answered.
func isPlain(r *http.Request) bool {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || len(r.TransferEncoding) > 0 || r.ContentLength < 0 || len(r.Trailer) > 0 ||
		!strings.HasPrefix(r.RequestURI, "/") || !isHost(r.Host) {
		return false
	}
	for name, values := range r.Header {
		if !isToken(name) {
			return false
		}
		switch name {
		case "Connection":
			if len(values) != 1 || !strings.EqualFold(values[0], "keep-alive") {
				return false
			}
		case "Expect", "Upgrade", "Trailer", "Te", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection":
			return false
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return false
			}
		}
	}
	return true
}

// isToken says whether a name is that of a header, and isHost whether it is a host's
// that nobody could read in two ways.
func isToken(name string) bool { return isOf(name, "-_") }
func isHost(name string) bool  { return isOf(name, ".-_:[]") }

func isOf(name, also string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(also, c)
	})
}

// respond runs the handler and sends what it answers, and says whether the
// connection is good for more.
func (c *conn) respond(r *http.Request, body []byte) (good bool) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	r.Body = http.NoBody
	if len(body) > 0 {
		c.body.Reset(body)
		r.Body = io.NopCloser(&c.body)
	}
	defer c.answer.reset()
	c.lookout.begin(cancel)
	handled := c.handle(r.WithContext(ctx))
	if c.lookout.end() {
		c.armed = time.Time{}
	}
	if !handled {
		return false
	}
	return c.answer.end()
}

// handle says whether the handler came to an end.
func (c *conn) handle(r *http.Request) (ended bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.of.Log.Error("BUG: a handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	c.of.Handler.ServeHTTP(&c.answer, r)
	return true
}

// send sends what the socket takes at once, which is all of most answers, and only
// the rest in a client's time.
func (c *conn) send(b []byte) (err error) {
	if len(b) == 0 {
		return nil
	}
	n := 0
	if shut := c.raw.Control(func(fd uintptr) { n, err = sys.SendNow(int(fd), b) }); shut != nil {
		return shut
	}
	if err != nil || n == len(b) {
		return err
	}
	c.net.SetWriteDeadline(time.Now().Add(c.of.WriteTime))
	defer c.net.SetWriteDeadline(time.Time{})
	_, err = c.net.Write(b[n:])
	return err
}

// begun is a connection of which something has been read.
type begun struct {
	net.Conn
	unread []byte
}

func (c *begun) Read(b []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(b, c.unread)
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite is for package http, which ends some answers with it.
func (c *begun) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn is the connection itself.
func (c *begun) NetConn() net.Conn { return c.Conn }
