package rootfs

import "errors"

// Sentinels callers branch on; every returned error says the details and the
// way to mend it.
var (
	// ErrPython: the interpreter is missing, is not a CPython of a supported
	// version, or could not be asked for its paths.
	ErrPython = errors.New("no usable Python")
	// ErrPackage: a named package is not installed or cannot be carried.
	ErrPackage = errors.New("no such package")
	// ErrSpec: a field of the Spec makes no sense.
	ErrSpec = errors.New("invalid root specification")
	// ErrNotFound: no root has that name or digest.
	ErrNotFound = errors.New("no such root")
	// ErrTampered: a root or its store is not as it was built.
	ErrTampered = errors.New("root was tampered with")
	// ErrInUse: cells still use the root.
	ErrInUse = errors.New("root is in use")
)
