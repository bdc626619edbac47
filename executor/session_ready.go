package executor

import (
	"context"
	"time"
)

// dyingTime is how long after a failure in it a dying cell may take to be known as
// one that has ended.
const dyingTime = 500 * time.Millisecond

// ready makes sure that the session has a cell with a checked REPL in it.
// lost says that it had one that has ended since the last execution.
func (s *Session) ready(ctx context.Context, dirs []Dir) (lost bool, err error) {
	s.forgetDead(s.cell)
	lost, s.lost = s.lost, false
	for again := false; ; again = true {
		if s.cell == nil {
			if err := s.startCell(ctx, dirs); err != nil {
				s.endCell()
				return lost, err
			}
		}
		if s.conn != nil {
			return lost, nil
		}
		if err := s.startREPL(ctx); err != nil {
			died := !s.isOver() && s.cellDies(ctx)
			if s.isOver() {
				err = ErrClosed // which is why it failed
			} else if died && !again {
				s.endCell() // as if it had died before
				continue
			}
			s.discard(err)
			return lost, err
		}
	}
}

// cellDies says whether the cell in which no REPL could be started has ended: a
// dying one gives all kinds of errors before that is told.
func (s *Session) cellDies(ctx context.Context) bool {
	wait := time.NewTimer(dyingTime)
	defer wait.Stop()
	select {
	case <-s.cell.Ended():
		return true
	case <-ctx.Done():
	case <-wait.C:
	}
	return false
}

// isOver says whether the session was closed, or the one that it is a context of.
func (s *Session) isOver() bool {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	return closed || s.of != nil && s.of.isOver()
}

// cellIsOver says that the session was closed whose cell this one runs in.
func (s *Session) cellIsOver() bool {
	if s.of != nil {
		s = s.of
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
