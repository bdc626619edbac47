package config

import (
	"io"
	"os"

	"github.com/cellblock/cellblock/internal/sys"
)

// soonWriter writes to a file what it takes without waiting, as a log nearly always
// does, in the cheapest way; the rest as ever. It is not safe for concurrent use,
// which package slog does not make of it.
type soonWriter struct {
	file *os.File
	fd   int
}

// soon is f written to so, and f itself where its descriptor is not to be had.
func soon(f *os.File) io.Writer {
	raw, err := f.SyscallConn()
	if err != nil {
		return f
	}
	w := soonWriter{f, -1}
	if err := raw.Control(func(fd uintptr) { w.fd = int(fd) }); err != nil {
		return f
	}
	return w
}

func (w soonWriter) Write(b []byte) (int, error) {
	n := sys.WriteNow(w.fd, b)
	if n == len(b) {
		return n, nil
	}
	more, err := w.file.Write(b[n:])
	return n + more, err
}
