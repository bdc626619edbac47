package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/nsjail"
)

// grace is how long interrupted code has until it is killed, firstPause how
// long until the first interrupt is repeated.
const (
	grace      = 2 * time.Second
	firstPause = 250 * time.Millisecond
)

// floodFactor times MaxOutput is what an execution may print in all before it
// is stopped; what is above MaxOutput is counted and thrown away.
const floodFactor = 256

// Execute runs one request in the session: files in, code, files out, result.
//
// The error is not nil when nothing can be said of the code: the request is
// invalid (*InvalidError), the cell could not be built (*nsjail.StepError,
// *nsjail.MissingError, *nsjail.PostureError, errors of package rootfs), the
// session is closed, or was while the code ran (ErrClosed), or ctx ended first.
// Whatever the code did is in the Result.
func (s *Session) Execute(ctx context.Context, r Request) (Result, error) {
	if err := r.check(); err != nil {
		return Result{}, err
	}
	if (r.CPUTime != 0 || s.cfg.CPUTime != 0) && slices.Contains(s.ex.without, nsjail.LayerCgroup) {
		return Result{}, &InvalidError{"CPU time", r.CPUTime.String(), "it is measured by the layer cgroup, which is left out"}
	}
	if err := s.take(ctx); err != nil {
		return Result{}, err
	}
	defer s.give()
	if r.Validate {
		refused, err := s.ex.refuse(ctx, r)
		if err != nil || refused != nil {
			return s.refused(refused), err
		}
	}
	lost, err := s.ready(ctx, r.Dirs)
	if err != nil {
		return Result{}, err
	}
	stuck, err := s.bringIn(ctx, r)
	if err != nil {
		return Result{}, err
	}
	lost = lost || stuck
	s.execution++
	run, cell := s.newRun(r), s.cell
	run.lostBefore = lost
	run.start()
	run.watch(ctx)
	run.settle()
	if fault := cell.Fault(); fault != nil && run.reply == nil {
		return Result{}, fmt.Errorf("cannot tell how the execution ended: %w", fault)
	}
	s.ex.cfg.Trace.Mark("code ran")
	result := run.result()
	if run.reply == nil && s.cellIsOver() {
		return result, ErrClosed
	}
	if err := s.bringOut(ctx, r, run, &result); err != nil {
		return result, err
	}
	s.ex.cfg.Trace.Mark("files brought out")
	if errors.Is(run.cause, context.Canceled) {
		return result, ctx.Err()
	}
	return result, nil
}

// run is one execution under way.
type run struct {
	s       *Session
	r       Request
	name    string
	timeout time.Duration
	cpuTime time.Duration

	out, err stream
	flood    chan struct{}
	before   time.Duration // CPU time of the cell; -1: not known
	reset    bool
	began    time.Time
	took     time.Duration

	request repl.Request
	sent    bool // to the REPL
	done    chan outcome
	reply   *repl.Reply // nil when the REPL did not answer
	fault   error       // why it did not

	verdict    Verdict // decided by the host; "" leaves it to the reply
	cause      error
	lost       bool // the REPL is gone
	swept      bool // all code of the cell was killed
	lostBefore bool // it ended between executions; this one has a fresh one
	died       bool // by itself, or by a signal that was not ours
	exit       nsjail.Exit
	after      cgroup.Stats // -1: not known
	oom        bool
}

// outcome is what the control channel gave.
type outcome struct {
	reply repl.Reply
	err   error
}

func (s *Session) newRun(r Request) *run {
	cfg := s.cfg
	x := &run{s: s, r: r, name: scriptName(r), timeout: cfg.Timeout, cpuTime: cfg.CPUTime, flood: make(chan struct{}, 2), done: make(chan outcome, 1)}
	if r.Timeout != 0 {
		x.timeout = r.Timeout
	}
	if r.CPUTime != 0 {
		x.cpuTime = r.CPUTime
	}
	over := func() { x.flood <- struct{}{} }
	limit := int64(0)
	if cfg.MaxOutput > 0 {
		limit = cfg.MaxOutput * floodFactor
	}
	x.out = stream{file: s.proc.Stdout, keep: max(cfg.MaxOutput, 0), limit: limit, over: over, tee: r.Stdout}
	x.err = stream{file: s.proc.Stderr, keep: max(cfg.MaxOutput, 0), limit: limit, over: over, tee: r.Stderr}
	if r.Stdout != nil && !r.Watch {
		x.out.limit = 0 // passed on, not kept: nothing to protect
	}
	if r.Stderr != nil && !r.Watch {
		x.err.limit = 0
	}
	return x
}

func scriptName(r Request) string {
	switch {
	case r.Filename != "":
		return r.Filename
	case r.StageName != "":
		return "script_" + r.StageName + ".py"
	}
	return "script.py"
}

func (x *run) start() {
	s := x.s
	if g := s.cell.Group(); g != nil {
		var err error
		x.reset, _ = g.ResetPeak()
		if x.before, err = g.CPU(); err != nil {
			x.before = -1
		}
	}
	x.request = repl.Request{
		Code: x.r.Code, Filename: x.name, Module: x.r.Module, Argv: x.r.Argv, Stdin: x.r.Stdin, Env: variables(x.r.Env),
		Script: x.r.Script, Fresh: x.r.FreshNamespace, Finish: x.r.Finish,
		Save:    s.folder != nil && x.r.Filename == "" && x.r.Module == "",
		Results: !x.r.NoResults, Echo: x.r.EchoDisplay, SVG: x.r.FigureFormat == "svg",
	}
	if x.r.StdinReader != nil {
		x.request.LiveStdin = true
		go func(to io.WriteCloser) {
			io.Copy(to, x.r.StdinReader)
			to.Close()
		}(s.proc.Stdin)
	} else {
		s.proc.Stdin.Close() // end of file, also for what the code starts
	}
	x.began = time.Now()
}

// Most statements take less than patience. They are waited for by one
// goroutine alone: timers, watches and readers of the output, each of which
// costs as much as such a statement, begin only for what takes longer. Until
// then the output fits into the pipes, or waits for room there.
const patience = 5 * time.Millisecond

// quick runs the code and says whether it ended soon.
func (x *run) quick() bool {
	if x.r.StdinReader != nil {
		return false
	}
	reply, err := x.s.conn.ExecSoon(x.request, min(patience, x.timeout))
	if errors.Is(err, context.DeadlineExceeded) {
		// On a busy machine the time can be over before anything was sent.
		x.sent = x.s.conn.Pending()
		return false
	}
	x.took = time.Since(x.began)
	x.taken(outcome{reply, err})
	return true
}

// taken keeps what the control channel gave.
func (x *run) taken(o outcome) {
	if o.err == nil {
		x.reply = &o.reply
	} else {
		x.fault = o.err
	}
}

// await gives what the channel still has to give to x.done.
func (x *run) await(conn *repl.Conn) {
	if x.sent {
		reply, err := conn.Await(context.Background())
		x.done <- outcome{reply, err}
		return
	}
	reply, err := conn.Exec(context.Background(), x.request)
	x.done <- outcome{reply, err}
}

// watch waits for the reply, and for whatever ends the code before it comes.
// The host decides: each case is an observation of its own clock, of the
// kernel, or of its caller.
func (x *run) watch(ctx context.Context) {
	if x.quick() {
		return
	}
	x.out.start()
	x.err.start()
	go x.await(x.s.conn)
	wall := time.NewTimer(x.timeout - time.Since(x.began))
	defer wall.Stop()
	kill := time.NewTimer(time.Hour)
	kill.Stop()
	defer kill.Stop()
	cpu := x.cpuTimer()
	defer cpu.Stop()
	recheck := time.NewTimer(time.Hour)
	recheck.Stop()
	defer recheck.Stop()
	again := time.NewTimer(time.Hour)
	again.Stop()
	defer again.Stop()
	pause := firstPause
	var memory <-chan struct{}
	if g := x.s.cell.Group(); g != nil {
		memory = g.OOM()
	}
	cancelled, ended := ctx.Done(), x.s.proc.Ended()
	// stop interrupts once; code that goes on after the grace period is killed.
	stop := func(v Verdict, cause error) {
		if x.verdict != "" {
			return
		}
		x.verdict, x.cause = v, cause
		x.forgiveCPU()
		x.s.proc.Signal(syscall.SIGINT)
		kill.Reset(grace)
		again.Reset(pause)
	}
	for {
		select {
		case o := <-x.done:
			x.took = time.Since(x.began)
			x.taken(o)
			return
		case <-wall.C:
			stop(VerdictTimeout, nil)
		case <-cpu.C:
			if used := x.cpuUsed(); used >= x.cpuTime {
				stop(VerdictCPUTime, nil)
			} else {
				cpu.Reset(x.cpuWait(used))
			}
		case <-x.flood:
			stop(VerdictOutputLimit, nil)
		case <-memory:
			// The event comes before the kill, and also for a group above ours.
			recheck.Reset(time.Millisecond)
		case <-recheck.C:
			switch stats, err := x.s.cell.Group().Stats(); {
			case err == nil && stats.OOMKills > x.s.oomKills:
				x.oom = true
				x.kill()
			case err == nil && stats.UnderOOM:
				recheck.Reset(5 * time.Millisecond)
			}
		case <-ended:
			// Its children may hold the channel open: it ends with them.
			ended = nil
			x.died = !x.lost
			x.kill()
		case <-again.C:
			// CPython misses a signal that arrives just before a blocking call.
			x.forgiveCPU()
			x.s.proc.Signal(syscall.SIGINT)
			pause *= 2
			again.Reset(pause)
		case <-kill.C:
			x.kill()
		case <-cancelled:
			cancelled = nil
			stop(VerdictKilled, context.Canceled)
		}
	}
}

// kill ends the code, and where memory was the reason all of the cell's: nothing
// can be said of its state any more. The control channel's end follows.
func (x *run) kill() {
	x.lost = true
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	var err error
	whole := true
	if x.oom {
		err = x.s.tenants.killAll(ctx, x.s.cell)
	} else {
		whole, err = x.s.killREPL(ctx)
	}
	if err != nil {
		x.s.cell.Close()
	}
	x.swept = x.swept || whole
	if conn := x.s.conn; !whole {
		time.AfterFunc(channelTime, func() { conn.Close() })
	}
}

// forgiveCPU lets the interrupt be heard in a cell that owes CPU: code that ignores
// it gets no more than its limit for that. A cell that would go on without a limit
// ends.
func (x *run) forgiveCPU() {
	g := x.s.cell.Group()
	if g == nil {
		return
	}
	if err := g.ForgiveCPU(); err != nil {
		x.lost = true
		x.s.cell.Close()
	}
}

// settle takes what is still to be had: the rest of the output, how a REPL
// that is gone ended, the figures.
func (x *run) settle() {
	s := x.s
	if x.fault != nil {
		x.awaitEnd()
		x.kill() // also what it left behind
		<-s.proc.Ended()
		x.exit = s.proc.Exit()
	}
	x.out.finish()
	x.err.finish()
	if g := s.cell.Group(); g != nil {
		var err error
		if x.after, err = g.Stats(); err != nil {
			x.after = cgroup.Stats{CPU: -1, MemoryPeak: -1, PIDsPeak: -1, OOMKills: s.oomKills} // it went with the cell
		}
		x.oom = x.oom || x.after.OOMKills > s.oomKills
		s.oomKills = x.after.OOMKills
	}
	if x.oom && !x.swept {
		// The kernel took a child, or this REPL beside others: nothing can be said
		// of the state of the code any more.
		x.kill()
	}
	switch {
	case x.lost:
		s.endREPL()
	case x.r.Finish:
		s.spent = true // ended with the cell, or by the next execution
	}
}

// awaitEnd gives a REPL whose channel is at its end a moment to be reaped, to
// tell one that died from one that only closed its channel.
func (x *run) awaitEnd() {
	if x.lost || !errors.Is(x.fault, repl.ErrClosed) {
		return
	}
	wait := time.NewTimer(200 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-x.s.proc.Ended():
		x.died = true
	case <-wait.C:
	}
}

func (x *run) cpuTimer() *time.Timer {
	if x.cpuTime == 0 || x.s.cell.Group() == nil {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTimer(x.cpuWait(0))
}

// cpuWait is the soonest that the rest of the CPU time can be used up.
func (x *run) cpuWait(used time.Duration) time.Duration {
	rest := float64(x.cpuTime-used) / max(x.s.cfg.CPUs, 1)
	return max(time.Duration(rest), time.Millisecond)
}

func (x *run) cpuUsed() time.Duration {
	used, err := x.s.cell.Group().CPU()
	if err != nil {
		return 0
	}
	return used - x.before
}
