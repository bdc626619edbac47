package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What tests wrote in the machine, and only that, arrives in the sources.
func TestGoldenFilesComeBack(t *testing.T) {
	before, after, src := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{before, after} {
		write(dir+"/a/testdata/same", "same")
		write(dir+"/a/testdata/changed", dir)
		write(dir+"/a/test", dir)
	}
	write(after+"/a/b/testdata/deep/new", "new")
	var archive bytes.Buffer
	if err := packWritten(&archive, before, after); err != nil {
		t.Fatal(err)
	}
	names, err := takeWritten(&archive, src)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if want := []string{"a/b/testdata/deep/new", "a/testdata/changed"}; !slices.Equal(names, want) {
		t.Errorf("%q came back, want %q", names, want)
	}
	for name, want := range map[string]string{"a/testdata/changed": after, "a/b/testdata/deep/new": "new"} {
		if got, err := os.ReadFile(filepath.Join(src, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// An archive from the machine reaches golden files and nothing else.
func TestOnlyGoldenFilesComeBack(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "main.go"},
		{Name: "../testdata/x"},
		{Name: "/testdata/x"},
		{Name: "testdata"},
		{Name: "testdata/../x"},
		{Name: "testdata/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		src := t.TempDir()
		if names, err := takeWritten(&b, src); err == nil || len(names) != 0 {
			t.Errorf("%q was taken (%q)", h.Name, names)
		}
		if left, _ := os.ReadDir(src); len(left) != 0 {
			t.Errorf("%q left %v", h.Name, left)
		}
	}
}
