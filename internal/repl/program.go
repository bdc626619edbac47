package repl

import (
	"bytes"
	_ "embed"
)

// The parts of the program. Each is written for a reader; a root needs, and a
// REPL reads, only one file.
var (
	//go:embed cellbase.py
	base []byte
	//go:embed celldescribe.py
	describe []byte
	//go:embed cellreport.py
	report []byte
	//go:embed celltemplate.py
	template []byte
	//go:embed cellrepl.py
	main []byte
)

// ShowSource makes the REPL's rich results. The REPL reads it, compiled, when
// code first shows one, from the file show.pyc beside its own.
//
//go:embed cellshow.py
var ShowSource []byte

// Source is the program that runs in the cell. It runs unchanged on CPython
// 3.9 to 3.13 and is installed, compiled, at ProgramPath.
var Source = bytes.Join([][]byte{base, describe, report, template, main}, []byte("\n\n"))

// ProgramPath is where the root holds the compiled program.
const ProgramPath = "/cellblock/repl.pyc"

// ControlFD is the descriptor on which the program finds its end of the
// control channel, a stream socket. 0, 1 and 2 are the standard streams; 0 is
// at its end, or a pipe that Request.LiveStdin names.
const ControlFD = 3

// Bootstrap returns the interpreter's arguments. rootSysPath are the
// directories with installed packages, appended to sys.path; the working
// directory comes first there, like a script's own.
func Bootstrap(rootSysPath []string) []string {
	return bootstrap(ProgramPath, rootSysPath)
}

func bootstrap(program string, rootSysPath []string) []string {
	// -I and -S: no environment, no .pth file, no sitecustomize and no working
	// directory runs before the program. -B: the root is read-only.
	args := []string{"-I", "-S", "-B", "-X", "utf8", program}
	for _, dir := range rootSysPath {
		args = append(args, "--path", dir)
	}
	return args
}
