package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressInPlainLines(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, atOnce)
	for _, stage := range []string{"plan", "copy", "copy", "compile", "hash", "hash"} {
		p.update(stage, 1, 2)
	}
	p.finish()
	if got, want := b.String(), "planning\ncopying\ncompiling\nhashing\n"; got != want {
		t.Errorf("printed %q, wanted %q", got, want)
	}
}

func TestProgressOnDemand(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, onDemand)
	p.update("plan", 0, 1)
	p.update("copy", 1, 2)
	if b.Len() > 0 {
		t.Errorf("printed at once: %q", b.String())
	}
	p.begun = time.Now().Add(-2 * onDemand)
	p.update("copy", 2, 2)
	p.update("compile", 1, 2)
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "cellblock: building the root") {
		t.Errorf("printed %q", got)
	}
}

func TestProgressOnTerminal(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, atOnce)
	p.begun, p.terminal, p.width = time.Now(), true, 80
	p.update("copy", 1, 4)
	p.update("copy", 2, 4) // too soon to be drawn
	p.update("copy", 4, 4)
	if got := b.String(); strings.Count(got, "\r") != 2 || !strings.Contains(got, "copying") || !strings.Contains(got, "100%") {
		t.Errorf("drew %q", got)
	}
	p.finish()
	p.finish()
	if got := b.String(); !strings.HasSuffix(got, "100%\r\x1b[K") {
		t.Errorf("did not take the bar away, once: %q", got)
	}
	(*progress)(nil).finish() // without a progress nothing is to be done
}

func TestBar(t *testing.T) {
	tests := []struct {
		done, total int64
		width       int
		want        string
	}{
		{0, 10, 80, "building the root: hashing   [" + strings.Repeat(".", 40) + "]   0%"},
		{10, 10, 80, "building the root: hashing   [" + strings.Repeat("#", 40) + "] 100%"},
		{5, 10, 50, "building the root: hashing   [######.......]  50%"},
		{20, 10, 30, "hashing 100%"},
		{0, 0, 30, "hashing   0%"},
		{-1, 5, 30, "hashing   0%"},
	}
	for _, tt := range tests {
		got := bar("hashing", tt.done, tt.total, tt.width)
		if got != tt.want {
			t.Errorf("%d of %d in %d columns: %q, wanted %q", tt.done, tt.total, tt.width, got, tt.want)
		}
		if len(got) >= tt.width {
			t.Errorf("%d of %d: %d columns of %d", tt.done, tt.total, len(got), tt.width)
		}
	}
}
