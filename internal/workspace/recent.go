package workspace

import (
	"hash/maphash"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Before Linux 6.13 a file's ctime comes from a clock that ticks every 1 to 10
// ms. A file that is written, listed and written again within one tick, to the
// same size, has the same entry both times. Statements that run back to back on
// a warm session do that. So the content of files that were written just before
// a listing is remembered as a sum, and read again by the next listing, once.
// Since 6.13 tmpfs gives a listed file a time of its own at its next change.

// coarseTick is the longest tick: CONFIG_HZ=100. A variable for tests.
var coarseTick = 10 * time.Millisecond

// coarseTimes says whether this kernel is one of those. A variable for tests.
var coarseTimes = sync.OnceValue(func() bool {
	var u syscall.Utsname
	if syscall.Uname(&u) != nil {
		return true
	}
	var release []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	return olderThan(string(release), 6, 13)
})

// olderThan compares a kernel release such as 6.12.4-amd64. One that it cannot
// read is old.
func olderThan(release string, major, minor int) bool {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return true
	}
	a, errA := strconv.Atoi(parts[0])
	digits := strings.IndexFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(parts[1])
	}
	b, errB := strconv.Atoi(parts[1][:digits])
	return errA != nil || errB != nil || a < major || a == major && b < minor
}

// noteRecent remembers the content of those of the given files of the workspace
// that were written within a tick of start, when their listing began.
func (m *Mirror) noteRecent(files map[string]*Entry, start time.Time) {
	if !coarseTimes() {
		return
	}
	left := m.limits.TotalBytes // one file of many links would be read for ever
	for path, e := range files {
		delete(m.recent, path)
		if e != nil && isRecent(e, start) && e.Size <= min(left, m.limits.FileBytes) {
			left -= e.Size
			m.recent[path] = m.sum(path)
		}
	}
}

func isRecent(e *Entry, start time.Time) bool { return e.Ctime >= start.Add(-coarseTick).UnixNano() }

// noteRecentChanges is noteRecent for what a listing found changed. It comes
// before the copying: what is written between the two is then copied, and
// looks changed once more, where the other order would miss it.
func (m *Mirror) noteRecentChanges(changes []Change, after Snapshot, start time.Time) {
	if !coarseTimes() || len(changes) == 0 {
		return
	}
	files := make(map[string]*Entry, len(changes))
	for _, c := range changes {
		files[c.Path] = nil
		if e, ok := after.find(c.Path); ok {
			files[c.Path] = &e
		}
	}
	m.noteRecent(files, start)
}

// recheck reads the remembered files whose entries are the same as before and
// returns those whose content is not. start is when the listing after began.
func (m *Mirror) recheck(after Snapshot, start time.Time) map[string]bool {
	var changed map[string]bool
	for path, sum := range m.recent {
		was, ok1 := m.before.find(path)
		is, ok2 := after.find(path)
		if ok1 && ok2 && was == is {
			if m.sum(path) == sum {
				if !isRecent(&is, start) {
					delete(m.recent, path)
				}
				continue
			}
			if changed == nil {
				changed = map[string]bool{}
			}
			changed[path] = true
		}
		delete(m.recent, path) // changed: noteRecentChanges looks at it anew
	}
	return changed
}

var sumSeed = maphash.MakeSeed()

// sum is a hash of a file's content; 0 for one that cannot be read.
func (m *Mirror) sum(path string) uint64 {
	f, err := m.work.OpenFile(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	if f.Size > m.limits.FileBytes {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(sumSeed)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(&h, f, *buf); err != nil {
		return 0
	}
	return h.Sum64()
}
