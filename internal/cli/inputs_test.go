package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/executor"
)

func TestInputFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "a.csv", "1")
	write(t, "odd:name", "1")
	write(t, "b:c", "1")
	f := fileFlags{files: []string{"a.csv", "odd:name", "b:c:sub/./x.txt"}}
	got, err := f.inputFiles()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		filepath.Join(dir, "a.csv"): "a.csv", filepath.Join(dir, "odd:name"): "odd:name", filepath.Join(dir, "b:c"): "sub/x.txt",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none, err := (&fileFlags{}).inputFiles(); none != nil || err != nil {
		t.Errorf("without --file: %v, %v", none, err)
	}
}

func TestInputDirs(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range []string{"src", "odd:ro", "deep/er"} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("src", "link"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		arg  string
		want executor.Dir
	}{
		{"src", executor.Dir{Host: dir + "/src", Name: "src"}},
		{"src/", executor.Dir{Host: dir + "/src", Name: "src"}},
		{"src:ro", executor.Dir{Host: dir + "/src", Name: "src", ReadOnly: true}},
		{"src:code", executor.Dir{Host: dir + "/src", Name: "code"}},
		{"src:code/x:ro", executor.Dir{Host: dir + "/src", Name: "code/x", ReadOnly: true}},
		{"odd:ro", executor.Dir{Host: dir + "/odd:ro", Name: "odd:ro"}},
		{"odd:ro:ro", executor.Dir{Host: dir + "/odd:ro", Name: "odd:ro", ReadOnly: true}},
		{"link", executor.Dir{Host: dir + "/src", Name: "link"}},
		{"deep/er", executor.Dir{Host: dir + "/deep/er", Name: "er"}},
		{".", executor.Dir{Host: dir, Name: filepath.Base(dir)}},
	}
	for _, tt := range tests {
		got, err := (&fileFlags{dirs: []string{tt.arg}}).inputDirs()
		if err != nil {
			t.Errorf("--dir %s: %v", tt.arg, err)
			continue
		}
		if diff := cmp.Diff([]executor.Dir{tt.want}, got); diff != "" {
			t.Errorf("--dir %s: (-want +got)\n%s", tt.arg, diff)
		}
	}
}

func TestOutDir(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Mkdir("real", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", "link"); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{"": "", "new/deep": dir + "/new/deep", "link": dir + "/real", "real/": dir + "/real"} {
		got, err := (&fileFlags{out: out}).outDir()
		if err != nil || got != want {
			t.Errorf("--out %q: %q, %v; wanted %q", out, got, err, want)
		}
	}
}
