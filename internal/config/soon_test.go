package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a file does not take at once is written all the same, in order and once.
func TestSoonWriterWritesAll(t *testing.T) {
	var lines []string
	for i := range 2000 {
		lines = append(lines, strings.Repeat(string(rune('a'+i%26)), 300)+"\n")
	}
	want := strings.Join(lines, "")
	writeTo := func(t *testing.T, f *os.File) {
		w := soon(f)
		for _, line := range lines {
			if n, err := io.WriteString(w, line); err != nil || n != len(line) {
				t.Fatalf("it wrote %d bytes of %d: %v", n, len(line), err)
			}
		}
	}
	t.Run("a pipe that is full", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(r)
			got <- string(b)
		}()
		writeTo(t, w)
		w.Close()
		if b := <-got; b != want {
			t.Errorf("%d bytes came, and %d were written", len(b), len(want))
		}
	})
	t.Run("a file", func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		writeTo(t, f)
		if b, err := os.ReadFile(f.Name()); err != nil || string(b) != want {
			t.Errorf("%d bytes are there, and %d were written (%v)", len(b), len(want), err)
		}
	})
	t.Run("a full device", func(t *testing.T) {
		f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(soon(f), "a line\n"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the error is %v", err)
		}
	})
}
