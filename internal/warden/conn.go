package warden

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// frame is one message: its kind, its bytes, and descriptors.
type frame struct {
	kind  byte
	bytes []byte
	files []descriptor
}

func (f frame) close() {
	for _, file := range f.files {
		file.close()
	}
}

// A frame begins with its kind, the number of its descriptors, and the number of
// its bytes, big-endian.
const headerSize = 1 + 1 + 4

// conn sends and receives frames. One goroutine may receive; any may send.
type conn struct {
	socket *net.UnixConn

	sending sync.Mutex
	broken  error                     // of sending: half a message may be on its way
	until   atomic.Pointer[time.Time] // see hurry; nil: there is time
	held    func()                    // lets go of what the connection holds; may be nil

	buf   []byte // received, and not yet taken
	files []descriptor

	file *executor.File // that is open on it: see content.go; nil: none

	rights      []byte       // how the kernel tells of them
	descriptors *descriptors // nil: no bound, and what comes is trusted
	room        *room        // nil: no bound
	took        int          // of it
}

func newConn(c *net.UnixConn) *conn { return &conn{socket: c} }

func (c *conn) close() error {
	c.drop()
	return c.socket.Close()
}

// drop lets go of all but the socket.
func (c *conn) drop() {
	frame{files: c.files}.close()
	c.files = nil
	c.closeFile()
	if c.held != nil {
		c.held()
	}
	c.release()
}

// patience is how long the other side may take to read a frame.
const patience = 30 * time.Second

// hurry has nothing be sent any more after a time, however slowly the other side reads.
func (c *conn) hurry(until time.Time) {
	c.until.Store(&until)
	_ = c.socket.SetWriteDeadline(until) // it may be closed
}

// deadline is that of sending a frame now.
func (c *conn) deadline() time.Time {
	d := time.Now().Add(patience)
	if until := c.until.Load(); until != nil && until.Before(d) {
		return *until
	}
	return d
}

// send sends one frame. The descriptors go with its first byte.
func (c *conn) send(kind byte, b []byte, fds ...int) error {
	if len(b) > maxFrame || len(fds) > maxFDs {
		return fmt.Errorf("a message of %d bytes and %d files is more than goes over the socket (%d and %d)", len(b), len(fds), maxFrame, maxFDs)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.broken != nil {
		return c.broken
	}
	header := make([]byte, headerSize, headerSize+len(b))
	header[0], header[1] = kind, byte(len(fds))
	binary.BigEndian.PutUint32(header[2:], uint32(len(b)))
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	if c.broken = c.socket.SetWriteDeadline(c.deadline()); c.broken != nil {
		return c.broken
	}
	if c.until.Load() != nil {
		// It may have been told while the deadline was set.
		if c.broken = c.socket.SetWriteDeadline(c.deadline()); c.broken != nil {
			return c.broken
		}
	}
	whole := append(header, b...)
	n, _, err := c.socket.WriteMsgUnix(whole, oob, nil)
	if err == nil && n < len(whole) {
		_, err = c.socket.Write(whole[n:])
	}
	c.broken = err
	return err
}

// sendJSON sends v as one frame.
func (c *conn) sendJSON(kind byte, v any) error {
	text, err := textOf(v)
	if err != nil {
		return err
	}
	return c.send(kind, text)
}

// sendAnswer sends v in as many frames as it takes.
func (c *conn) sendAnswer(v any) error {
	text, err := textOf(v)
	if err != nil {
		return err
	}
	if !c.admit(len(text)) {
		return c.sendJSON(frameFailure, failureOf(errNoRoom))
	}
	for ; len(text) > maxPart; text = text[maxPart:] {
		if err := c.send(framePart, text[:maxPart]); err != nil {
			return err
		}
	}
	return c.send(frameAnswer, text)
}

// textOf is v in JSON. No page will hold it: < stays as short as it is.
func textOf(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// receive receives one frame; io.EOF when the other side has closed between two.
func (c *conn) receive() (frame, error) {
	if err := c.fill(headerSize); err != nil {
		return frame{}, err
	}
	size, fds := int(binary.BigEndian.Uint32(c.buf[2:headerSize])), int(c.buf[1])
	if size > maxFrame || fds > maxFDs {
		return frame{}, fmt.Errorf("a message says that it has %d bytes and %d files, and %d and %d are allowed: is a cellblock-warden at the other end?", size, fds, maxFrame, maxFDs)
	}
	if !c.admit(size) {
		if err := c.discard(headerSize + size); err != nil {
			return frame{}, err
		}
		return frame{}, errNoRoom
	}
	if err := c.fill(headerSize + size); err != nil {
		return frame{}, noEOF(err)
	}
	if len(c.files) < fds {
		return frame{}, errors.New("a message came without its files")
	}
	f := frame{kind: c.buf[0], bytes: bytes.Clone(c.buf[headerSize : headerSize+size]), files: c.files[:fds:fds]}
	c.files = c.files[fds:]
	c.buf = append(c.buf[:0], c.buf[headerSize+size:]...)
	if len(c.buf) == 0 && len(c.files) > 0 {
		f.close()
		return frame{}, errors.New("files came that no message has announced")
	}
	if cap(c.buf) > mostBuffer && len(c.buf) == 0 {
		c.buf = nil
	}
	return f, nil
}

const mostBuffer = 1 << 20

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill receives until n bytes are there.
func (c *conn) fill(n int) error {
	for len(c.buf) < n {
		if cap(c.buf)-len(c.buf) < 4096 {
			// Grown as bytes come, and not by what the other side announces.
			c.buf = append(make([]byte, 0, max(2*cap(c.buf), 16<<10)), c.buf...)
		}
		got, err := c.receiveOnce(c.buf[len(c.buf):cap(c.buf)])
		switch {
		case err != nil:
			return err
		case len(c.files) > maxFDs:
			return fmt.Errorf("more than %d files came with a message", maxFDs)
		case got == 0:
			return io.EOF
		}
		c.buf = c.buf[:len(c.buf)+got]
	}
	return nil
}

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// shorten keeps what somebody sent short enough for a message.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
