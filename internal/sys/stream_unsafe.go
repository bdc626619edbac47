package sys

import (
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// DupBlocking duplicates a socket's descriptor into a file that Go's poller does
// not know.
func DupBlocking(f *os.File) (file *os.File, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	shut := raw.Control(func(fd uintptr) {
		var dup uintptr
		if dup, err = call("fcntl", syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		// What the kernel is told not to wait for goes by the call: see below. A
		// file that does not wait by itself would be given to the poller.
		if err = syscall.SetNonblock(int(dup), false); err != nil {
			syscall.Close(int(dup))
			return
		}
		file = os.NewFile(dup, f.Name())
	})
	if shut != nil {
		return nil, shut
	}
	return file, err
}

// RecvWithin receives from a stream socket, for whose data the calling thread waits
// as long as patience. Then the error is os.ErrDeadlineExceeded; at the end it is
// io.EOF.
func RecvWithin(fd int, b []byte, patience time.Duration) (int, error) {
	const pollIn = 1
	end := time.Now().Add(patience)
	for {
		p := struct {
			fd              int32
			events, revents int16
		}{int32(fd), pollIn, 0}
		wait := syscall.NsecToTimespec(max(int64(time.Until(end)), 0))
		ready, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return 0, os.NewSyscallError("ppoll", errno)
		case ready == 0:
			return 0, os.ErrDeadlineExceeded
		}
		n, again, err := recvNow(fd, b, 0)
		if !again {
			return n, err
		}
	}
}

// SendNow sends what a stream socket takes without waiting, perhaps nothing.
func SendNow(fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, os.NewSyscallError("sendto", errno)
		}
	}
}

// RecvNow receives what has arrived at a stream socket; again says that it is
// nothing. At the end the error is io.EOF.
func RecvNow(fd int, b []byte) (n int, again bool, err error) {
	return recvNow(fd, b, 0)
}

// PeerGone says whether the other end of a stream socket is gone. While nothing has
// arrived that is not known; what has arrived and was not received hides it.
func PeerGone(fd int) (gone, known bool) {
	var b [1]byte
	_, again, err := recvNow(fd, b[:], syscall.MSG_PEEK)
	return err != nil, !again
}

func recvNow(fd int, b []byte, flags uintptr) (n int, again bool, err error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|flags, 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return 0, true, nil
		case errno != 0:
			return 0, false, os.NewSyscallError("recvfrom", errno)
		case n == 0 && len(b) > 0:
			return 0, false, io.EOF
		}
		return int(n), false, nil
	}
}
