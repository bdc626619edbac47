package warden

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/foreign"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

// Server lets one other process use an Engine: the warden's side of the socket.
type Server struct {
	engine  *Local
	uids    []int
	version string
	log     *slog.Logger

	ready   chan struct{} // closed when cells can be built
	life    context.Context
	end     context.CancelFunc // of all calls
	calls   chan struct{}      // holds a token for each connection
	refused chan struct{}      // and one for each that was refused and is not closed

	room        *room // for large messages
	descriptors *descriptors

	mu       sync.Mutex
	sessions map[string]*held // by handle
	holder   bool             // an asker holds the sessions
	holders  int              // that there have been
	asker    string           // the name of the process that does, or last did
	freed    chan struct{}    // closed when it lets go
	conns    map[*conn]bool
	ended    bool
	serving  sync.WaitGroup
	under    int               // calls under way
	waiting  map[*pending]bool // those of them that only wait
	leaving  bool              // see HandOver
	quiet    chan struct{}     // closed when no call is under way any more
}

// held is a session with what the socket knows it by.
type held struct {
	handle string
	*local

	mu       sync.Mutex
	contexts map[string]contextOf
}

// mostConns bounds what one asker can have this process keep open.
const mostConns = 4096

// mostRefused is how many connections that were refused may wait to be closed.
const mostRefused = 64

// NewServer makes one. Only processes of these users may ask; version is told to
// them.
func NewServer(engine *Local, uids []int, version string, log *slog.Logger) *Server {
	s := &Server{
		engine: engine, uids: uids, version: version, log: log, ready: make(chan struct{}), calls: make(chan struct{}, min(mostConns, shareOfFiles())), room: newRoom(),
		refused: make(chan struct{}, mostRefused), descriptors: newDescriptors(),
		sessions: map[string]*held{}, conns: map[*conn]bool{}, waiting: map[*pending]bool{},
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Warm proves that cells can be built. Until then who asks has to wait.
func (s *Server) Warm(ctx context.Context) error {
	if err := s.engine.Ready(ctx); err != nil {
		return err
	}
	close(s.ready)
	return nil
}

// Serve takes connections until Close.
func (s *Server) Serve(l *net.UnixListener) error {
	for {
		socket, err := l.AcceptUnix()
		if err != nil {
			if s.isOver() {
				return nil
			}
			if isShortage(err) {
				s.log.Error("cannot take a connection: sessions go on, and it is tried again", "error", err)
				s.pause()
				continue
			}
			return fmt.Errorf("cannot take connections: %w", err)
		}
		select {
		case s.calls <- struct{}{}:
		default:
			s.log.Warn("a connection was refused: there are too many", "connections", cap(s.calls))
			select {
			case s.refused <- struct{}{}:
				end(socket, s.refused)
			case <-s.life.Done():
				return nil
			}
			continue
		}
		c := newConn(socket)
		c.room, c.descriptors = s.room, s.descriptors
		if !s.add(c) {
			c.close()
			return nil
		}
		s.serving.Go(func() {
			s.serve(c)
			s.remove(c)
		})
	}
}

// end closes a connection, whose token is free when that is done. The other side sees
// the end at once; to close it can take as long as to close what it sent and nobody
// took.
func end(socket *net.UnixConn, tokens chan struct{}) {
	_ = errors.Join(socket.CloseRead(), socket.CloseWrite()) // the other side may have
	foreign.Later(func() {
		socket.Close()
		<-tokens
	})
}

// isOver says that no connections are taken any more.
func (s *Server) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving || s.life.Err() != nil
}

// isShortage says of an error of accept(2) that it passes.
func isShortage(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED},
		func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// pause waits for a shortage to pass: nothing tells when it does.
func (s *Server) pause() {
	wait := time.NewTimer(100 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-s.life.Done():
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.drop()
	end(c.socket, s.calls)
}

// Close ends all sessions and connections.
func (s *Server) Close(l *net.UnixListener) error {
	s.mu.Lock()
	s.ended = true
	var sessions []*held
	for _, h := range s.sessions {
		sessions = append(sessions, h)
	}
	s.mu.Unlock()
	s.end() // also what waits for the first root
	l.Close()
	errs := make([]error, len(sessions))
	var ending sync.WaitGroup
	for i, h := range sessions {
		ending.Go(func() { errs[i] = h.Close() })
	}
	ending.Wait()
	s.mu.Lock()
	for c := range s.conns {
		_ = errors.Join(c.socket.CloseRead(), c.socket.CloseWrite()) // it may have ended
	}
	s.mu.Unlock()
	s.serving.Wait()
	return errors.Join(append(errs, s.engine.Close())...)
}

// serve answers the calls of one connection.
func (s *Server) serve(c *conn) {
	if err := s.admit(c); err != nil {
		s.log.Warn("a process was refused", "error", err)
		_ = c.sendJSON(frameFailure, failureOf(err)) // it may be gone, or not listen
		return
	}
	for {
		f, given, err := s.next(c)
		switch {
		case errors.Is(err, errNoRoom):
			err = c.sendJSON(frameFailure, failureOf(err))
		case errors.Is(err, errNoDescriptors):
			_ = c.sendJSON(frameFailure, failureOf(err)) // and no more: what has come cannot be taken
		case err != nil:
		case f.kind == frameCall:
			err = s.answer(c, f.bytes, given)
		case f.kind != frameCancel: // of a call that has ended meanwhile
			err = fmt.Errorf("a message of kind %d is no call", f.kind)
		}
		frame{files: given}.close()
		c.release()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.log.Warn("a connection was given up", "error", err)
			}
			return
		}
		if s.life.Err() != nil {
			return
		}
	}
}

// next receives a call, with the descriptors that came before it and are to be closed
// whatever the error. Once the first is here, the call must follow.
func (s *Server) next(c *conn) (f frame, given []descriptor, err error) {
	for {
		if f, err = c.receive(); err != nil || f.kind != frameGiven {
			break
		}
		if given == nil {
			c.socket.SetReadDeadline(time.Now().Add(patience))
		}
		given = append(given, f.files...)
		if len(given) > maxGiven {
			return f, given, fmt.Errorf("more than %d files came with a call", maxGiven)
		}
	}
	if given != nil {
		c.socket.SetReadDeadline(never)
	}
	f.close()
	return f, given, err
}

// admit says whether the process at the other end may ask, by the kernel's word.
func (s *Server) admit(c *conn) error {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return err
	}
	uid := -1
	shut := raw.Control(func(fd uintptr) { uid, _, err = sys.Peer(int(fd)) })
	if err = errors.Join(shut, err); err != nil {
		return err
	}
	if !slices.Contains(s.uids, uid) && !weaken.Layer("warden-asker") {
		return fmt.Errorf("uid %d may not ask the warden", uid)
	}
	return nil
}

// nobody is the number of no holder.
const nobody = -1

// pending is a call under way.
type pending struct {
	call
	holder int // which of the holders it is of
	conn   *conn
	given  []descriptor
	ctx    context.Context
	cancel context.CancelFunc
	undo   func() error // of what nobody was told of; nil: nothing
}

// answer runs one call. The error is that of the connection.
func (s *Server) answer(c *conn, text []byte, given []descriptor) (err error) {
	p := &pending{conn: c, given: given}
	defer func() {
		if err != nil && p.undo != nil {
			if err := p.undo(); err != nil {
				s.log.Error("what nobody was told of did not end cleanly", "method", p.Method, "error", err)
			}
		}
	}()
	p.ctx, p.cancel = context.WithCancel(s.life)
	defer p.cancel()
	v, err := any(nil), strictly(text, &p.call)
	s.mu.Lock()
	p.holder = s.holders
	if p.Asker != "" && p.Asker != s.asker {
		p.holder = nobody // it was sent by who is gone, and is read only now
	}
	s.mu.Unlock()
	if err == nil && len(given) > 0 && !methods[p.Method].files {
		err = &executor.InvalidError{What: "call", Got: shorten(p.Method), Why: "no files come with it"}
	}
	if err == nil && !s.enter(p) {
		err = errLeaving
	}
	if err == nil {
		stop := p.listen()
		v, err = s.run(p)
		err = s.told(err)
		defer s.exit(p) // when the answer is sent
		if lost := stop(); lost != nil {
			return lost
		}
	}
	if err != nil {
		f := failureOf(err)
		if f.Class == classOther {
			s.log.Error("a call failed", "method", p.Method, "error", err)
		}
		return c.sendJSON(frameFailure, f)
	}
	return c.sendAnswer(v)
}

// run is the call's own part. A panic is a fault of ours: the call fails, the
// warden goes on.
func (s *Server) run(p *pending) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("BUG: a call panicked", "method", p.Method, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errors.New("the warden failed; its log says more")
		}
	}()
	m, known := methods[p.Method]
	if !known {
		return nil, &executor.InvalidError{What: "call", Got: shorten(p.Method), Why: "there is no such method"}
	}
	// Sessions that were taken over are there before that.
	if m.needs && !p.Again {
		select {
		case <-s.ready:
		case <-p.ctx.Done():
			return nil, p.ctx.Err()
		}
	}
	return m.do(s, p)
}

// find is the session that a call names.
func (s *Server) find(p *pending) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.sessions[p.Session]
	if h == nil {
		return nil, executor.ErrClosed
	}
	return h, nil
}

// repl is what a call runs code in.
func (s *Server) repl(p *pending) (REPL, error) {
	h, err := s.find(p)
	if err != nil || p.Context == "" {
		return h, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, known := h.contexts[p.Context]
	if !known {
		return nil, executor.ErrClosed
	}
	return c, nil
}

func newHandle() string { return strings.ToLower(rand.Text()) }
