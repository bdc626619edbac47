package sys

import (
	"errors"
	"syscall"
	"testing"
)

// Both ways of looking find a shared writable mapping, and nothing without one:
// a Go program has none of its own.
func TestSharedWritable(t *testing.T) {
	looks := map[string]func() (string, error){
		"either way": func() (string, error) { return SharedWritable("self") },
		"the text": func() (string, error) {
			text, err := ReadControl("/proc/self/maps")
			return findSharedWritable(text), err
		},
	}
	expect := func(when string, want bool) {
		for name, look := range looks {
			if where, err := look(); err != nil || (where != "") != want {
				t.Errorf("%s, %s finds %q, %v", when, name, where, err)
			}
		}
	}
	expect("before", false)
	for kind, flags := range map[string]int{"anonymous": syscall.MAP_SHARED | syscall.MAP_ANON, "private": syscall.MAP_PRIVATE | syscall.MAP_ANON} {
		m, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, flags)
		if err != nil {
			t.Fatal(err)
		}
		expect("with "+kind, flags&syscall.MAP_SHARED != 0)
		if err := syscall.Mprotect(m, syscall.PROT_READ); err != nil {
			t.Fatal(err)
		}
		expect("with a read-only "+kind, false)
		if err := syscall.Munmap(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := SharedWritable("0"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("of no process: %v", err)
	}
}
