package executor

// TemplatePID is the template's process, 0 when there is none.
func (e *Executor) TemplatePID() int {
	g, _ := e.grounds.get()
	if g == nil || g.keeper == nil {
		return 0
	}
	return g.keeper.PID()
}
