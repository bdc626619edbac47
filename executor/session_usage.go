package executor

import "time"

// SessionUsage is what a session holds now.
type SessionUsage struct {
	MemoryBytes int64         // charged to its group, kernel objects included
	Processes   int64         // processes and threads, its PID 1 among them
	CPU         time.Duration // since its cell was built
}

// Usage reads the figures of the session's group; zero without the layer.
func (s *Session) Usage() (SessionUsage, error) {
	s.mu.Lock()
	cell := s.living
	s.mu.Unlock()
	if cell == nil || cell.Group() == nil {
		return SessionUsage{}, nil
	}
	st, err := cell.Group().Stats()
	return SessionUsage{st.Memory, st.PIDs, st.CPU}, err
}
