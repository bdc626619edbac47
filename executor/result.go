package executor

import (
	"io"
	"time"
)

// Request is one execution.
type Request struct {
	// Code is Python source.
	Code string
	// Filename is the name tracebacks show for Code; "" means script.py, or
	// script_<StageName>.py.
	Filename string
	// Argv becomes sys.argv; nil means [Filename].
	Argv []string
	// Env is added to the environment while the code runs.
	Env map[string]string
	// Module, when set, is run as `python -m Module` would, instead of Code.
	Module string
	// SessionID names the session whose variables and files live on;
	// "" means a cell of its own, gone afterwards. [A-Za-z0-9][A-Za-z0-9._-]{0,63}
	SessionID string
	// StageName is kept in the name of the script file. [A-Za-z0-9_-]{1,64}
	StageName string
	// InputFiles maps paths on the host to names in the workspace.
	InputFiles map[string]string
	// Given are files that somebody has opened, on their way into the workspace.
	Given []Given
	// Dirs are directories of the host that the cell gets.
	Dirs []Dir
	// FreshNamespace starts the session's REPL with a clean namespace.
	FreshNamespace bool
	// Timeout and CPUTime override the Config's when not 0.
	Timeout time.Duration
	CPUTime time.Duration
	// Stdin is what the program reads; nil means end of file at once.
	Stdin []byte
	// StdinReader is read for the program while it runs, instead of Stdin. It
	// serves one execution of a session; later ones read end of file.
	StdinReader io.Reader
	// Finish ends the program as Python does at its end (threads are waited
	// for, atexit runs); the REPL is of no more use afterwards.
	Finish bool
	// Stdout and Stderr, when set, get each piece of output as it arrives;
	// Result.Output and Result.Stderr are kept as well, up to Config.MaxOutput.
	Stdout, Stderr func([]byte)
	// Watch means that Stdout and Stderr only look on: what goes beyond
	// Config.MaxOutput is lost, so that Result.Truncated and the limit of output
	// are as they are without them.
	Watch bool
	// Script means that Code is a whole program, run as `python FILE` would:
	// the value of a last expression is not wanted.
	Script bool
	// NoResults wants no rich results: display() prints text, and figures of
	// matplotlib stay open.
	NoResults bool
	// EchoDisplay makes display() print its text as well.
	EchoDisplay bool
	// FigureFormat is "png" (or "") or "svg", for figures of matplotlib.
	FigureFormat string
	// Validate refuses code in which the validator finds an issue.
	Validate bool
	// Collect, when set, is a directory on the host that gets the files that
	// the execution created or changed.
	Collect string
}

// Given is an open file whose content the workspace gets as Name before the code
// runs. Only its descriptor is used, so that it may be another process's, with no
// more rights than that has. What is no regular file, or is of a file system of the
// kernel's own such as /proc, is an *InvalidError, and so is one that does not answer
// for 10 s. The descriptor stays the caller's, open until the call returns.
type Given struct {
	FD   int
	Name string
}

// Dir is a directory of the host that a cell gets: copied into the workspace,
// or shared read-only, which does not count against it. Read-only ones, which
// may also be single large files, are given to a cell when it is built: ask for
// them in a session's first execution, or in SessionOptions.
type Dir struct {
	Host     string // path on the host
	Name     string // name in the workspace; "" means the last element of Host
	ReadOnly bool
}

// Verdict is how an execution ended, as the host saw it.
type Verdict string

// The verdicts.
const (
	VerdictOK          Verdict = "ok"
	VerdictError       Verdict = "error"         // an exception
	VerdictSyntaxError Verdict = "syntax-error"  // the code did not compile
	VerdictExit        Verdict = "exit"          // sys.exit or os._exit
	VerdictTimeout     Verdict = "timeout"       // the wall clock
	VerdictCPUTime     Verdict = "cpu-time"      // the CPU clock
	VerdictOutOfMemory Verdict = "out-of-memory" // the kernel's OOM killer
	VerdictOutputLimit Verdict = "output-limit"  // far more output than is kept
	VerdictKilled      Verdict = "killed"        // SIGKILL that nobody here sent, or the caller's own
	VerdictCrashed     Verdict = "crashed"       // another signal, or the REPL broke its protocol
	VerdictRefused     Verdict = "refused"       // the validator
)

// Result is what came of an execution. The first seven fields are those of
// the original system. Verdict, Signal, Usage and Files are the host's own
// observations; Namespace, Value and Exception are what the cell says.
type Result struct {
	Success       bool                `json:"success"`
	Output        string              `json:"output"`
	Error         *string             `json:"error"`
	ExecutionTime float64             `json:"execution_time"` // seconds
	ReturnCode    int                 `json:"return_code"`
	Namespace     map[string]Variable `json:"namespace"`
	CreatedFiles  []string            `json:"created_files"`

	Stderr string  `json:"stderr"`
	Value  *string `json:"value"` // repr of a last expression
	// Results is what code has shown, in order: display(), figures, and the
	// value of the last expression. Like Value it is what the cell says.
	Results   []Bundle      `json:"results"`
	Exception *Exception    `json:"exception"`
	Verdict   Verdict       `json:"verdict"`
	Signal    string        `json:"signal,omitempty"` // e.g. "SIGSEGV"
	Truncated Truncated     `json:"truncated"`
	Files     []FileChange  `json:"files"`
	Session   SessionResult `json:"session"`
	Usage     Usage         `json:"usage"`
	Hint      string        `json:"hint,omitempty"`
	Issues    []Issue       `json:"issues,omitempty"` // why the validator refused
}

// Variable describes one public variable of the session.
type Variable struct {
	Type    string   `json:"type"`
	Shape   []int64  `json:"shape,omitempty"`
	Columns []string `json:"columns,omitempty"`
	DType   string   `json:"dtype,omitempty"`
	Keys    []string `json:"keys,omitempty"`
	Length  *int64   `json:"length,omitempty"`
	Value   *string  `json:"value,omitempty"`
}

// Exception is what the code raised.
type Exception struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
	Line      int    `json:"line,omitempty"` // in the user's code; 0 when unknown
}

// Truncated says what holds less than there was: a stream, or the lists of
// files, which end at maxListed bytes of names. (The files themselves are all
// mirrored and collected.)
type Truncated struct {
	Output bool `json:"output"`
	Stderr bool `json:"stderr"`
	Files  bool `json:"files"`
	// Results says that a result, or a form of one, was left out: too large,
	// or one of more than 64.
	Results bool `json:"results"`
}

// FileChange is a file of the workspace that an execution touched.
type FileChange struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Change string `json:"change"` // created, changed or deleted
}

// SessionResult says where the execution ran.
type SessionResult struct {
	ID        string `json:"id"`
	Execution int    `json:"execution"` // 1 for the first of the session
	Lost      bool   `json:"lost"`      // the namespace is gone; the workspace is kept
}

// Usage is what one execution used.
type Usage struct {
	WallSeconds     float64 `json:"wall_s"`
	CPUSeconds      float64 `json:"cpu_s"`
	MemoryPeakBytes int64   `json:"memory_peak_bytes"`
	ProcessesPeak   int64   `json:"processes_peak"`
	// LifetimePeaks names the peaks above that are those of the cell's whole
	// life so far, since the kernel cannot reset them.
	LifetimePeaks []string `json:"lifetime_peaks,omitempty"`
	// Unmeasured names the figures above that are 0 because nothing measured
	// them: without the group layer, peaks, and the CPU time of a REPL that lives;
	// what this kernel does not count; and all of a cell that ended under its code.
	Unmeasured []string `json:"unmeasured,omitempty"`
}
