package executor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

func filesSession(t *testing.T, l Limits) *Session {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	ex, err := New(Config{ExecutionBaseDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ex.Close() })
	s, err := ex.NewSession(context.Background(), SessionOptions{ID: "files", Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hostFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file that is put there is no change of the code's, and can be had while
// code runs.
func TestFilesOfALiveSession(t *testing.T) {
	s := filesSession(t, Limits{})
	ctx := context.Background()
	if err := s.PutFile(ctx, hostFile(t, "one\n"), "in/a.txt"); err != nil {
		t.Fatal(err)
	}
	var listed []FileInfo
	var content []byte
	r, err := s.Execute(ctx, Request{
		Code: "print(open('in/a.txt').read())\nopen('b.txt','w').write('two')\nprint('made', flush=True)\n" +
			"import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n",
		Stdout: func(b []byte) {
			if !strings.Contains(string(b), "made") {
				return
			}
			listed, _, _ = s.Files()
			if f, err := s.OpenFile("b.txt"); err == nil {
				content, _ = io.ReadAll(f)
				f.Close()
			}
			if err := s.PutFile(ctx, hostFile(t, ""), "go"); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil || !r.Success {
		t.Fatalf("%v %+v", err, r)
	}
	if len(listed) != 2 || listed[0].Path != "b.txt" || listed[1].Path != "in/a.txt" || listed[1].Size != 4 {
		t.Errorf("while code ran, the files were %v", listed)
	}
	if string(content) != "two" {
		t.Errorf("while code ran, b.txt held %q", content)
	}
	if len(r.Files) != 1 || r.Files[0].Path != "b.txt" {
		t.Errorf("the code's changes are %v", r.Files)
	}
	if err := s.RemoveFile(ctx, "b.txt"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveFile(ctx, "b.txt"); err != nil {
		t.Errorf("removed again: %v", err)
	}
	if _, err := s.OpenFile("b.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
	if r, err = s.Execute(ctx, Request{Code: "1"}); err != nil || len(r.Files) != 0 {
		t.Errorf("%v; the changes are %v", err, r.Files)
	}
}

// What code puts in the way leads nowhere.
func TestFilesAreNeverLinks(t *testing.T) {
	s := filesSession(t, Limits{})
	ctx := context.Background()
	r, err := s.Execute(ctx, Request{Code: "import os\nos.symlink('/etc/ld.so.preload','l')\nos.symlink('/etc','d')\nos.mkfifo('f')\nos.mkdir('dir')\n"})
	if err != nil || !r.Success {
		t.Fatalf("%v %+v", err, r)
	}
	for _, name := range []string{"l", "d/ld.so.preload", "f", "dir"} {
		if _, err := s.OpenFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opening %s: %v", name, err)
		}
	}
	var invalid *InvalidError
	for _, name := range []string{"../x", "/etc/passwd", "a/../../x", "", "%2e%2e/x"} {
		if _, err := s.OpenFile(name); !errors.As(err, &invalid) {
			t.Errorf("opening %q: %v", name, err)
		}
		if err := s.PutFile(ctx, hostFile(t, "x"), name); !errors.As(err, &invalid) {
			t.Errorf("writing %q: %v", name, err)
		}
	}
	if err := s.PutFile(ctx, hostFile(t, "x"), "d/x"); !errors.As(err, &invalid) {
		t.Errorf("writing through a link: %v", err)
	}
}

// A session's own limits hold, and are those that its errors name.
func TestLimitsOfOneSession(t *testing.T) {
	s := filesSession(t, Limits{MaxMemoryMB: 64, WorkspaceBytes: 1 << 20, Timeout: testkit.Paced(time.Second)})
	ctx := context.Background()
	if err := s.PutFile(ctx, hostFile(t, strings.Repeat("x", 2<<20)), "big"); !errors.Is(err, ErrWorkspaceFull) {
		t.Errorf("2 MiB into 1 MiB: %v", err)
	}
	for _, row := range []struct {
		code    string
		verdict Verdict
	}{
		{"b = bytearray(100 << 20)", VerdictError},
		{"while True: pass", VerdictTimeout},
		{"open('y','wb').write(bytes(2<<20))", VerdictError},
	} {
		r, err := s.Execute(ctx, Request{Code: row.code})
		if err != nil || r.Verdict != row.verdict {
			t.Errorf("%s: %v, %s", row.code, err, r.Verdict)
		}
	}
	if _, err := s.ex.NewSession(ctx, SessionOptions{Limits: Limits{MaxMemoryMB: 1}}); err == nil {
		t.Error("a limit of 1 MB was taken")
	}
}
