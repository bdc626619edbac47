package workspace

import (
	"slices"
	"strings"
)

// Kind is what happened to a file.
type Kind string

// The kinds of change.
const (
	Created Kind = "created"
	Changed Kind = "changed"
	Deleted Kind = "deleted"
)

// Change is a regular file that differs between two listings. A rename is a
// deletion and a creation.
type Change struct {
	Path string `json:"path"` // raw bytes; JSON shows U+FFFD where they are no UTF-8
	Size int64  `json:"size"` // 0 for a deleted file
	Kind Kind   `json:"change"`
}

// Diff lists what differs, sorted by path. A file that is missing from after
// where after is not complete is no change.
func Diff(before, after Snapshot) []Change { return diff(before, after, nil) }

// diff is Diff with files that count as changed though their entries agree.
func diff(before, after Snapshot, changed map[string]bool) []Change {
	var out []Change
	b, a := before.Files, after.Files
	for len(b) > 0 || len(a) > 0 {
		switch {
		case len(a) == 0 || len(b) > 0 && b[0].Path < a[0].Path:
			if !after.unknown(b[0].Path) {
				out = append(out, Change{b[0].Path, 0, Deleted})
			}
			b = b[1:]
		case len(b) == 0 || a[0].Path < b[0].Path:
			out = append(out, Change{a[0].Path, a[0].Size, Created})
			a = a[1:]
		default:
			if a[0] != b[0] || changed[a[0].Path] {
				out = append(out, Change{a[0].Path, a[0].Size, Changed})
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// CreatedFiles are the paths of new files, without the scripts that hold the
// code of an execution.
func CreatedFiles(changes []Change) []string {
	var out []string
	for _, c := range changes {
		if c.Kind == Created && !IsScript(c.Path) {
			out = append(out, c.Path)
		}
	}
	return out
}

// carry returns after, with what before knew of the parts that after could not
// read: it is still there for all that is known.
func carry(before, after Snapshot) Snapshot {
	if after.Complete() {
		return after
	}
	var kept []Entry
	for _, e := range before.Files {
		if _, ok := after.find(e.Path); !ok && after.unknown(e.Path) {
			kept = append(kept, e)
		}
	}
	after.Files = append(after.Files, kept...)
	slices.SortFunc(after.Files, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	for _, p := range before.Dirs {
		if after.unknown(p) {
			after.Dirs = append(after.Dirs, p)
		}
	}
	slices.Sort(after.Dirs)
	after.Dirs = slices.Compact(after.Dirs)
	return after
}

// amend replaces the entries of the given paths; a nil entry removes one.
func (s *Snapshot) amend(set map[string]*Entry) {
	if len(set) == 0 {
		return
	}
	out := make([]Entry, 0, len(s.Files)+len(set))
	for _, e := range s.Files {
		if _, ok := set[e.Path]; !ok {
			out = append(out, e)
		}
	}
	for _, e := range set {
		if e != nil {
			out = append(out, *e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	s.Files = out
}

// diffDirs lists the directories that came and those that went, sorted.
func diffDirs(before, after Snapshot) (made, gone []string) {
	for _, p := range without(before.Dirs, after.Dirs) {
		if !after.unknown(p) {
			gone = append(gone, p)
		}
	}
	return without(after.Dirs, before.Dirs), gone
}

// without is the sorted list a less the sorted list b.
func without(a, b []string) []string {
	var out []string
	for _, p := range a {
		if _, ok := slices.BinarySearch(b, p); !ok {
			out = append(out, p)
		}
	}
	return out
}

// union merges two lists into a sorted one.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
