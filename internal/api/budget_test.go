package api

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// What files on their way take is bounded, one caller's and all together, and
// what one had is there again when it is removed.
func TestBudget(t *testing.T) {
	s, err := newSpool(t.TempDir(), 4000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	a, others := &owner{name: "a"}, []*owner{{}, {}, {}}
	put := func(o *owner, n int) (remove func(), err error) {
		_, remove, err = s.put(o, strings.NewReader(strings.Repeat("x", n)), 2000)
		return remove, err
	}
	refused := func(err error, kind Kind, part string) {
		t.Helper()
		var p *Problem
		if !errors.As(err, &p) || p.Kind != kind || !strings.Contains(p.Detail, part) {
			t.Errorf("%v, want %s with %q", err, kind, part)
		}
	}
	keep := func(remove func(), err error) func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return remove
	}
	_, err = put(a, 1001)
	refused(err, KindTooLarge, "1000 bytes")
	first := keep(put(a, 600))
	_, err = put(a, 401)
	refused(err, KindExhausted, "this caller")
	_, _, err = s.inputs(a, []InputFile{{Name: "i", Content: make([]byte, 300)}, {Name: "j", Content: make([]byte, 300)}})
	refused(err, KindExhausted, "this caller")
	second := keep(put(a, 400))
	var rest []func()
	for _, o := range others {
		rest = append(rest, keep(put(o, 1000)))
	}
	_, err = put(&owner{}, 1)
	refused(err, KindExhausted, "used up")
	first()
	first() // once more gives nothing back
	_, remove, err := s.inputs(a, []InputFile{{Name: "i", Content: make([]byte, 600)}})
	rest = append(rest, keep(remove, err), second)
	_, err = put(a, 1)
	refused(err, KindExhausted, "this caller")
	for _, remove := range rest {
		remove()
	}
	// However small they are.
	rest = nil
	for range spoolFilesOfOne {
		rest = append(rest, keep(put(a, 0)))
	}
	_, err = put(a, 0)
	refused(err, KindExhausted, "files of this caller")
	_, _, err = s.inputs(a, []InputFile{{Name: "i"}})
	refused(err, KindExhausted, "files of this caller")
	for i := len(rest); i < spoolFiles; i++ {
		rest = append(rest, keep(put(others[i/spoolFilesOfOne-1], 0)))
	}
	_, err = put(&owner{}, 0)
	refused(err, KindExhausted, "files are on their way")
	for _, remove := range rest {
		remove()
	}
	// A body that breaks off leaves nothing either.
	broken := errors.New("broken")
	if _, _, err := s.put(a, io.MultiReader(strings.NewReader("x"), failing{broken}), 10); !errors.Is(err, broken) {
		t.Errorf("a broken body: %v", err)
	}
	if left, err := os.ReadDir(s.dir); len(left) > 0 || err != nil {
		t.Errorf("%d files are left (%v)", len(left), err)
	}
	if b := s.budget; b.all != (held{}) || len(b.owners) > 0 {
		t.Errorf("still held: %+v, by owners %v", b.all, b.owners)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Uploads and the files of executions that are under way share one budget.
func TestUploadsUnderWay(t *testing.T) {
	c := serve(t, Settings{SpoolBytes: 4 << 20}, executor.Config{WorkspaceBytes: 1 << 20})
	one, other := c.session(NewSession{}), c.session(NewSession{})
	content := strings.Repeat("x", 700<<10)
	body, slow := io.Pipe()
	done := make(chan *reply, 1)
	go func() { done <- c.ask("PUT", one+"/files/x", body) }()
	if _, err := io.WriteString(slow, content); err != nil {
		t.Fatal(err)
	}
	b, owner := c.server.spool.budget, c.server.keeper.of("uid:0")
	bytes := func() int64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.owners[owner].bytes
	}
	for deadline := time.Now().Add(10 * time.Second); bytes() < 600<<10; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d bytes have come", bytes())
		}
	}
	c.ask("PUT", other+"/files/x", strings.NewReader(content)).problem(KindExhausted)
	c.ask("POST", other+"/execute", Execution{Code: "1", InputFiles: []InputFile{{Name: "i", Content: []byte(content)}}}).problem(KindExhausted)
	slow.Close()
	(<-done).want(204)
	c.ask("PUT", other+"/files/x", strings.NewReader(content)).want(204)
	if n := bytes(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// A workspace is not larger than the memory that its files take, or what the
// operator chose.
func TestWorkspaceSize(t *testing.T) {
	c := serve(t, Settings{}, executor.Config{WorkspaceBytes: 64 << 20})
	for _, row := range []struct {
		memory, workspace Size
		fits              bool
	}{
		{0, 64 << 20, true},
		{32 << 20, 64 << 20, true},
		{0, executor.DefaultMemoryMB << 20, true},
		{128 << 20, 128 << 20, true},
		{0, executor.DefaultMemoryMB<<20 + 1, false},
		{128 << 20, 128<<20 + 1, false},
		{32 << 20, 64<<20 + 1, false},
		{0, 1 << 50, false},
	} {
		r := c.ask("POST", "/v1/sessions", NewSession{Creation: Creation{Limits: Limits{Memory: row.memory, WorkspaceSize: row.workspace}}})
		if !row.fits {
			if p := r.problem(KindInvalid); !strings.Contains(p.Detail, "workspace_size") {
				t.Errorf("%+v: %s", row, p.Detail)
			}
			continue
		}
		c.ask("DELETE", "/v1/sessions/"+decode[SessionInfo](r.want(201)).ID, nil).want(204)
	}
	if err := (Settings{SpoolBytes: 1 << 20}).Check(); err == nil {
		t.Error("a spool that has no room for one workspace was taken")
	}
}
