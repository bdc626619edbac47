package lane

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// answer is a http.ResponseWriter that keeps what is written, to send it in one
// piece. One that gets large is sent in chunks while the handler writes, as package
// http does: a client that does not read keeps its handler then, which is counted, and
// not what nobody counts. After reset it is good for the next request.
type answer struct {
	send   func([]byte) error
	ending func() bool // whether nothing is to follow on this connection

	header  http.Header
	status  int
	chunked bool // the head was sent, and chunks
	last    bool // nothing follows, as the head said
	failed  error
	body    bytes.Buffer
	wire    bytes.Buffer
}

// kept is how large a buffer may be that is kept for the next answer, and whole how
// large an answer that is sent in one piece.
const (
	kept  = 64 << 10
	whole = 256 << 10
)

func (a *answer) reset() {
	clear(a.header)
	a.status, a.chunked, a.last, a.failed = 0, false, false, nil
	for _, b := range []*bytes.Buffer{&a.body, &a.wire} {
		if b.Cap() > kept {
			*b = bytes.Buffer{}
		}
		b.Reset()
	}
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if !a.chunked && a.body.Len()+len(b) <= whole {
		return a.body.Write(b)
	}
	if !a.chunked {
		a.chunked = true
		a.head()
		a.try(a.wire.Bytes())
		a.chunk(a.body.Bytes())
		a.body = bytes.Buffer{}
	}
	if a.chunk(b); a.failed != nil {
		return 0, a.failed
	}
	return len(b), nil
}

// try sends a part, unless one before it could not be sent.
func (a *answer) try(b []byte) {
	if a.failed == nil {
		a.failed = a.send(b)
	}
}

func (a *answer) chunk(b []byte) {
	if len(b) == 0 {
		return // it would be the last
	}
	a.try(append(strconv.AppendInt(nil, int64(len(b)), 16), "\r\n"...))
	a.try(b)
	a.try([]byte("\r\n"))
}

// end sends what is left to send, and says whether the connection is good for more.
func (a *answer) end() (good bool) {
	if a.chunked {
		a.try([]byte("0\r\n\r\n"))
		return a.failed == nil && !a.last
	}
	a.WriteHeader(http.StatusOK)
	a.head()
	if a.body.Len() <= kept {
		a.wire.Write(a.body.Bytes())
		a.try(a.wire.Bytes())
	} else {
		a.try(a.wire.Bytes())
		a.try(a.body.Bytes())
	}
	return a.failed == nil && !a.last
}

// SetReadDeadline is for http.ResponseController: the body was read before.
func (a *answer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController: what is written is kept.
func (a *answer) SetWriteDeadline(time.Time) error { return nil }

// head writes the answer's head into wire.
func (a *answer) head() {
	a.last = a.ending()
	a.header.Del("Content-Length") // it is told here, once
	w := &a.wire
	w.WriteString("HTTP/1.1 ")
	w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(a.status), 10))
	w.WriteByte(' ')
	w.WriteString(http.StatusText(a.status))
	w.WriteString("\r\nDate: ")
	w.Write(time.Now().UTC().AppendFormat(w.AvailableBuffer(), http.TimeFormat))
	w.WriteString("\r\n")
	switch {
	case a.chunked:
		w.WriteString("Transfer-Encoding: chunked\r\n")
	case a.status != http.StatusNoContent:
		w.WriteString("Content-Length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(a.body.Len()), 10))
		w.WriteString("\r\n")
	}
	if a.last {
		w.WriteString("Connection: close\r\n")
	}
	a.header.Write(w)
	w.WriteString("\r\n")
}
