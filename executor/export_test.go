package executor

// TemplatePID is the template's process, 0 when there is none.
func (e *Executor) TemplatePID() int {
	e.keeper.mu.Lock()
	defer e.keeper.mu.Unlock()
	if e.keeper.keeper == nil {
		return 0
	}
	return e.keeper.keeper.PID()
}
