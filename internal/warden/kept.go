package warden

import (
	"container/list"
	"sync"

	"github.com/cellblock/cellblock/executor"
)

// mostKept bounds what last results take of memory together. Of the owner whose
// results take most, that of the session that executed longest ago goes first: nobody
// loses his by what others print.
const mostKept = 64 << 20

// results keeps the last result of each session.
type results struct {
	mu    sync.Mutex
	of    map[*local]*list.Element
	order *list.List // of keptResult, the oldest first
	bytes int
	by    map[string]int // bytes, by owner
}

type keptResult struct {
	of     *local
	result executor.Result
	bytes  int
}

func newResults() *results {
	return &results{of: map[*local]*list.Element{}, order: list.New(), by: map[string]int{}}
}

// keep replaces the result of a session.
func (k *results) keep(s *local, r executor.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(s)
	size := sizeOf(r)
	if size > mostKept {
		return
	}
	k.of[s] = k.order.PushBack(keptResult{s, r, size})
	k.bytes += size
	k.by[s.spec.Owner] += size
	for k.bytes > mostKept {
		k.dropLocked(k.nextLocked())
	}
}

// nextLocked is whose result goes first.
func (k *results) nextLocked() *local {
	most := ""
	for owner, bytes := range k.by {
		if bytes > k.by[most] {
			most = owner
		}
	}
	e := k.order.Front()
	for e.Value.(keptResult).of.spec.Owner != most {
		e = e.Next()
	}
	return e.Value.(keptResult).of
}

func (k *results) get(s *local) (executor.Result, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.of[s]
	if e == nil {
		return executor.Result{}, false
	}
	return e.Value.(keptResult).result, true
}

// at is the result of a session, if it is kept, and its place in the order of all.
func (k *results) at(s *local) (*executor.Result, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	place := 0
	for e := k.order.Front(); e != nil; e = e.Next() {
		if kept := e.Value.(keptResult); kept.of == s {
			return &kept.result, place
		}
		place++
	}
	return nil, 0
}

func (k *results) drop(s *local) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropLocked(s)
}

func (k *results) dropLocked(s *local) {
	e := k.of[s]
	if e == nil {
		return
	}
	delete(k.of, s)
	size := k.order.Remove(e).(keptResult).bytes
	k.bytes -= size
	if k.by[s.spec.Owner] -= size; k.by[s.spec.Owner] == 0 {
		delete(k.by, s.spec.Owner)
	}
}

// sizeOf is about what a result takes.
func sizeOf(r executor.Result) int {
	size := 4096 + len(r.Output) + len(r.Stderr)
	for _, b := range r.Results {
		size += sizeOfAll(b.Dropped)
		for _, form := range b.Data {
			size += len(form)
		}
	}
	for name, v := range r.Namespace {
		size += 256 + len(name) + len(v.Type) + len(v.DType) + 8*len(v.Shape) + sizeOfAll(v.Columns) + sizeOfAll(v.Keys)
		if v.Value != nil {
			size += len(*v.Value)
		}
	}
	for _, f := range r.Files {
		size += 2*len(f.Path) + 64
	}
	if r.Exception != nil {
		size += len(r.Exception.Name) + len(r.Exception.Traceback) + len(r.Exception.Value)
	}
	if r.Value != nil {
		size += len(*r.Value)
	}
	return size
}

func sizeOfAll(list []string) int {
	size := 0
	for _, s := range list {
		size += 16 + len(s)
	}
	return size
}
