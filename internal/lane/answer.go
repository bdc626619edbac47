package lane

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// answer is a http.ResponseWriter that keeps what is written, to send it in one
// piece. After reset it is good for the next request.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	wire   bytes.Buffer
}

// kept is how large a buffer may be that is kept for the next answer.
const kept = 64 << 10

func (a *answer) reset() {
	clear(a.header)
	a.status = 0
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
	return a.body.Write(b)
}

// SetReadDeadline is for http.ResponseController: the body was read before.
func (a *answer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController: what is written is kept.
func (a *answer) SetWriteDeadline(time.Time) error { return nil }

// head is the answer's, with the body behind it if that is small; last says that
// nothing follows on this connection. rest is the body otherwise.
func (a *answer) head(last bool) (head, rest []byte) {
	a.WriteHeader(http.StatusOK)
	w := &a.wire
	w.WriteString("HTTP/1.1 ")
	w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(a.status), 10))
	w.WriteByte(' ')
	w.WriteString(http.StatusText(a.status))
	w.WriteString("\r\nDate: ")
	w.Write(time.Now().UTC().AppendFormat(w.AvailableBuffer(), http.TimeFormat))
	w.WriteString("\r\n")
	if a.status != http.StatusNoContent {
		w.WriteString("Content-Length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(a.body.Len()), 10))
		w.WriteString("\r\n")
	}
	if last {
		w.WriteString("Connection: close\r\n")
	}
	a.header.Write(w)
	w.WriteString("\r\n")
	if a.body.Len() > kept {
		return w.Bytes(), a.body.Bytes()
	}
	w.Write(a.body.Bytes())
	return w.Bytes(), nil
}
