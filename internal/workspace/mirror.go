package workspace

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Mirror keeps a workspace and a folder of the host alike around executions:
// Push before, Pull after. It remembers both sides, so that what has not
// changed is not copied again.
//
//   - A file that is new or changed in the folder is sent by the next Push; it
//     replaces the workspace's.
//   - A file that the code created or changed is in the folder after Pull; it
//     replaces the folder's, and a symbolic link that bore its name.
//   - A file that the code deleted is deleted in the folder, unless the folder's
//     was changed since the mirror last saw it.
//   - A file that is deleted in the folder stays in the workspace.
//   - Directories follow the code; one that still holds something of the host
//     stays. Links, FIFOs, sockets and devices cross in neither direction.
//
// A Mirror is safe for concurrent use, but a folder must have one Mirror at a
// time. Without a folder, Pull only reports.
type Mirror struct {
	work, folder *Dir
	limits       Limits

	mu      sync.Mutex
	before  Snapshot         // the workspace, as last reported
	host    Snapshot         // the folder's files whose content the workspace has (had)
	placed  map[string]Entry // sources of Place, by name in the workspace
	queue   []Upload
	dirs    []string          // to be made with the queue
	retry   map[string]bool   // paths of the workspace that the folder still lacks
	recent  map[string]uint64 // see recent.go
	tidied  bool
	skipped []Skipped
}

// NewMirror makes a mirror of work and folder; folder may be nil. Both stay the
// caller's to close. What the workspace holds already is taken for known.
func NewMirror(work, folder *Dir, l Limits) (*Mirror, error) {
	before, err := work.Snapshot(l)
	if err != nil {
		return nil, err
	}
	return &Mirror{
		work: work, folder: folder, limits: l.withDefaults(), before: before,
		placed: map[string]Entry{}, retry: map[string]bool{}, recent: map[string]uint64{},
	}, nil
}

// Skipped is what the last Place, Push or Pull left out.
func (m *Mirror) Skipped() []Skipped {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.skipped)
}

// Place makes a file of the host an input named name: it is copied into the
// folder, or queued for the next Push where there is none. Once placed, the same
// version of the same file is not placed again, so the code may change its copy.
func (m *Mirror) Place(ctx context.Context, hostPath, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skipped = nil
	up, err := HostFile(hostPath, name)
	if err != nil {
		return err
	}
	src, err := up.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	if m.placed[up.Path] == src.Entry {
		return nil
	}
	if src.Size > m.limits.FileBytes {
		return fmt.Errorf("cannot take the input file %q: %s", hostPath, whyFileSize(src.Size, m.limits.FileBytes))
	}
	if m.folder == nil {
		m.queue = append(m.queue, up)
	} else if err := m.placeInFolder(ctx, src, up.Path); err != nil {
		return err
	}
	m.placed[up.Path] = src.Entry
	return nil
}

func (m *Mirror) placeInFolder(ctx context.Context, src *File, path string) error {
	if old, err := m.folder.OpenFile(path); err == nil {
		same := old.Dev == src.Dev && old.Ino == src.Ino
		old.Close()
		if same {
			return nil // the caller named the folder's own file
		}
	}
	c := newCopier(nil, m.folder, m.limits)
	defer c.close()
	done, err := c.put(ctx, src, path)
	if err == nil && done == nil {
		err = fmt.Errorf("cannot place the input file %s: %s", Quote(path), c.report.Skipped[0].Why)
	}
	return err
}

// Queue adds uploads, and directories to make, to the next Push. They go into
// the workspace and not into the folder.
func (m *Mirror) Queue(uploads []Upload, dirs []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, uploads...)
	m.dirs = append(m.dirs, dirs...)
}
