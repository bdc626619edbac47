package config

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// ExtendTimeout asks for ten minutes to start: a root is built first.
const ExtendTimeout = "EXTEND_TIMEOUT_USEC=600000000"

// Notify tells who started this service how it is: sd_notify(3). Where nobody
// wants to know, or does not listen any more, nothing happens.
func Notify(lines ...string) { _ = tell(nil, lines...) }

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
