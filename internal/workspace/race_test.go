package workspace

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// swaps is how often a race test wants its two names exchanged, and how long it
// may take. CELLBLOCK_SWAPS is for `make test-races`.
func swaps() int {
	if n, err := strconv.Atoi(os.Getenv("CELLBLOCK_SWAPS")); err == nil && n > 0 {
		return n
	}
	if testing.Short() {
		return 10_000
	}
	return 100_000
}

func raceTime() time.Duration {
	return 60*time.Second + time.Duration(swaps())*time.Millisecond
}

// exchange swaps two names of a directory, again and again, in one system call
// each. It returns how often.
func exchange(t *testing.T, p place, pairs ...[2]string) (stop func() int) {
	t.Helper()
	fd, err := unix.Open(p.path+"/", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	var fs []func(int)
	for _, pair := range pairs {
		fs = append(fs, func(int) { unix.Renameat2(fd, pair[0], fd, pair[1], unix.RENAME_EXCHANGE) })
	}
	return attack(fs...)
}

const secret = "SECRET of the host"

// Probe 31: directory ↔ link, file ↔ link, file ↔ FIFO, file ↔ directory, while
// the host lists and copies out.
func TestRaceInTheWorkspace(t *testing.T) {
	for name, make := range map[string]func(testing.TB) place{"disk": newPlace, "tmpfs": newCell} {
		t.Run(name, func(t *testing.T) {
			p, out, outside := make(t), newPlace(t), newPlace(t)
			outside.write(t, "f", secret)
			outside.write(t, "sub/f", secret)
			p.write(t, "dir/f", "cell")
			p.write(t, "dir/sub/f", "cell")
			p.link(t, outside.path, "dirlink")
			p.write(t, "file", "cell")
			p.link(t, outside.at("f"), "filelink")
			p.write(t, "pipe", "cell")
			mkfifo(t, p.at("fifo"))
			p.write(t, "plain", "cell")
			p.write(t, "tree/f", "cell")
			stop := exchange(t, p, [2]string{"dir", "dirlink"}, [2]string{"file", "filelink"}, [2]string{"pipe", "fifo"}, [2]string{"plain", "tree"})
			var all []Change
			for _, path := range []string{
				"dir/f", "dir/sub/f", "dirlink/f", "dirlink/sub/f", "file", "filelink", "pipe", "fifo", "plain", "tree", "tree/f", "plain/f",
			} {
				all = append(all, Change{path, 0, Created})
			}
			rounds, copied, refused := 0, 0, 0
			total := 0
			within(t, 2*raceTime(), func() {
				for start := time.Now(); time.Since(start) < raceTime(); rounds++ {
					if rounds >= 100 && rounds%50 == 0 {
						// Enough swaps? Their count is only told at the end, so stop and go on.
						total += stop()
						if total >= swaps() {
							return
						}
						stop = exchange(t, p, [2]string{"dir", "dirlink"}, [2]string{"file", "filelink"}, [2]string{"pipe", "fifo"}, [2]string{"plain", "tree"})
					}
					for _, e := range p.snap(t, Limits{}).Files {
						if e.Size == int64(len(secret)) {
							t.Fatalf("the listing shows %s, which is the host's", e.Path)
						}
					}
					r, err := p.CopyOut(t.Context(), all, out.Dir, Limits{})
					must(t, err)
					copied, refused = copied+len(r.Copied), refused+len(r.Skipped)
					for _, path := range r.Copied {
						if b, err := os.ReadFile(out.at(path)); err == nil && strings.Contains(string(b), "SECRET") {
							t.Fatalf("%s: the host's file was copied", path)
						}
					}
				}
			})
			total += stop()
			t.Logf("%d swaps, %d rounds, %d copied, %d refused", total, rounds, copied, refused)
			if total < swaps() || copied == 0 || refused == 0 {
				t.Errorf("the race did not happen")
			}
		})
	}
}

// The same in the folder of the host, while the host writes and deletes there.
func TestRaceInTheFolder(t *testing.T) {
	p, out, outside := newPlace(t), newPlace(t), newPlace(t)
	outside.write(t, "canary", "alive")
	outside.write(t, "sub/canary", "alive")
	before := outside.names(t)
	changes := []Change{
		{"dir/canary", 0, Created},
		{"dir/sub/canary", 0, Created},
		{"dir/sub/new/deep", 0, Created},
		{"file", 0, Created},
		{"dir/gone", 0, Deleted},
		{"dir/sub/gone", 0, Deleted},
	}
	for _, c := range changes {
		p.write(t, c.Path, "from the cell")
	}
	changes = append(changes, Change{"dirlink/canary", 0, Deleted}, Change{"dirlink/sub/canary", 0, Deleted})
	must(t, os.MkdirAll(out.at("dir/sub"), 0o755))
	out.link(t, outside.path, "dirlink")
	out.write(t, "file", "x")
	out.link(t, outside.at("canary"), "filelink")
	pairs := [][2]string{{"dir", "dirlink"}, {"file", "filelink"}}
	stop, total, rounds, copied, refused := exchange(t, out, pairs...), 0, 0, 0, 0
	within(t, 2*raceTime(), func() {
		for start := time.Now(); time.Since(start) < raceTime(); rounds++ {
			if rounds >= 100 && rounds%50 == 0 {
				if total += stop(); total >= swaps() {
					return
				}
				stop = exchange(t, out, pairs...)
			}
			r, err := p.CopyOut(t.Context(), changes, out.Dir, Limits{})
			must(t, err)
			copied, refused = copied+len(r.Copied), refused+len(r.Skipped)
		}
	})
	total += stop()
	t.Logf("%d swaps, %d rounds, %d copied, %d refused", total, rounds, copied, refused)
	if total < swaps() || copied == 0 || refused == 0 {
		t.Errorf("the race did not happen")
	}
	same(t, "outside", outside.names(t), before...)
	if outside.read(t, "canary") != "alive" || outside.read(t, "sub/canary") != "alive" {
		t.Error("a canary is dead")
	}
}

// chase runs step, with the pairs swapped all the while, until they were often
// enough.
func chase(t *testing.T, places []place, pairs [][2]string, step func()) {
	t.Helper()
	total, rounds := 0, 0
	var stops []func() int
	begin := func() {
		stops = nil
		for _, p := range places {
			stops = append(stops, exchange(t, p, pairs...))
		}
	}
	end := func() {
		for _, stop := range stops {
			total += stop()
		}
	}
	begin()
	within(t, 2*raceTime(), func() {
		for start := time.Now(); time.Since(start) < raceTime(); rounds++ {
			if rounds >= 100 && rounds%50 == 0 {
				if end(); total >= swaps() {
					return
				}
				begin()
			}
			step()
		}
		end()
	})
	t.Logf("%d swaps, %d rounds", total, rounds)
	if total < swaps() {
		t.Errorf("the race did not happen")
	}
}

// A mirror whose two sides are both swapped under it.
func TestRaceOfTheMirror(t *testing.T) {
	s, outside := newSession(t), newPlace(t)
	outside.write(t, "canary", secret)
	outside.write(t, "sub/canary", secret)
	before := outside.names(t)
	for _, p := range []place{s.cell, s.host} {
		p.write(t, "dir/canary", "inside")
		p.write(t, "dir/sub/canary", "inside")
		p.write(t, "file", "inside")
		p.link(t, outside.path, "dirlink")
		p.link(t, outside.at("canary"), "filelink")
	}
	n := 0
	chase(t, []place{s.cell, s.host}, [][2]string{{"dir", "dirlink"}, {"file", "filelink"}}, func() {
		n++
		// Something to push and something to pull in each round.
		name := "f" + strconv.Itoa(n%8)
		os.WriteFile(s.host.at("p"+name), []byte(strings.Repeat("x", n%64)), 0o600)
		os.WriteFile(s.cell.at("q"+name), []byte(strings.Repeat("y", n%64)), 0o600)
		// Files that come and go may fail a push or a pull, but not the next.
		_, _ = s.Push(t.Context(), quietWriter{})
		_, _ = s.Pull(t.Context())
		for _, p := range []place{s.cell, s.host} {
			for _, path := range []string{"file", "dir/canary", "dir/sub/canary"} {
				if fd, err := p.OpenFile(path); err == nil {
					if fd.Size == int64(len(secret)) {
						t.Fatalf("%s is the outside's", path)
					}
					fd.Close()
				}
			}
		}
	})
	same(t, "outside", outside.names(t), before...)
	if outside.read(t, "canary") != secret || outside.read(t, "sub/canary") != secret {
		t.Error("a canary is dead")
	}
}

// quietWriter takes what is pushed and fails when it is the outside's.
type quietWriter struct{}

var errEscape = errors.New("the outside was read")

func (quietWriter) WriteFile(_ context.Context, _ string, _ uint32, size int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && strings.Contains(string(b), "SECRET") {
		panic(errEscape)
	}
	return err
}
func (quietWriter) MkdirAll(context.Context, string) error { return nil }
func (quietWriter) Remove(context.Context, string) error   { return nil }

// Directories that callers share, copied for one cell or staged for many, while
// they are swapped with links that lead out.
func TestRaceInTheSource(t *testing.T) {
	p, outside, state := newPlace(t), newPlace(t), newPlace(t)
	outside.write(t, "f", secret)
	outside.write(t, "sub/f", secret)
	p.write(t, "dir/f", "inside")
	p.write(t, "dir/sub/f", "inside")
	p.write(t, "file", "inside")
	p.link(t, outside.path, "dirlink")
	p.link(t, outside.at("f"), "filelink")
	stage, err := OpenStage(state.path)
	must(t, err)
	read, refused := 0, 0
	look := func(what string, r io.Reader) {
		b, err := io.ReadAll(r)
		if err == nil && strings.Contains(string(b), "SECRET") {
			t.Fatalf("%s: the outside was read", what)
		}
		read++
	}
	chase(t, []place{p}, [][2]string{{"dir", "dirlink"}, {"file", "filelink"}}, func() {
		if tree, err := CollectTree(p.path, "in", Limits{}); err == nil {
			for _, u := range tree.Uploads {
				if f, err := u.Open(); err == nil {
					look(u.Path, f)
					f.Close()
				} else {
					refused++
				}
			}
			tree.Close()
		}
		staged, err := stage.Add(t.Context(), p.path, Limits{})
		if err != nil {
			refused++ // it changed while it was copied
			return
		}
		for _, path := range []string{"dir/f", "dir/sub/f", "dirlink/f", "dirlink/sub/f", "file", "filelink"} {
			if st, err := os.Lstat(staged.Path + "/" + path); err == nil && st.Mode().IsRegular() {
				if b, err := os.ReadFile(staged.Path + "/" + path); err == nil {
					look("staged "+path, strings.NewReader(string(b)))
				}
			}
		}
		staged.Close()
	})
	if read == 0 || refused == 0 {
		t.Errorf("%d read, %d refused: the race did not happen", read, refused)
	}
}

// Emptying a directory whose content moves: nothing outside is touched.
func TestRaceWithEmpty(t *testing.T) {
	p, outside := newPlace(t), newPlace(t)
	outside.write(t, "sub/canary", "alive")
	stop := attack(
		// (This follows the link at times, and then makes junk outside.)
		func(int) { os.MkdirAll(p.at("a/b/sub"), 0o755); os.WriteFile(p.at("a/b/sub/junk"), nil, 0o600) },
		func(int) { os.Symlink(outside.path, p.at("l")); os.Rename(p.at("l"), p.at("a/l")) },
		func(int) {
			unix.Renameat2(unix.AT_FDCWD, p.at("a/b"), unix.AT_FDCWD, p.at("a/l"), unix.RENAME_EXCHANGE)
		},
	)
	within(t, raceTime(), func() {
		for range swaps() / 500 {
			_ = p.Empty(t.Context()) // it may well lose
		}
	})
	stop()
	if outside.read(t, "sub/canary") != "alive" {
		t.Error("the canary is dead")
	}
	must(t, p.Empty(t.Context()))
	same(t, "after Empty", p.names(t))
}
