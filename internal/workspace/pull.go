package workspace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Pull reports what the code did to the workspace since the last Pull and
// brings the folder up to date. The report is whole even where copying is not:
// Skipped says what is missing in the folder, and the next Pull tries again
// where that can help. An error that comes with changes means the same of the
// whole folder (a full disk, a context that is done).
func (m *Mirror) Pull(ctx context.Context) ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skipped = nil
	start := time.Now()
	after, err := m.work.Snapshot(m.limits)
	if err != nil {
		return nil, err
	}
	m.skipped = append(m.skipped, after.Unread...)
	m.skipOthers(after, m.before)
	changes := diff(m.before, after, m.recheck(after, start))
	m.noteRecentChanges(changes, after, start) // before the copy: see there
	if m.folder != nil {
		err = m.carryOut(ctx, changes, after)
	}
	m.before = carry(m.before, after)
	return changes, err
}

// carryOut brings the folder up to date with after.
func (m *Mirror) carryOut(ctx context.Context, changes []Change, after Snapshot) error {
	made, gone := diffDirs(m.before, after)
	removed, wanted := m.jobs(changes, after)
	if len(made)+len(gone)+len(removed)+len(wanted) == 0 {
		return nil
	}
	c := newCopier(m.work, m.folder, m.limits)
	defer c.close()
	host := map[string]*Entry{}
	// Files go first and then their directories, so that a new file may take a
	// directory's name; then directories come before the files in them.
	var err error
	for _, path := range removed {
		if err == nil {
			err = m.removeKnown(c, path)
		}
		if err == nil {
			host[path] = nil
		}
		m.tryAgain(path, err != nil)
	}
	sortDeepestFirst(gone)
	for _, path := range gone {
		c.removeDir(path)
	}
	for _, path := range made {
		if err == nil {
			err = c.ensureDir(path)
		}
	}
	for _, path := range wanted {
		again := true
		if err == nil {
			var done *written
			skips := len(c.report.Skipped)
			done, err = c.copy(ctx, path)
			if done != nil {
				host[path], again = &done.host, !done.settled
			} else if err == nil {
				again = c.report.Skipped[skips].again
			}
		}
		m.tryAgain(path, again)
	}
	m.skipped = append(m.skipped, c.report.Skipped...)
	m.host.amend(host)
	m.host.Dirs = union(without(m.host.Dirs, gone), made)
	return err
}

// jobs sorts out what the folder needs: files to remove, files to copy. Beside
// the changes that is what earlier Pulls could not do.
func (m *Mirror) jobs(changes []Change, after Snapshot) (removed, wanted []string) {
	for _, c := range changes {
		delete(m.retry, c.Path)
		if c.Kind == Deleted {
			removed = append(removed, c.Path)
		} else {
			wanted = append(wanted, c.Path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(m.retry)) {
		if _, ok := after.find(path); ok {
			wanted = append(wanted, path)
		} else if !after.unknown(path) {
			removed = append(removed, path)
		}
	}
	slices.Sort(wanted)
	return removed, wanted
}

func (m *Mirror) tryAgain(path string, again bool) {
	if again {
		m.retry[path] = true
	} else {
		delete(m.retry, path)
	}
}

// removeKnown deletes a file of the folder if it is still the one that the
// mirror knows: what someone else put there meanwhile is new to the workspace.
func (m *Mirror) removeKnown(c *copier, path string) error {
	known, ok := m.host.find(path)
	f, err := c.dest.openFile(path) // the copier holds its lock
	if err != nil {
		return nil // gone already, or none of ours
	}
	now := f.Entry
	f.Close()
	if !ok || now != known {
		c.skip(path, "deleted in the workspace, but changed on the host meanwhile", false)
		return nil
	}
	return c.remove(path)
}

// skipOthers reports the links, FIFOs and the like that are new in now. The
// report is bounded: a cell can make thousands.
func (m *Mirror) skipOthers(now, before Snapshot) {
	const most = 100
	reported := 0
	for _, o := range now.Others {
		_, known := slices.BinarySearchFunc(before.Others, o.Path, func(o Other, p string) int { return strings.Compare(o.Path, p) })
		if known {
			continue
		}
		if reported++; reported > most {
			m.skipped = append(m.skipped, Skipped{Why: fmt.Sprintf("more than %d links and special files", most)})
			return
		}
		why := whyNotRegular
		if o.Link {
			why = whyLink
		}
		m.skipped = append(m.skipped, Skipped{Path: o.Path, Why: why})
	}
}
