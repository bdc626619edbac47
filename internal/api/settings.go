package api

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// Settings are what a Server is made from. A zero field means the default
// beside it.
type Settings struct {
	// Engine keeps the sessions; it is closed by Shutdown. Defaults are what those
	// have that ask for nothing else: New takes them from the Engine.
	Engine   warden.Engine
	Defaults executor.Limits
	// Version is told by openapi.json.
	Version string
	// Log gets what happens; nil: nothing.
	Log *slog.Logger

	// Groups are the ids of groups whose members may call over a Unix socket,
	// beside root and the service's own user.
	Groups []int
	// Tokens are who may call over TCP.
	Tokens *Tokens
	// Hosts are what a request over TCP may name in Host.
	Hosts []string

	// Quota is what each owner may have at once: 64 sessions, all memory that
	// there is for sessions, 64 executions.
	Quota Quota
	// Sessions is how many there may be in all; 512.
	Sessions int
	// MemoryBytes bounds the sum of the sessions' memory limits; three quarters
	// of the machine's memory.
	MemoryBytes int64
	// Starting is how many cells are built at once; 2 for each CPU. StartWait is
	// how long another waits for its turn; 10 s.
	Starting  int
	StartWait time.Duration
	// Queue is how many executions of one session may wait; 64.
	Queue int
	// Idle is how long a session lives without being used; 30 min.
	Idle time.Duration
	// MaxTimeout is the longest that an execution may ask for; 1 h.
	MaxTimeout time.Duration
	// MaxBody bounds the body of a request in JSON; 32 MiB. Files that are
	// uploaded are bounded by their workspace.
	MaxBody int64
	// KeepAlive is how often a stream that is silent says that it lives; 15 s.
	KeepAlive time.Duration
	// Connections is how many there may be at once; 1024.
	Connections int
	// Spool is a directory for uploads on their way; "": the temporary one.
	Spool string
	// SpoolBytes is what they may take there together, of which one caller may
	// have a quarter; 2 GiB, or 8 workspaces.
	SpoolBytes int64
}

func (s Settings) withDefaults() Settings {
	fallback(&s.Sessions, warden.DefaultSessions)
	fallback(&s.MemoryBytes, warden.DefaultMemory())
	fallback(&s.Quota.Sessions, 64)
	fallback(&s.Quota.MemoryBytes, s.MemoryBytes)
	fallback(&s.Quota.Executions, 64)
	fallback(&s.Starting, 2*cpus())
	fallback(&s.StartWait, 10*time.Second)
	fallback(&s.Queue, 64)
	fallback(&s.Idle, 30*time.Minute)
	fallback(&s.MaxTimeout, time.Hour)
	fallback(&s.MaxBody, 32<<20)
	fallback(&s.KeepAlive, 15*time.Second)
	fallback(&s.Connections, 1024)
	fallback(&s.SpoolBytes, max(2<<30, 2*share*s.workspace()))
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

// workspace is the size of one whose session names none.
func (s Settings) workspace() int64 {
	return cmp.Or(s.Defaults.WorkspaceBytes, executor.DefaultWorkspaceBytes)
}

// Check says what New would object to.
func (s Settings) Check() error {
	s = s.withDefaults()
	bad := func(what, why string) error { return &executor.InvalidError{What: "setting", Got: what, Why: why} }
	switch memory := int64(s.Defaults.MaxMemoryMB) << 20; {
	case s.Quota.MemoryBytes > s.MemoryBytes:
		return bad("quota of memory", "it is above that of the whole service")
	case memory > s.Quota.MemoryBytes:
		return bad("memory", "one session would have more than the quota of one caller")
	case s.SpoolBytes/share < s.workspace():
		return bad("spool size", "a quarter of it, which one caller may have, is less than a workspace")
	case s.Defaults.Timeout > s.MaxTimeout:
		return bad("timeout", "it is above the longest that may be asked for")
	}
	return nil
}

func fallback[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
