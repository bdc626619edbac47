package executor

import (
	"regexp"
	"strings"
	"sync"
)

// hintRow is a failure that is the sandbox's doing, and what to do about it.
type hintRow struct {
	name  string         // of the exception; "" fits any
	value *regexp.Regexp // of the traceback, whose last line is the exception; nil fits any
	text  string
}

// hints are asked in order, and the first that fits is taken. They are
// compiled when code has failed and not at each start.
var hints = sync.OnceValue(func() []hintRow {
	return []hintRow{
		{"ModuleNotFoundError", regexp.MustCompile(`No module named '(pip|ensurepip|venv)'`), noInstall},
		{"ModuleNotFoundError", regexp.MustCompile(`No module named '_?(tkinter|turtle|turtledemo|idlelib)'`), "The sandbox has no display: draw with matplotlib or PIL, and save the picture to a file."},
		{"ModuleNotFoundError", regexp.MustCompile(`No module named`), "The module is not in the sandbox: a package comes with --with NAME (installed on the host) or --venv DIR, a file of your own with --file or --dir."},
		{"", regexp.MustCompile(`multiprocessing/managers\.py`), "multiprocessing.Manager needs a server's socket, which the sandbox refuses: use Queue, Pipe, Value, Array or shared_memory."},
		{"", regexp.MustCompile(`multiprocessing/(forkserver|popen_forkserver|popen_spawn_posix|resource_tracker)\.py|externals/loky/`), "Workers can only be forked in the sandbox: use multiprocessing.get_context('fork') or threads (joblib: backend='threading' or 'multiprocessing')."},
		{"", regexp.MustCompile(`Address family not supported|URLError|gaierror|name resolution|NameResolution`), "The sandbox has no network: give the data as files (--file, input_files)."},
		{"PermissionError", regexp.MustCompile(`subprocess\.py|popen_spawn|\bos\.(exec|spawn|popen|posix_spawn)`), noPrograms},
		{"OSError", regexp.MustCompile(`\[Errno 28\]|No space left`), "The workspace is full: raise --workspace-size, or delete files."},
		{"OSError", regexp.MustCompile(`\[Errno 27\]|File too large`), "A file in the workspace can be as large as the workspace: raise --workspace-size."},
		{"OSError", regexp.MustCompile(`\[Errno 30\]|Read-only file system`), "Only the workspace (the working directory) and /tmp can be written to."},
		{"OperationalError", regexp.MustCompile(`database or disk is full`), "The workspace is full: raise --workspace-size, or delete files."},
		{"FileNotFoundError", regexp.MustCompile(`\[Errno 2\].*'/(proc|sys)\b`), "The sandbox's /proc shows its own processes and nothing of the machine, and there is no /sys."},
		{"FileNotFoundError", regexp.MustCompile(`\[Errno 2\]`), "The sandbox sees no files of the host: give them with --file or --dir (input_files)."},
		{"EOFError", regexp.MustCompile(`EOF when reading a line`), "The program has no input: hand it over with --stdin (Request.Stdin)."},
		{"MemoryError", nil, "The session's memory limit was reached: raise it with --memory, or work in smaller pieces."},
		{"RuntimeError", regexp.MustCompile(`can't start new thread`), tooMany},
		{"BlockingIOError", regexp.MustCompile(`\[Errno 11\]`), tooMany},
	}
})

const (
	noInstall  = "Packages cannot be installed inside the sandbox: name them when the root is built (--with NAME, or --venv DIR)."
	noPrograms = "The sandbox starts no other programs (no subprocess, os.system, multiprocessing spawn): do it in Python, or with multiprocessing's fork."
	tooMany    = "The session's limit of processes and threads was reached: start fewer (os.cpu_count() counts the host's cores, not the session's), or raise it with --pids."
)

func hint(x *run, r *Result) string {
	switch r.Verdict {
	case VerdictExit:
		if x.r.Module == "pip" || x.r.Module == "ensurepip" || x.r.Module == "venv" {
			return noInstall
		}
	case VerdictOutOfMemory:
		return "Raise the limit with --memory, or work in smaller pieces; files in the workspace and in /tmp count too."
	case VerdictTimeout:
		return "Raise the limit with --timeout."
	case VerdictSyntaxError:
		return magicHint(x.r.Code)
	}
	if r.Exception == nil {
		return ""
	}
	for _, h := range hints() {
		if h.name != "" && h.name != r.Exception.Name {
			continue
		}
		if h.value != nil && !h.value.MatchString(r.Exception.Traceback) {
			continue
		}
		if h.text == noPrograms && regexp.MustCompile(`\bpip3?\b`).MatchString(x.r.Code) {
			return noInstall
		}
		return h.text
	}
	return ""
}

func magicHint(code string) string {
	for line := range strings.Lines(code) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "!pip"), strings.HasPrefix(line, "%pip"), strings.HasPrefix(line, "pip install"):
			return noInstall
		case strings.HasPrefix(line, "!"):
			return "Shell commands (!…) are no Python, and the sandbox starts no other programs."
		case strings.HasPrefix(line, "%"):
			return "Magics (%…) belong to IPython; this is plain Python."
		}
	}
	return ""
}
