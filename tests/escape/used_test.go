package escape

import (
	_ "embed"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// least is how many rows there are; 1 to 98 are the numbers of the catalogue of
// attacks on a cell.
const least = 175

func TestRowsAreCounted(t *testing.T) {
	all := probes()
	if len(all) < least {
		t.Errorf("%d rows, fewer than %d", len(all), least)
	}
	var held [99]bool
	paths := map[string]bool{}
	for _, p := range all {
		n, err := strconv.Atoi(p.n)
		if err != nil || n < 1 || n >= len(held) {
			t.Fatalf("row %q is none of the catalogue's", p.path())
		}
		held[n] = true
		if paths[p.path()] {
			t.Errorf("two rows are called %q", p.path())
		}
		paths[p.path()] = true
	}
	for n := range held {
		if n > 0 && !held[n] {
			t.Errorf("no row holds number %d", n)
		}
	}
	t.Logf("%d rows", len(all))
}

//go:embed testdata/tidy.py
var tidySource string

// TestUsed plays the rows once more in sessions that have run the code of all
// the rows before: one session with a folder on the host and one without. Where
// a row ends the REPL, the next one runs in the REPL that the cell gets then. A
// row that wants a cell of other settings has none to share, and is left out, as is
// one that takes the folder away or ends the session.
func TestUsed(t *testing.T) {
	h := newHost(t)
	t.Run("without a folder", func(t *testing.T) { h.used(t, false) })
	t.Run("with a folder", func(t *testing.T) { h.used(t, true) })
}

func (h *host) used(t *testing.T, folder bool) {
	rows := slices.DeleteFunc(probes(), func(p probe) bool {
		return p.cfg != nil || p.alone || p.folder != folder || p.slow && testing.Short()
	})
	s := h.newStage(t, h.ex, folder)
	defer func() { must(t, s.session.Close()) }()
	s.prepare(t)
	played := 0
	for _, p := range rows {
		ok := t.Run(p.path(), func(t *testing.T) {
			before := h.slots(t)
			testkit.Growth(t)
			s.act(t, p)
			s.tidy(t, p.lost || p.lostLater || p.anyLost)
			if more := h.nothingLeft(t, before, before); len(more) != 0 {
				t.Errorf("records of cells are left: %v", more)
			}
			h.holds(t)
			s.prepare(t)
		})
		if !ok { // what it has left shall not fail the rest
			s.session.Close()
			s = h.newStage(t, h.ex, folder)
			s.prepare(t)
			continue
		}
		played++
	}
	t.Logf("%d rows of %d", played, len(probes()))
}

// tidied is what a session says that has nothing more of the last row.
var tidied = regexp.MustCompile(`^\[\] 1 0\n$`)

// tidy ends what a row has left. Where the row may have spoilt or ended its REPL,
// what tidies is another one, and it ends as well: the limits of the next are
// then those of a cell that holds nothing.
func (s *stage) tidy(t *testing.T, lost bool) {
	t.Helper()
	end := func() { s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)", Filename: "<end>"}) }
	if lost {
		end()
	}
	r := s.run(t, s.session, executor.Request{Code: tidySource, Filename: "<tidy>"})
	if !tidied.MatchString(r.Output) {
		t.Errorf("the row has left %q (%s: %s)", strings.TrimSpace(r.Output), r.Verdict, clip(deref(r.Error)))
	}
	if lost {
		end()
	}
	u, err := s.session.Usage()
	must(t, err)
	if u.Processes > 2 {
		t.Errorf("the cell has %d processes, more than its PID 1 and its REPL", u.Processes)
	}
}
