package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// each is how many descriptors one message has; the kernel takes 253.
const each = 200

// MostState bounds the state, in bytes.
const MostState = 128 << 20

// Pack puts the state and the load into a box. Both stay the caller's.
func Pack(state []byte, load *Load) (box *os.File, err error) {
	if len(state) > MostState {
		return nil, fmt.Errorf("cannot hand over a state of %d bytes: %d are the most", len(state), MostState)
	}
	text, err := sys.Memfd("cellblock-handover", state)
	if err != nil {
		return nil, fmt.Errorf("cannot write down what is handed over: %w", err)
	}
	defer text.Close()
	in, box, err := sys.Pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return nil, fmt.Errorf("cannot hand over: %w", err)
	}
	defer in.Close()
	defer func() {
		if err != nil {
			box.Close()
		}
	}()
	load.mu.Lock()
	defer load.mu.Unlock()
	// The first message says how many come after it, and has the state.
	head := binary.NativeEndian.AppendUint32(nil, uint32(len(load.fds)))
	if err := put(in, head, []int{int(text.Fd())}); err != nil {
		return nil, err
	}
	for rest := load.fds; len(rest) > 0; rest = rest[min(len(rest), each):] {
		if err := put(in, []byte{0}, rest[:min(len(rest), each)]); err != nil {
			return nil, err
		}
	}
	return box, nil
}

// put sends one message, which has to fit: nobody reads yet.
func put(in *os.File, b []byte, fds []int) error {
	raw, err := in.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		_, serr = syscall.SendmsgN(int(fd), b, syscall.UnixRights(fds...), nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
	})
	if err := errors.Join(err, serr); err != nil {
		return fmt.Errorf("cannot hand over %d descriptors: %w", len(fds), err)
	}
	return nil
}

// Unpack empties a box, which stays the caller's to close. On an error all that was
// in it is closed.
func Unpack(box *os.File) (state []byte, a *Arrived, err error) {
	a = &Arrived{}
	defer func() {
		if err != nil {
			a.Close()
			state, err = nil, fmt.Errorf("cannot take over what was handed over: %w", err)
		}
	}()
	head, text, err := take(box)
	a.files = text
	if err != nil {
		return nil, a, err
	}
	if len(head) != 4 || len(text) != 1 {
		return nil, a, fmt.Errorf("its first message has %d bytes and %d descriptors", len(head), len(text))
	}
	count := int(binary.NativeEndian.Uint32(head))
	var files []*os.File
	for len(files) < count {
		_, more, err := take(box)
		files = append(files, more...)
		if err == nil && (len(more) == 0 || len(files) > count) {
			err = fmt.Errorf("%d descriptors came of %d", len(files), count)
		}
		if err != nil {
			a.files = append(files, text...)
			return nil, a, err
		}
	}
	a.files = append(files, text...)
	if state, err = readSealed(text[0]); err != nil {
		return nil, a, err
	}
	text[0].Close()
	a.files = files
	return state, a, nil
}

func take(box *os.File) (b []byte, files []*os.File, err error) {
	raw, err := box.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	buf, oob := make([]byte, 16), make([]byte, syscall.CmsgSpace(4*253))
	var n, on, flags int
	var rerr error
	err = raw.Control(func(fd uintptr) {
		n, on, flags, _, rerr = syscall.Recvmsg(int(fd), buf, oob, syscall.MSG_CMSG_CLOEXEC|syscall.MSG_DONTWAIT)
	})
	if err := errors.Join(err, os.NewSyscallError("recvmsg", rerr)); err != nil {
		return nil, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	switch {
	case n == 0:
		return nil, files, io.ErrUnexpectedEOF
	case flags&(syscall.MSG_CTRUNC|syscall.MSG_TRUNC) != 0:
		return nil, files, errors.New("a message of it was cut off")
	}
	return buf[:n], files, nil
}

// readSealed reads what nobody can change any more.
func readSealed(f *os.File) ([]byte, error) {
	if !sys.Sealed(int(f.Fd())) {
		return nil, errors.New("its state is no sealed memory")
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > MostState {
		return nil, fmt.Errorf("its state has %d bytes", st.Size())
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return b, nil
}
