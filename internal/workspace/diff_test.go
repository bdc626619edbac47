package workspace

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDiffOfAnything(t *testing.T) {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("ab/\xff")), 1, 4, -1)
	entry := rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			Ino:   rapid.Uint64Range(1, 3).Draw(t, "ino"),
			Size:  rapid.Int64Range(0, 2).Draw(t, "size"),
			Ctime: rapid.Int64Range(0, 2).Draw(t, "ctime"),
		}
	})
	snapshot := func(m map[string]Entry) Snapshot {
		var s Snapshot
		for _, p := range slices.Sorted(maps.Keys(m)) {
			e := m[p]
			e.Path = p
			s.Files = append(s.Files, e)
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.MapOf(name, entry).Draw(t, "before")
		after := rapid.MapOf(name, entry).Draw(t, "after")
		unread := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "a/b", "b"}), 0, 2).Draw(t, "unread")
		a, b := snapshot(before), snapshot(after)
		for _, u := range unread {
			b.Unread = append(b.Unread, Skipped{Path: u})
		}
		hidden := func(p string) bool {
			return slices.ContainsFunc(unread, func(u string) bool { return u == "" || p == u || strings.HasPrefix(p, u+"/") })
		}
		changes := Diff(a, b)
		if !slices.IsSortedFunc(changes, func(x, y Change) int { return strings.Compare(x.Path, y.Path) }) {
			t.Fatalf("not sorted: %v", changes)
		}
		// The changes, and nothing else, make after of before.
		model := maps.Clone(before)
		for _, c := range changes {
			old, had := before[c.Path]
			now, has := after[c.Path]
			switch {
			case c.Kind == Created && !had && has && c.Size == now.Size,
				c.Kind == Changed && had && has && old != now && c.Size == now.Size:
				model[c.Path] = now
			case c.Kind == Deleted && had && !has && c.Size == 0 && !hidden(c.Path):
				delete(model, c.Path)
			default:
				t.Fatalf("%v: before %v, after %v", c, old, now)
			}
		}
		maps.DeleteFunc(model, func(p string, _ Entry) bool { _, has := after[p]; return !has && hidden(p) })
		if !maps.Equal(model, after) {
			t.Fatalf("%v and %v make %v, not %v", before, changes, model, after)
		}
		// carry keeps what is hidden and nothing more.
		for _, e := range carry(a, b).Files {
			if _, has := after[e.Path]; !has && !hidden(e.Path) {
				t.Fatalf("%s was carried", e.Path)
			}
		}
		if len(Diff(carry(a, b), b)) != 0 {
			t.Fatalf("what was carried is a change: %v", Diff(carry(a, b), b))
		}
	})
}

func TestSetsOfPaths(t *testing.T) {
	same(t, "without", without([]string{"a", "b", "c"}, []string{"b", "d"}), "a", "c")
	same(t, "union", union([]string{"a", "c"}, []string{"b", "c"}), "a", "b", "c")
	d := []string{"a", "a/b", "b", "a/b/c"}
	sortDeepestFirst(d)
	same(t, "deepest first", d, "b", "a/b/c", "a/b", "a")
	s := Snapshot{Files: []Entry{{Path: "a"}, {Path: "b"}, {Path: "c"}}}
	s.amend(map[string]*Entry{"b": nil, "a": {Path: "a", Size: 7}, "aa": {Path: "aa"}})
	same(t, "amended", paths(s), "a", "aa", "c")
	if s.Files[0].Size != 7 {
		t.Error("not replaced")
	}
}
