package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// The prompt is seen in however small pieces it comes, and all is passed on.
func TestPromptIsSeen(t *testing.T) {
	text := "boot\nlogin: root\r\n" + prompt + "more"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		a := &awaited{to: &out, text: []byte(prompt), seen: make(chan struct{})}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			a.Write([]byte(rest[:n]))
			rest = rest[n:]
			select {
			case <-a.seen:
				if !strings.Contains(out.String(), prompt) {
					t.Fatalf("in pieces of %d: seen after %q", size, out.String())
				}
			default:
				if strings.Contains(out.String(), prompt) {
					t.Fatalf("in pieces of %d: not seen in %q", size, out.String())
				}
			}
		}
		if out.String() != text {
			t.Errorf("passed on: %q", out.String())
		}
	}
	if b, err := io.ReadAll(newTyped(strings.NewReader("id"))); err != nil || string(b) != "id\npoweroff\n" {
		t.Errorf("%q, %v", b, err)
	}
}
