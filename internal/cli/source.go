package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxCode bounds a program, in bytes. Data belongs in files.
const maxCode = 8 << 20

// readProgram reads a file of Python source; pipes work as well.
func readProgram(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", cannotRead(path, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return "", usagef("%q is a directory: name a file in it, or give it with --dir and run a module with -m", path)
	}
	code, err := readBounded(f)
	if err != nil {
		return "", cannotRead(path, err)
	}
	if len(code) > maxCode {
		return "", usagef("%q is larger than %s, the most that a program may be: give data with --file", path, sizeText(maxCode))
	}
	return string(code), nil
}

// readStdin reads a program from standard input.
func readStdin(in io.Reader) (string, error) {
	code, err := readBounded(in)
	if err != nil {
		return "", usagef("cannot read the program from standard input: %v", err)
	}
	if len(code) > maxCode {
		return "", usagef("the program on standard input is larger than %s: hand data over with --file, or with --stdin", sizeText(maxCode))
	}
	return string(code), nil
}

// readBounded reads at most one byte more than a program may have.
func readBounded(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxCode+1)) }

// cannotRead says what is wrong with a path in words.
func cannotRead(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usagef("there is no file %q", path)
	case errors.Is(err, fs.ErrPermission):
		return usagef("cannot read %q: permission denied: it must be readable by the user that runs cellblock", path)
	case errors.Is(err, syscall.EISDIR):
		return usagef("%q is a directory, not a file", path)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return usagef("cannot read %q: %v", path, err)
}
