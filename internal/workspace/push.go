package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Push sends what was queued and what is new or changed in the folder, and
// returns what was sent. After an error the rest is sent by the next Push.
func (m *Mirror) Push(ctx context.Context, w Writer) ([]Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skipped = nil
	p := push{Mirror: m, ctx: ctx, w: w, seen: map[string]*Entry{}}
	err := p.sendQueue()
	if err == nil && m.folder != nil {
		err = p.sendFolder()
	}
	m.host.amend(p.seen)
	if len(p.sent) > 0 || p.madeDirs {
		// What was written by us is no change of the code's; what the code did
		// meanwhile to other files still is one.
		err = errors.Join(err, m.adopt(p.sent))
	}
	return p.sent, err
}

// push is one Push under way.
type push struct {
	*Mirror
	ctx      context.Context
	w        Writer
	sent     []Upload
	seen     map[string]*Entry // of the folder, for Mirror.host
	madeDirs bool
}

func (p *push) sendQueue() error {
	if err := p.mkdirs(p.dirs); err != nil {
		return err
	}
	p.dirs = nil
	for len(p.queue) > 0 {
		if _, err := p.send(p.queue[0]); err != nil {
			return err
		}
		p.queue = p.queue[1:]
	}
	p.queue = nil
	return nil
}

func (p *push) sendFolder() error {
	now, err := p.folder.Snapshot(p.limits)
	if err != nil {
		return err
	}
	p.skipped = append(p.skipped, now.Unread...)
	p.skipOthers(now, p.host)
	p.tidy(now)
	fresh, _ := diffDirs(p.host, now)
	if err := p.mkdirs(fresh); err != nil {
		return err
	}
	for _, u := range p.folder.Plan(now, p.host) {
		if u.Size > p.limits.FileBytes {
			p.skipped = append(p.skipped, Skipped{u.Path, whyFileSize(u.Size, p.limits.FileBytes), false})
			continue
		}
		sent, err := p.send(u)
		if err != nil {
			return err
		}
		if sent != nil {
			p.seen[u.Path] = sent
		}
	}
	// What is gone from the folder is forgotten, so that it is new when it
	// comes back.
	for _, e := range p.host.Files {
		if _, ok := now.find(e.Path); !ok && !now.unknown(e.Path) {
			p.seen[e.Path] = nil
		}
	}
	p.host.Dirs, p.host.Others = now.Dirs, now.Others
	return nil
}

func (p *push) mkdirs(dirs []string) error {
	for _, dir := range dirs {
		if err := p.w.MkdirAll(p.ctx, dir); err != nil {
			return fmt.Errorf("cannot make the directory %s in the workspace: %w", Quote(dir), err)
		}
		p.madeDirs = true
	}
	return nil
}

// send uploads one file and returns the version that was sent, or nil when the
// file could not be read or changed meanwhile: the next Push tries again.
func (p *push) send(u Upload) (*Entry, error) {
	f, err := u.Open()
	if err != nil {
		why, _, again := whyOpen(err)
		p.skipped = append(p.skipped, Skipped{u.Path, why, again})
		return nil, nil
	}
	defer f.Close()
	src := &wholeReader{f: f}
	err = p.w.WriteFile(p.ctx, u.Path, uploadMode(f.Mode), f.Size, src)
	if src.short {
		p.skipped = append(p.skipped, Skipped{u.Path, "it shrank while it was read", true})
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s into the workspace: %w", Quote(u.Path), err)
	}
	u.Size = f.Size
	p.sent = append(p.sent, u)
	if f.Changed() {
		return nil, nil
	}
	return &f.Entry, nil
}

// wholeReader turns an early end of a file into an error.
type wholeReader struct {
	f     *File
	short bool
}

func (r *wholeReader) Read(b []byte) (int, error) {
	n, err := r.f.Read(b)
	if err == io.EOF && r.f.off < r.f.Size {
		r.short = true
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// adopt takes the files that Push wrote, as they are now, for known.
func (m *Mirror) adopt(sent []Upload) error {
	start := time.Now()
	now, err := m.work.Snapshot(m.limits)
	if err != nil {
		return err
	}
	set := make(map[string]*Entry, len(sent))
	for _, u := range sent {
		set[u.Path] = nil
		if e, ok := now.find(u.Path); ok {
			set[u.Path] = &e
		}
		delete(m.retry, u.Path)
	}
	m.before.amend(set)
	m.before.Dirs = union(m.before.Dirs, now.Dirs)
	m.noteRecent(set, start)
	return nil
}

// tidy removes, once, what a process that died while it copied left behind.
func (m *Mirror) tidy(now Snapshot) {
	if m.tidied {
		return
	}
	m.tidied = true
	old := time.Now().Add(-10 * time.Minute).UnixNano()
	for _, e := range now.Files {
		if !isReserved(e.Path) || e.Ctime > old {
			continue
		}
		c := newCopier(nil, m.folder, m.limits)
		_ = c.remove(e.Path)
		c.close()
	}
}
