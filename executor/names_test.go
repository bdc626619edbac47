package executor

import (
	"path/filepath"
	"strings"
	"testing"
)

// FuzzSessionID: an id that is accepted names one folder, directly below that of
// all sessions, and can be shown as it is.
func FuzzSessionID(f *testing.F) {
	for _, id := range []string{"a", "a.b-c_9", ".", "..", ".a", "-a", "a/b", "a\\b", "a\x00", "ä", "a b", "%2e%2e", strings.Repeat("a", 64), strings.Repeat("a", 65)} {
		f.Add(id, id)
	}
	f.Fuzz(func(t *testing.T, id, stage string) {
		err := Request{SessionID: id, StageName: stage}.check()
		if err != nil || id == "" {
			return
		}
		const base = "/base"
		dir := Config{ExecutionBaseDir: base}.GetExecutionDir(id)
		if filepath.Dir(dir) != base || filepath.Base(dir) != id || len(id) > 64 {
			t.Fatalf("the folder of %q is %q", id, dir)
		}
		name := scriptName(Request{StageName: stage})
		if filepath.Base(name) != name || strings.ContainsAny(id+name, "\x00\x1b\n\r/\\ ") {
			t.Fatalf("id %q, script %q", id, name)
		}
	})
}
