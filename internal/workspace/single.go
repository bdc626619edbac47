package workspace

import (
	"context"
	"fmt"
)

// Put writes one file into the workspace, and not into the folder: it is no
// change of the code's.
func (m *Mirror) Put(ctx context.Context, w Writer, u Upload) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.Size > m.limits.FileBytes {
		return fmt.Errorf("cannot take %s: %w: %s", Quote(u.Path), ErrTooLarge, whyFileSize(u.Size, m.limits.FileBytes))
	}
	m.skipped = nil
	p := push{Mirror: m, ctx: ctx, w: w}
	if _, err := p.send(u); err != nil {
		return err
	}
	if len(p.sent) == 0 {
		return fmt.Errorf("cannot take %s: %s", Quote(u.Path), m.skipped[0].Why)
	}
	return m.adopt(p.sent)
}

// Delete removes one file or empty directory from the workspace, and not from
// the folder: it is no change of the code's.
func (m *Mirror) Delete(ctx context.Context, w Writer, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := w.Remove(ctx, path); err != nil {
		return err
	}
	m.before.amend(map[string]*Entry{path: nil})
	m.before.Dirs = without(m.before.Dirs, []string{path})
	delete(m.retry, path)
	return nil
}
