package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncodeDecode(t *testing.T) {
	want := []Step{
		{Op: Private},
		{Op: Attach, Path: "workspace", FD: 7},
		{Op: Limit, FD: 4, A: 0, B: ^uint64(0)},
		{Op: Exec, FD: 5, Args: []string{"reaper", "1"}, Env: []string{"A=b", ""}},
	}
	b, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i := range b {
		if _, err := Decode(b[:i]); err == nil {
			t.Errorf("a plan cut at byte %d of %d was taken", i, len(b))
		}
	}
	if _, err := Decode(append(b, 0)); err == nil {
		t.Error("a trailing byte was taken")
	}
	for op := Private; op < lastOp; op++ {
		if op.String()[0] == 'o' {
			t.Errorf("operation %d has no name", op)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := Encode([]Step{{Op: Exec, Args: []string{"a"}, Env: []string{"b=c"}}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		steps, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(steps)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("what was decoded does not survive: %v", err)
		}
	})
}
