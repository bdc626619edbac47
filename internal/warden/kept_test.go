package warden

import (
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// What one owner's sessions print takes no result from another, and what they hold in
// other ways counts as well.
func TestKeptResults(t *testing.T) {
	k := newResults()
	of := func(owner string) *local { return &local{spec: Spec{Owner: owner}} }
	has := func(s *local) bool {
		_, ok := k.get(s)
		return ok
	}
	small := of("small")
	k.keep(small, executor.Result{Output: "mine"})
	var large []*local
	for range 20 {
		large = append(large, of("large"))
		k.keep(large[len(large)-1], executor.Result{Output: strings.Repeat("x", 8<<20)})
	}
	if !has(small) || has(large[0]) || !has(large[19]) || k.bytes > mostKept {
		t.Errorf("kept are: the other owner's %v, the first %v, the last %v, %d bytes", has(small), has(large[0]), has(large[19]), k.bytes)
	}
	for _, s := range append(large, small) {
		k.drop(s)
	}
	if k.bytes != 0 || len(k.by) != 0 || k.order.Len() != 0 {
		t.Errorf("%d bytes, %d owners and %d results are left of nothing", k.bytes, len(k.by), k.order.Len())
	}

	names := strings.Fields(strings.Repeat("name ", 10_000))
	for what, r := range map[string]executor.Result{
		"columns": {Namespace: map[string]executor.Variable{"a": {Columns: names}}},
		"keys":    {Namespace: map[string]executor.Variable{"a": {Keys: names}}},
		"shape":   {Namespace: map[string]executor.Variable{"a": {Shape: make([]int64, 30_000)}}},
		"type":    {Namespace: map[string]executor.Variable{"a": {Type: strings.Repeat("x", 200_000)}}},
	} {
		if n := sizeOf(r); n < 200_000 {
			t.Errorf("%s of more than 200,000 bytes count as %d", what, n)
		}
	}
}
