package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// storeTime bounds how long systemd may take for what it is told.
const storeTime = 10 * time.Second

// CanStore says whether who started this process keeps descriptors for the one that
// comes after it: systemd from version 254 on, where the unit asks for it
// (FileDescriptorStoreMax=). Before that it keeps some, and does not say so.
func CanStore() bool {
	n, err := strconv.Atoi(os.Getenv("FDSTORE"))
	return err == nil && n > 0 && os.Getenv("NOTIFY_SOCKET") != ""
}

// Store has systemd keep a descriptor under a name, and returns when it has it: it is
// there for the next start of a unit that is restarted, and closed where the unit is
// stopped.
func Store(name string, f *os.File) error {
	if err := tell(f, "FDSTORE=1", "FDNAME="+name, "FDPOLL=0"); err != nil {
		return fmt.Errorf("cannot store a descriptor with systemd: %w", err)
	}
	return settle()
}

// Unstore has systemd close what it keeps under a name, and returns when it has.
func Unstore(name string) error {
	if err := tell(nil, "FDSTOREREMOVE=1", "FDNAME="+name); err != nil {
		return fmt.Errorf("cannot take a descriptor from systemd's store: %w", err)
	}
	return settle()
}

// settle waits until systemd has read all that it was told: sd_notify_barrier(3).
func settle() error {
	r, w, err := sys.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = tell(w, "BARRIER=1")
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot wait for systemd: %w", err)
	}
	r.SetReadDeadline(time.Now().Add(storeTime))
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("systemd has not taken note within %s", storeTime)
	}
	return nil
}

// tell is Notify with a descriptor (nil: none), and with its errors.
func tell(f *os.File, lines ...string) error {
	c, err := notifySocket()
	if err != nil {
		return err
	}
	defer c.Close()
	message := []byte(strings.Join(lines, "\n"))
	if f == nil {
		_, err = c.Write(message)
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	to, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent, waited error
	err = raw.Control(func(fd uintptr) {
		rights := syscall.UnixRights(int(fd))
		waited = to.Write(func(socket uintptr) bool {
			sent = os.NewSyscallError("sendmsg", syscall.Sendmsg(int(socket), message, rights, nil, syscall.MSG_NOSIGNAL))
			return !errors.Is(sent, syscall.EAGAIN)
		})
	})
	return errors.Join(err, waited, sent)
}

// notifySocket connects to who started this process.
func notifySocket() (*net.UnixConn, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, errors.New("nobody wants to be told: NOTIFY_SOCKET is not set")
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	return net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
}
