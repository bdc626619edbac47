package nsjail

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// Two runtime directories give out the same numbers. An owner that dies when it
// has found a number's group to be taken must leave no record that names it.
func TestNoRecordOfAnothersGroup(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	const number = slots - 1
	cell := func() (*Cell, string) {
		dir := t.TempDir()
		cells, err := openRuntimeDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := lockSlot(cells, number, true)
		if err != nil || s == nil {
			t.Fatalf("cannot take number %d: %v", number, err)
		}
		return &Cell{slot: s}, dir
	}
	first, _ := cell()
	if err := first.makeGroup(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer first.group.Destroy(t.Context())
	second, dir := cell()
	if err := second.makeGroup(t.Context()); !errors.Is(err, syscall.EEXIST) {
		t.Fatalf("the group was made twice: %v", err)
	}
	second.slot.file.Close() // as its death would
	if n, err := Sweep(dir); n != 1 || err != nil {
		t.Errorf("swept %d records (%v), want 1", n, err)
	}
	for _, path := range first.group.Paths() {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the sweep took %s: %v", filepath.Base(path), err)
		}
	}
}

// A signal to a process whose descriptor is given back reaches nobody: the
// descriptor's number may be that of another cell's process by then.
func TestSignalAfterClose(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &Process{pidfd: w}
	done := make(chan error, 1)
	p.mu.Lock()
	go func() { done <- p.Signal(syscall.SIGKILL) }()
	select {
	case err := <-done:
		t.Errorf("a signal did not wait for its turn: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.mu.Unlock()
	<-done
	p.Close()
	if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal after Close: %v", err)
	}
}
