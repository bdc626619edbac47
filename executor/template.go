package executor

import "context"

// Warm starts the template ahead of the first session, so that a module that
// cannot be imported (*PreloadError) is known by now. Without Config.Template
// it does nothing.
func (e *Executor) Warm(ctx context.Context) error {
	if !e.cfg.Template {
		return nil
	}
	g, err := e.current(ctx)
	if err != nil {
		return err
	}
	return g.keeper.Ready(ctx)
}

// TemplateUsage reads what the template, and what builds cells beside it, hold
// now; zero without Config.Template or before the first session.
func (e *Executor) TemplateUsage() (SessionUsage, error) {
	g, err := e.grounds.get()
	if g == nil || g.keeper == nil {
		return SessionUsage{}, err
	}
	st, err := g.keeper.Usage()
	return SessionUsage{st.Memory, st.PIDs, st.CPU}, err
}
