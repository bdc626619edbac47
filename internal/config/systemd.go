package config

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// firstPassed is the descriptor at which systemd's begin: sd_listen_fds(3).
const firstPassed = 3

// PassedSockets are the listeners that a socket unit holds for this process.
func PassedSockets() ([]net.Listener, error) {
	defer os.Unsetenv("LISTEN_FDS")
	defer os.Unsetenv("LISTEN_PID")
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("LISTEN_FDS is %q", os.Getenv("LISTEN_FDS"))
	}
	var list []net.Listener
	for fd := firstPassed; fd < firstPassed+n; fd++ {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return list, fmt.Errorf("descriptor %d is no listening socket: %w", fd, err)
		}
		if _, ok := l.(*net.UnixListener); !ok {
			l.Close()
			return list, fmt.Errorf("descriptor %d is no Unix socket: for TCP, use listen, which has tokens and TLS", fd)
		}
		list = append(list, l)
	}
	return list, nil
}

// ExtendTimeout asks for ten minutes to start: a root is built first.
const ExtendTimeout = "EXTEND_TIMEOUT_USEC=600000000"

// Notify tells who started this service how it is: sd_notify(3). Where nobody
// wants to know, or does not listen any more, nothing happens.
func Notify(lines ...string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(strings.Join(lines, "\n")))
}

// Watchdog says at the pace that systemd asks for that the service lives.
func Watchdog(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	usec, err := strconv.Atoi(os.Getenv("WATCHDOG_USEC"))
	if err != nil || usec <= 0 {
		return &wg
	}
	every := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	wg.Go(func() {
		defer every.Stop()
		for {
			select {
			case <-every.C:
				Notify("WATCHDOG=1")
			case <-ctx.Done():
				return
			}
		}
	})
	return &wg
}

// RenewOnHangup renews what new sessions are made from for each SIGHUP, until ctx
// ends.
func RenewOnHangup(ctx context.Context, renew func(context.Context) error, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			began := time.Now()
			if err := renew(ctx); err != nil {
				log.Error("cannot renew the root and the template: sessions go on with what is there", "error", err)
				continue
			}
			log.Info("renewed", "seconds", time.Since(began).Seconds())
		case <-ctx.Done():
			return
		}
	}
}
