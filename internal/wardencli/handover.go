package wardencli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/cellblock/cellblock/internal/config"
	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/internal/warden"
)

// storeName is what systemd keeps the box of sessions under.
const storeName = "cellblock-sessions"

// before is what the warden before this one has handed over.
type before struct {
	state []byte
	a     *handover.Arrived
}

// unpack empties the box. From then on the sessions end with this process: what systemd
// still has of it is a socket with nothing in it. nil: there was none, or nothing can be
// had from it.
func unpack(boxes []*os.File, log *slog.Logger) *before {
	var found *before
	for i, box := range boxes {
		if i == 0 {
			state, a, err := handover.Unpack(box)
			if err != nil {
				log.Error("sessions of the warden before are lost", "error", err)
			} else {
				found = &before{state, a}
			}
		}
		box.Close()
	}
	if len(boxes) > 1 {
		log.Error("sessions of a warden before are lost", "error", fmt.Sprintf("%d boxes were stored, and only one is taken", len(boxes)))
	}
	if len(boxes) > 0 {
		if err := config.Unstore(storeName); err != nil {
			log.Warn("an empty box stays in systemd's store", "error", err)
		}
	}
	return found
}

// takeOver is not given up when this process is told to end: then it hands them over.
func (b *before) takeOver(server *warden.Server) {
	config.Notify("STATUS=Taking over sessions")
	server.TakeOver(context.Background(), b.state, b.a)
}

// handOver has systemd keep the sessions for the next warden, and says whether it does:
// then this process has only to end. Where the unit is stopped and not restarted,
// systemd lets go of them, and they end.
func handOver(server *warden.Server, l *net.UnixListener, patience time.Duration, log *slog.Logger) bool {
	most := patience + warden.HandOverTime
	config.Notify("STOPPING=1", "STATUS=Handing sessions over", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", most.Microseconds()))
	box, undo, err := server.HandOver(l, patience)
	if box != nil {
		defer box.Close()
		if err = config.Store(storeName, box); err == nil {
			return true
		}
		err = errors.Join(err, config.Unstore(storeName))
	}
	if err != nil {
		log.Error("sessions end with this warden, and are not handed over", "error", err)
	}
	undo()
	return false
}
