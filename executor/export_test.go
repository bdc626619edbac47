package executor

// TemplatePID is the template's process, 0 when there is none.
func (e *Executor) TemplatePID() int {
	g, _ := e.grounds.get()
	if g == nil || g.keeper == nil {
		return 0
	}
	return g.keeper.PID()
}

// REPLPID is the session's Python on the host, 0 when there is none.
func (s *Session) REPLPID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.PID
}
