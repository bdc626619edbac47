package mcp

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// What is kept is bounded for a conversation and for all of them, the oldest
// goes first, and what a conversation had is given back.
func TestKeptResults(t *testing.T) {
	var all atomic.Int64
	large := executor.Result{Output: strings.Repeat("x", 5<<20)}
	var list []*keptResults
	for range 5 {
		k := &keptResults{all: &all}
		list = append(list, k)
		for n := 1; n <= 10; n++ {
			k.add(n, large)
		}
		if k.bytes > mostKeptBytes || all.Load() > mostKeptOfAll {
			t.Fatalf("%d bytes of one, %d of all", k.bytes, all.Load())
		}
	}
	if _, ok := list[0].find(streamURI(10, "stdout")); !ok {
		t.Error("the last one is gone")
	}
	if _, ok := list[0].find(streamURI(1, "stdout")); ok {
		t.Error("the first one is there")
	}
	if _, ok := list[4].find(streamURI(10, "stdout")); ok {
		t.Error("there was room for all")
	}
	list[0].clear()
	list[4].add(11, large)
	if _, ok := list[4].find(streamURI(11, "stdout")); !ok {
		t.Error("there is no room for one more")
	}
	small := &keptResults{all: &all}
	for n := range 100 {
		small.add(n, executor.Result{Results: []executor.Bundle{{Data: executor.MIMEData{"text/plain": "x"}}}})
	}
	if len(small.list) != mostKept {
		t.Errorf("%d are kept", len(small.list))
	}
	for _, k := range append(list, small) {
		k.clear()
	}
	if all.Load() != 0 {
		t.Errorf("%d bytes are left", all.Load())
	}
}
