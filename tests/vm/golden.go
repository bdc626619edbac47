package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// With -update tests write their golden files anew. In the machine they do so in
// a copy of the sources' testdata; what they changed comes back as an archive.

// writtenDir is where tests run in the machine when they may write. Debian 12 runs
// no program below /run.
const writtenDir = "/var/tmp/cellblock-src"

// packWritten writes the files in testdata below after that are not so below before.
func packWritten(to io.Writer, before, after string) error {
	archive := tar.NewWriter(to)
	err := filepath.WalkDir(after, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(after, path)
		if err != nil {
			return err
		}
		if !isGolden(rel) {
			return nil
		}
		now, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if was, err := os.ReadFile(filepath.Join(before, rel)); err == nil && bytes.Equal(was, now) {
			return nil
		}
		if err := archive.WriteHeader(&tar.Header{Name: rel, Size: int64(len(now)), Mode: 0o644}); err != nil {
			return err
		}
		_, err = archive.Write(now)
		return err
	})
	return errors.Join(err, archive.Close())
}

// takeWritten puts the files of such an archive into the sources, and nothing
// but golden files, and returns their names.
func takeWritten(from io.Reader, src string) (names []string, err error) {
	root, err := os.OpenRoot(src)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	archive := tar.NewReader(from)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
		if h.Typeflag != tar.TypeReg || !isGolden(h.Name) {
			return names, fmt.Errorf("%q from the machine is no golden file", h.Name)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			return names, err
		}
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
			return names, err
		}
		if err := root.WriteFile(h.Name, b, 0o644); err != nil {
			return names, err
		}
		names = append(names, h.Name)
	}
}

// bringBack puts what a machine's tests wrote into the sources.
func (m *machine) bringBack() error {
	archive, err := os.Open(m.written)
	if err != nil {
		return err
	}
	defer archive.Close()
	src, err := sources()
	if err != nil {
		return err
	}
	names, err := takeWritten(archive, src)
	for _, name := range names {
		fmt.Println("# written:", name)
	}
	return err
}

// isGolden says that a path of the sources is in a package's testdata.
func isGolden(path string) bool {
	return filepath.IsLocal(path) && slices.Contains(strings.Split(filepath.Dir(path), "/"), "testdata")
}
