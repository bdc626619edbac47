package workspace

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// session is a mirror with both its sides.
type session struct {
	*Mirror
	t    *testing.T
	cell place
	host place
	w    *pathWriter
}

func newSession(t *testing.T) *session {
	cell, host := newCell(t), newPlace(t)
	m, err := NewMirror(cell.Dir, host.Dir, Limits{})
	must(t, err)
	return &session{m, t, cell, host, &pathWriter{place: cell}}
}

func (s *session) push(want ...string) {
	s.t.Helper()
	ups, err := s.Push(s.t.Context(), s.w)
	must(s.t, err)
	var got []string
	for _, u := range ups {
		got = append(got, u.Path)
	}
	same(s.t, "pushed", got, want...)
}

func (s *session) pull(want ...string) {
	s.t.Helper()
	changes, err := s.Pull(s.t.Context())
	must(s.t, err)
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%s %s %d", c.Kind, c.Path, c.Size))
	}
	same(s.t, "pulled", got, want...)
}

func TestMirror(t *testing.T) {
	s := newSession(t)
	s.host.write(t, "in/data.csv", "1,2,3")
	s.host.write(t, "script.py", "print(1)")
	must(t, os.Mkdir(s.host.at("empty"), 0o755))
	s.push("in/data.csv", "script.py")
	if _, err := os.Stat(s.cell.at("empty")); err != nil {
		t.Error(err)
	}
	s.pull()
	s.push()

	// The code creates, changes and deletes.
	s.cell.write(t, "out/plot.png", "PNG")
	s.cell.write(t, "in/data.csv", "4,5,6")
	must(t, os.Remove(s.cell.at("script.py")))
	must(t, os.Mkdir(s.cell.at("made"), 0o755))
	must(t, os.Remove(s.cell.at("empty")))
	s.pull("changed in/data.csv 5", "created out/plot.png 3", "deleted script.py 0")
	same(t, "host", s.host.names(t), "in", "in/data.csv", "made", "out", "out/plot.png")
	if s.host.read(t, "in/data.csv") != "4,5,6" {
		t.Error("the change did not arrive")
	}
	calls := len(s.w.calls)
	s.push()
	s.pull()
	if len(s.w.calls) != calls {
		t.Errorf("copied again: %q", s.w.calls[calls:])
	}

	// Someone works in the folder.
	s.host.write(t, "note.txt", "new")
	s.host.write(t, "out/plot.png", "GIF89")
	must(t, os.Remove(s.host.at("in/data.csv")))
	s.push("note.txt", "out/plot.png")
	if s.cell.read(t, "out/plot.png") != "GIF89" || s.cell.read(t, "in/data.csv") != "4,5,6" {
		t.Error("the workspace is not as it should be")
	}
	s.pull()

	// A rename, a file in a directory's place and the other way round.
	must(t, os.Rename(s.cell.at("note.txt"), s.cell.at("note2.txt")))
	must(t, os.RemoveAll(s.cell.at("out")))
	s.cell.write(t, "out", "now a file")
	must(t, os.RemoveAll(s.cell.at("in")))
	s.cell.write(t, "in/deeper/x", "1")
	s.pull("deleted in/data.csv 0", "created in/deeper/x 1", "deleted note.txt 0", "created note2.txt 3", "created out 10", "deleted out/plot.png 0")
	same(t, "host", s.host.names(t), "in", "in/deeper", "in/deeper/x", "made", "note2.txt", "out")
	must(t, os.Remove(s.cell.at("out")))
	s.cell.write(t, "out/again", "1")
	s.pull("deleted out 0", "created out/again 1")
	same(t, "host", s.host.names(t), "in", "in/deeper", "in/deeper/x", "made", "note2.txt", "out", "out/again")
	s.push()
}

func TestMirrorConflicts(t *testing.T) {
	s := newSession(t)
	s.host.write(t, "a", "one")
	s.host.write(t, "b", "one")
	s.host.write(t, "d/x", "one")
	s.push("a", "b", "d/x")
	s.pull()
	// Both sides change a: the code's is what counts.
	s.cell.write(t, "a", "code")
	s.host.write(t, "a", "host")
	// The code deletes b, which someone has just changed: theirs stays and is new.
	must(t, os.Remove(s.cell.at("b")))
	s.host.write(t, "b", "newer")
	// The code deletes a directory that holds something it never saw.
	must(t, os.RemoveAll(s.cell.at("d")))
	s.host.write(t, "d/late", "kept")
	s.pull("changed a 4", "deleted b 0", "deleted d/x 0")
	wantSkipped(t, s.Skipped(), "b", "changed on the host")
	same(t, "host", s.host.names(t), "a", "b", "d", "d/late")
	if s.host.read(t, "a") != "code" {
		t.Error("the code's change is lost")
	}
	s.push("b", "d/late")
	if s.cell.read(t, "b") != "newer" {
		t.Error("the newer file did not arrive")
	}
}

// Between Pull and Push a background process goes on writing. That is a change of
// the code's, whatever Push wrote meanwhile.
func TestMirrorBackgroundWrites(t *testing.T) {
	s := newSession(t)
	s.push()
	s.cell.write(t, "log", "1")
	s.pull("created log 1")
	s.cell.write(t, "log", "12")
	s.cell.write(t, "second", "x")
	s.host.write(t, "input", "x")
	s.push("input")
	s.pull("changed log 2", "created second 1")
}

func TestMirrorRefusals(t *testing.T) {
	s := newSession(t)
	outside := newPlace(t)
	outside.write(t, "canary", "alive")
	// In the folder: links are not followed on the way in …
	s.host.link(t, outside.at("canary"), "link")
	s.host.link(t, outside.path, "dir")
	mkfifo(t, s.host.at("fifo"))
	within(t, 5*time.Second, func() { s.push() })
	wantSkipped(t, s.Skipped(), "link", "symbolic link")
	wantSkipped(t, s.Skipped(), "dir", "symbolic link")
	wantSkipped(t, s.Skipped(), "fifo", "not a regular file")
	s.push()
	if len(s.Skipped()) != 0 {
		t.Errorf("reported again: %v", s.Skipped())
	}
	// … nor on the way out.
	s.cell.write(t, "dir/canary", "dead")
	s.cell.write(t, "link", "cell")
	must(t, os.Truncate(s.cell.at("dir/canary"), 4))
	s.cell.write(t, "huge", "")
	must(t, os.Truncate(s.cell.at("huge"), 1<<40))
	s.cell.link(t, "/etc/passwd", "passwd")
	s.pull("created dir/canary 4", "created huge 1099511627776", "created link 4")
	wantSkipped(t, s.Skipped(), "dir/canary", "in its way")
	wantSkipped(t, s.Skipped(), "huge", "larger")
	wantSkipped(t, s.Skipped(), "passwd", "symbolic link")
	if outside.read(t, "canary") != "alive" || len(outside.names(t)) != 1 {
		t.Error("the canary is dead")
	}
	if e, err := os.Lstat(s.host.at("link")); err != nil || !e.Mode().IsRegular() {
		t.Errorf("link: %v, %v", e, err)
	}
	// What can be mended is tried again, what cannot is not.
	must(t, os.Remove(s.host.at("dir")))
	s.pull()
	if s.host.read(t, "dir/canary") != "dead" || len(s.Skipped()) != 0 {
		t.Errorf("%v", s.Skipped())
	}
	// The file was never copied: deleting it deletes nothing on the host.
	s.host.write(t, "huge", "the host's own")
	must(t, os.Remove(s.cell.at("huge")))
	s.pull("deleted huge 0")
	if s.host.read(t, "huge") != "the host's own" {
		t.Error("a file that is not the code's was deleted")
	}
}

func TestMirrorTriesAgain(t *testing.T) {
	cell, full := newCell(t), newFull(t) // this needs root
	m, err := NewMirror(cell.Dir, full.Dir, Limits{})
	must(t, err)
	s := &session{m, t, cell, full, &pathWriter{place: cell}}
	cell.write(t, "a", strings.Repeat("a", 40<<10))
	cell.write(t, "b", strings.Repeat("b", 40<<10))
	cell.write(t, "c", "c")
	changes, err := m.Pull(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || len(changes) != 3 {
		t.Fatalf("%v, %v", changes, err)
	}
	same(t, "host", full.names(t), "a")
	must(t, os.Remove(cell.at("a")))
	s.pull("deleted a 0")
	same(t, "host", full.names(t), "b", "c")
	s.push()

	// A Push that fails is made up for by the next.
	full.write(t, "in", "x")
	s.w.err = syscall.ENOSPC
	if _, err := s.Push(t.Context(), s.w); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "cannot copy in into the workspace") {
		t.Errorf("%v", err)
	}
	s.w.err = nil
	s.push("in")
	s.pull()
}

func TestMirrorPlace(t *testing.T) {
	s := newSession(t)
	src := newPlace(t)
	src.write(t, "data.csv", "v1")
	place := func(want ...string) {
		t.Helper()
		must(t, s.Place(t.Context(), src.at("data.csv"), "in/data.csv"))
		s.push(want...)
	}
	place("in/data.csv")
	place()
	s.cell.write(t, "in/data.csv", "mine")
	s.pull("changed in/data.csv 4")
	place() // the code's version stays while the source is the same
	if s.cell.read(t, "in/data.csv") != "mine" {
		t.Error("overwritten")
	}
	src.write(t, "data.csv", "v2")
	place("in/data.csv")
	if s.cell.read(t, "in/data.csv") != "v2" || s.host.read(t, "in/data.csv") != "v2" {
		t.Error("the new version did not arrive")
	}
	must(t, s.Place(t.Context(), s.host.at("in/data.csv"), "in/data.csv")) // the folder's own file
	s.push()
	for _, bad := range [][2]string{{src.path, "x"}, {src.at("no"), "x"}, {src.at("data.csv"), "../x"}, {src.at("data.csv"), "/x"}, {"/dev/zero", "x"}} {
		if err := s.Place(t.Context(), bad[0], bad[1]); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}

	// Without a folder inputs go straight to the workspace.
	cell := newCell(t)
	m, err := NewMirror(cell.Dir, nil, Limits{})
	must(t, err)
	s = &session{m, t, cell, newPlace(t), &pathWriter{place: cell}}
	place("in/data.csv")
	place()
	s.pull()
	cell.write(t, "out", "x")
	changes, err := s.Pull(t.Context())
	must(t, err)
	out := newPlace(t)
	r, err := cell.CopyOut(t.Context(), changes, out.Dir, Limits{})
	must(t, err)
	same(t, "collected", r.Copied, "out")
}

// What a killed process left in the folder goes; what is being written stays.
func TestMirrorTidies(t *testing.T) {
	s := newSession(t)
	s.host.write(t, tempPrefix+"old", "x")
	s.host.write(t, "d/"+tempPrefix+"new", "x")
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(s.host.at(tempPrefix+"old"), old, old))
	s.push()
	// ctime says when, and that is now for both: nothing goes yet.
	same(t, "host", s.host.names(t), tempPrefix+"old", "d", "d/"+tempPrefix+"new")
	same(t, "cell", s.cell.names(t), "d")
	m := s.Mirror
	m.tidied = false
	snap := s.host.snap(t, Limits{})
	snap.Files[0].Ctime = old.UnixNano()
	m.tidy(snap)
	same(t, "host", s.host.names(t), "d", "d/"+tempPrefix+"new")
}

// A kernel with coarse times shows two versions of a file as one.
func TestMirrorCoarseTimes(t *testing.T) {
	was, tick := coarseTimes, coarseTick
	coarseTimes, coarseTick = func() bool { return true }, time.Hour
	defer func() { coarseTimes, coarseTick = was, tick }()
	s := newSession(t)
	for i := range 3 {
		content := fmt.Sprint(i)
		s.cell.write(t, "n", content)
		if i > 0 { // as if the times had not moved
			now := s.cell.snap(t, Limits{})
			s.before.Files = now.Files
			s.pull("changed n 1")
		} else {
			s.pull("created n 1")
		}
		s.pull()
		if s.host.read(t, "n") != content {
			t.Errorf("%q instead of %q", s.host.read(t, "n"), content)
		}
	}
	if len(s.recent) != 1 {
		t.Errorf("%v", s.recent)
	}
	coarseTick = -time.Hour // as if it were long ago
	s.pull()
	if len(s.recent) != 0 {
		t.Errorf("still remembered: %v", s.recent)
	}
	for release, old := range map[string]bool{
		"6.12.4-amd64": true, "6.13.0": false, "6.18.44-x": false, "5.15": true, "7.0-rc1": false, "6.9+": true, "": true, "x.y": true,
	} {
		if olderThan(release, 6, 13) != old {
			t.Errorf("%q", release)
		}
	}
}

// A file that goes on changing is copied again until it rests.
func TestMirrorUnsettled(t *testing.T) {
	s := newSession(t)
	s.push()
	s.cell.write(t, "f", strings.Repeat("0", 1<<20))
	stop := attack(func(i int) {
		if f, err := os.OpenFile(s.cell.at("f"), os.O_WRONLY, 0); err == nil {
			f.WriteAt([]byte(fmt.Sprintf("%08d", i)), int64(i%64)<<14)
			f.Close()
		}
	})
	for range 50 {
		_, err := s.Pull(t.Context())
		must(t, err)
	}
	stop()
	for range 2 {
		_, err := s.Pull(t.Context())
		must(t, err)
	}
	if s.cell.read(t, "f") != s.host.read(t, "f") {
		t.Error("the folder has another content")
	}
	s.pull()
	s.push()
}

// A source that shrinks while it is sent is not half sent.
func TestPushOfShrinkingFile(t *testing.T) {
	s := newSession(t)
	s.host.write(t, "f", strings.Repeat("x", 1<<20))
	up := s.host.upload(s.host.snap(t, Limits{}).Files[0], "f")
	open := up.open
	up.open = func() (*File, error) {
		f, err := open()
		os.Truncate(s.host.at("f"), 1000)
		return f, err
	}
	s.Queue([]Upload{up}, nil)
	s.push("f") // the queued one is skipped, the folder's own is sent
	wantSkipped(t, s.Skipped(), "f", "shrank")
	if len(s.cell.read(t, "f")) != 1000 {
		t.Error("not the whole file")
	}
}
