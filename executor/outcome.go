package executor

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/repl"
)

// result puts together what the cell claims and what the host saw. Verdict,
// signal, usage and files are never taken from the cell.
func (x *run) result() Result {
	s := x.s
	r := Result{
		ExecutionTime: x.took.Seconds(),
		Namespace:     map[string]Variable{},
		CreatedFiles:  []string{},
		Results:       []Bundle{},
		Files:         []FileChange{},
		Output:        text(string(x.out.kept)),
		Stderr:        text(string(x.err.kept)),
		Truncated:     Truncated{Output: x.out.truncated(), Stderr: x.err.truncated()},
		Session:       SessionResult{ID: s.options.ID, Execution: s.execution, Lost: x.lost && !x.r.Finish || x.lostBefore},
		Usage:         x.usage(),
	}
	if x.r.Stdout != nil && !x.r.Watch {
		r.Truncated.Output = false // passed on whole
	}
	if x.r.Stderr != nil && !x.r.Watch {
		r.Truncated.Stderr = false
	}
	if x.reply != nil {
		r.Value = x.reply.Value
		if !x.r.NoResults {
			r.Results, r.Truncated.Results = bundles(x.reply), x.reply.LeftOut
		}
		for name, v := range x.reply.Namespace {
			r.Namespace[name] = Variable(v)
		}
		if e := x.reply.Exception; e != nil {
			r.Exception = (*Exception)(e)
		}
	}
	x.judge(&r)
	r.Success = r.ReturnCode == 0 && r.Error == nil
	if !r.Success {
		r.Hint = hint(x, &r)
	}
	return r
}

// judge decides how the execution ended. What the host did or saw comes
// first; the reply counts only where the host has nothing to say.
func (x *run) judge(r *Result) {
	fail := func(v Verdict, code int, format string, a ...any) {
		message := fmt.Sprintf(format, a...)
		r.Verdict, r.ReturnCode, r.Error = v, code, &message
	}
	status := x.exit.Status
	switch {
	case x.oom:
		fail(VerdictOutOfMemory, -1, "Out of memory: the session reached its limit of %d MB and its processes were killed", x.s.cfg.MaxMemoryMB)
	case x.verdict == VerdictTimeout:
		fail(VerdictTimeout, -1, "Execution timeout after %s seconds", seconds(x.timeout))
	case x.verdict == VerdictCPUTime:
		fail(VerdictCPUTime, -1, "CPU time limit of %s seconds reached", seconds(x.cpuTime))
	case x.verdict == VerdictOutputLimit:
		fail(VerdictOutputLimit, -1, "Output limit reached: more than %d bytes were printed", x.out.limit)
	case x.verdict == VerdictKilled:
		fail(VerdictKilled, -1, "The execution was cancelled")
	case x.reply != nil:
		x.claimed(r, fail)
	case errors.Is(x.fault, repl.ErrProtocol), errors.Is(x.fault, repl.ErrClosed) && status.Signaled() && status.Signal() == syscall.SIGKILL && !x.died:
		fail(VerdictCrashed, -1, "The REPL broke its protocol and was ended: %v", x.fault)
	case errors.Is(x.fault, repl.ErrTooLarge):
		fail(VerdictError, 1, "%v", x.fault)
	case status.Exited():
		fail(VerdictExit, status.ExitStatus(), "The process ended with status %d", status.ExitStatus())
		if status.ExitStatus() == 0 {
			r.Error = nil
		}
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		r.Signal = signalName(status.Signal())
		fail(VerdictKilled, -1, "The process was killed")
	default:
		r.Signal = signalName(status.Signal())
		fail(VerdictCrashed, -1, "The process crashed with %s", r.Signal)
	}
}

// claimed is the verdict where code ended by itself, by what the REPL says.
func (x *run) claimed(r *Result, fail func(Verdict, int, string, ...any)) {
	traceback := ""
	if r.Exception != nil {
		traceback = r.Exception.Traceback
	}
	switch x.reply.Status {
	case repl.StatusOK:
		r.Verdict = VerdictOK
	case repl.StatusSyntaxError:
		fail(VerdictSyntaxError, 1, "%s", traceback)
	case repl.StatusExit:
		r.Verdict, r.ReturnCode = VerdictExit, x.reply.ExitCode
		if r.ReturnCode != 0 {
			fail(VerdictExit, r.ReturnCode, "SystemExit: %d", r.ReturnCode)
		}
		r.Exception = nil
	default: // an exception, KeyboardInterrupt among them
		fail(VerdictError, 1, "%s", traceback)
	}
}

func (x *run) usage() Usage {
	u := Usage{WallSeconds: x.took.Seconds()}
	if x.s.cell == nil || x.s.cell.Group() == nil {
		u.CPUSeconds = x.exit.CPU.Seconds()
		u.Unmeasured = []string{"memory_peak_bytes", "processes_peak"}
		if u.CPUSeconds == 0 {
			u.Unmeasured = append(u.Unmeasured, "cpu_s")
		}
		return u
	}
	// A figure that the kernel does not give, or gave no more, is none.
	if x.before >= 0 && x.after.CPU >= x.before {
		u.CPUSeconds = (x.after.CPU - x.before).Seconds()
	} else {
		u.Unmeasured = append(u.Unmeasured, "cpu_s")
	}
	if u.ProcessesPeak = max(x.after.PIDsPeak, 0); x.after.PIDsPeak < 0 {
		u.Unmeasured = append(u.Unmeasured, "processes_peak")
	} else {
		u.LifetimePeaks = append(u.LifetimePeaks, "processes_peak")
	}
	if u.MemoryPeakBytes = max(x.after.MemoryPeak, 0); x.after.MemoryPeak < 0 {
		u.Unmeasured = append(u.Unmeasured, "memory_peak_bytes")
	} else if !x.reset {
		u.LifetimePeaks = append(u.LifetimePeaks, "memory_peak_bytes")
	}
	return u
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g", d.Seconds()) }

// text makes valid UTF-8 of what a cell wrote: each byte that is none becomes
// U+FFFD. Who needs the bytes takes Request.Stdout.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return signalName(status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
