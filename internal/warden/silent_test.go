package warden

import (
	"encoding/binary"
	"syscall"
)

// serve answers what it takes to open the file (linux/fuse.h), until its end.
func (s *silent) serve() {
	defer syscall.Close(s.device)
	const (
		lookup, open, init   = 1, 14, 26
		header, entry, inode = 16, 40, 88 // sizes
		regular              = 0o100444
	)
	le := binary.LittleEndian
	attr := func(ino uint64, mode uint32) []byte {
		b := make([]byte, inode)
		le.PutUint64(b, ino)
		le.PutUint64(b[8:], 4096) // bytes
		le.PutUint32(b[60:], mode)
		le.PutUint32(b[64:], 1) // links
		return b
	}
	buf := make([]byte, 1<<17)
	for {
		n, err := syscall.Read(s.device, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n < 40 {
			return
		}
		var answer []byte
		switch le.Uint32(buf[4:]) {
		case init:
			answer = make([]byte, 64)
			le.PutUint32(answer, 7)
			le.PutUint32(answer[4:], 31)
			le.PutUint32(answer[20:], 4096) // of a write
		case lookup:
			answer = make([]byte, entry)
			le.PutUint64(answer, 2)
			le.PutUint64(answer[16:], 3600) // the name is good so long, its inode not at all
			answer = append(answer, attr(2, regular)...)
		case open:
			answer = make([]byte, 16)
		default:
			continue
		}
		reply := make([]byte, header, header+len(answer))
		le.PutUint32(reply, uint32(header+len(answer)))
		copy(reply[8:16], buf[8:16])
		if _, err := syscall.Write(s.device, append(reply, answer...)); err != nil {
			return
		}
	}
}
