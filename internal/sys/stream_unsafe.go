package sys

import (
	"io"
	"os"
	"runtime"
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

// hold is how long a thread waits at a time without telling Go's scheduler, which can
// run nothing else in its place then.
const hold = 200 * time.Microsecond

// holders is who waits so, fewer than there are places to run at: the others go on.
var holders = make(chan struct{}, max(runtime.GOMAXPROCS(0)-1, 0))

// RecvWithin receives from a stream socket, for whose data the calling thread waits
// as long as patience. Then the error is os.ErrDeadlineExceeded; at the end it is
// io.EOF.
func RecvWithin(fd int, b []byte, patience time.Duration) (int, error) {
	end := time.Now().Add(patience)
	select {
	case holders <- struct{}{}:
		_, err := readable(fd, min(patience, hold), true)
		<-holders
		if err != nil {
			return 0, err
		}
	default:
	}
	for {
		n, again, err := recvNow(fd, b, 0)
		if !again {
			return n, err
		}
		there, err := readable(fd, time.Until(end), false)
		if err == nil && !there {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return 0, err
		}
	}
}

// readable waits until there is something to receive or patience is over, and says
// which. Go's scheduler is told, unless it is held.
func readable(fd int, patience time.Duration, held bool) (there bool, err error) {
	const pollIn = 1
	p := struct {
		fd              int32
		events, revents int16
	}{int32(fd), pollIn, 0}
	wait := syscall.NsecToTimespec(max(int64(patience), 0))
	for {
		var ready uintptr
		var errno syscall.Errno
		if held {
			ready, _, errno = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
		} else {
			ready, _, errno = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&wait)), 0, 0, 0)
		}
		// Interrupted, the system call leaves in wait what is left of it.
		if errno == 0 {
			return ready > 0, nil
		} else if errno != syscall.EINTR {
			return false, os.NewSyscallError("ppoll", errno)
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
