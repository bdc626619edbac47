package api

import (
	"context"
	"time"
)

// adopt takes over the sessions that a process before this one has made: those of
// /v1 go on, with what runs in them; those of protocols whose state is gone end.
func (s *Server) adopt(ctx context.Context) error {
	found, err := s.engine.Found(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		x := &session{
			id: f.Spec.ID, owner: s.keeper.of(f.Spec.Owner), root: f.Spec.Root, asked: f.Spec.Preload, session: f.Session,
			memory: int64(f.Session.Limits().MaxMemoryMB) << 20, created: f.Spec.Created, executions: f.Status.Executions, lost: !f.Status.Alive,
		}
		if f.Spec.Kind != "" || !s.keeper.adopt(x, f.Status.Used) {
			if err := f.Session.Close(); err != nil {
				s.settings.Log.Error("a cell did not end cleanly", "owner", f.Spec.Owner, "session", f.Spec.ID, "error", err)
			}
			continue
		}
		s.settings.Log.Info("session taken over", "owner", f.Spec.Owner, "session", f.Spec.ID, "running", f.Status.Running)
		if f.Status.Running > 0 {
			leave := s.keeper.still(x)
			s.idle.Go(func() { s.await(x, leave) })
		}
	}
	return nil
}

// await waits for what runs in a session that was taken over.
func (s *Server) await(x *session, leave func()) {
	defer leave()
	r, err := x.session.Result(s.life)
	switch {
	case err == nil:
		s.keeper.count(x.owner, x, &r)
	case s.life.Err() == nil:
		s.settings.Log.Warn("what ran in a session that was taken over has no result", "owner", x.owner.name, "session", x.id, "error", err)
	}
}

// adopt lets an owner have a session, whatever its quota is now; false where it has
// one of that id.
func (k *keeper) adopt(x *session, used time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := x.owner
	if o.sessions[x.id] != nil {
		return false
	}
	x.used = used
	o.sessions[x.id] = x
	o.memory += x.memory
	k.sessions++
	k.memory += x.memory
	return true
}

// still notes that something runs in a session already.
func (k *keeper) still(x *session) (leave func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	x.owner.running++
	x.running++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		x.owner.running--
		x.running--
		x.used = time.Now()
	}
}
