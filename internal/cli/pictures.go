package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cellblock/cellblock/executor"
)

// pictureTypes are the forms of a result that --out takes, the first that
// there is.
var pictureTypes = []struct{ mime, ending string }{
	{"image/svg+xml", ".svg"},
	{"image/png", ".png"},
	{"image/jpeg", ".jpg"},
	{"image/gif", ".gif"},
	{"image/webp", ".webp"},
}

// savePictures writes what an execution has shown as pictures into the
// directory of --out, as figure-1.png and so on, and returns their paths. No
// file that is there is written over or followed.
func savePictures(dir string, results []executor.Bundle) (paths []string, err error) {
	number := 1
	for _, b := range results {
		content, ending := picture(b)
		if content == nil {
			continue
		}
		f, err := newFigure(dir, ending, &number)
		if err != nil {
			return paths, err
		}
		_, err = f.Write(content)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return paths, fmt.Errorf("cannot write a figure: %w", err)
		}
		paths = append(paths, f.Name())
	}
	return paths, nil
}

// newFigure makes the file with the next number that is free.
func newFigure(dir, ending string, number *int) (*os.File, error) {
	for {
		path := filepath.Join(dir, fmt.Sprintf("figure-%d%s", *number, ending))
		*number++
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot write a figure: %w", err)
		}
	}
}

func picture(b executor.Bundle) (content []byte, ending string) {
	for _, p := range pictureTypes {
		form, ok := b.Data[p.mime]
		if !ok {
			continue
		}
		if p.mime == "image/svg+xml" {
			return []byte(form), p.ending
		}
		if content, err := base64.StdEncoding.DecodeString(form); err == nil {
			return content, p.ending
		}
	}
	return nil, ""
}
