package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/cellblock/cellblock/executor"
)

const python = "/usr/bin/python3"

// command times a whole command.
func command(name string, argv ...string) contestant {
	return contestant{name, func() (time.Duration, error) {
		began := time.Now()
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		took := time.Since(began)
		if err == nil && strings.TrimSpace(string(out)) != "1" {
			err = fmt.Errorf("it printed %q", out)
		}
		return took, err
	}}
}

func bare() contestant { return command("python3 -I -S", python, "-I", "-S", "-c", "print(1)") }

// oneShot compares whole commands.
func (b *bench) oneShot() ([]Figure, error) {
	m, err := b.compete(
		bare(),
		command("bubblewrap", "bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
			"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--unshare-all", "--die-with-parent", python, "-I", "-S", "-c", "print(1)"),
		command("cellblock run", "bin/cellblock", "run", "-c", "print(1)"),
	)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{"run_vs_bubblewrap", ratio(m[2], m[1]), "x", "cellblock run -c 'print(1)' against bubblewrap with the same Python", "<= 1.4", b.rounds},
		{"run_vs_bare", ratio(m[2], m[0]), "x", "cellblock run -c 'print(1)' against python3 -I -S", "", b.rounds},
	}, nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func newExecutor() (*executor.Executor, error) {
	return executor.New(executor.Config{})
}

// creation compares a session's way to its first result with a bare Python.
func (b *bench) creation() ([]Figure, error) {
	ex, err := newExecutor()
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	ctx := context.Background()
	create := func() (time.Duration, error) {
		began := time.Now()
		s, err := ex.NewSession(ctx, executor.SessionOptions{})
		if err != nil {
			return 0, err
		}
		defer s.Close()
		r, err := s.Execute(ctx, executor.Request{Code: "print(1)"})
		took := time.Since(began)
		if err == nil && r.Output != "1\n" {
			err = errors.New("wrong output")
		}
		return took, err
	}
	m, err := b.compete(bare(), contestant{"session, API", create})
	if err != nil {
		return nil, err
	}
	return []Figure{{"create_vs_bare", ratio(m[1], m[0]), "x", "session creation to the result of print(1), Go API, against python3 -I -S", "<= 2", b.rounds}}, nil
}

// loop is the least that a persistent Python behind pipes can be.
const loop = `
import sys
ns = {}
for line in sys.stdin:
    exec(line, ns)
    sys.stdout.write("ok\n"); sys.stdout.flush()
`

// pipeLoop starts one; say runs a line in it.
func pipeLoop(argv ...string) (say func(string) error, end func(), err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReader(out)
	say = func(code string) error {
		if _, err := io.WriteString(in, code+"\n"); err != nil {
			return err
		}
		answer, err := reader.ReadString('\n')
		if err == nil && answer != "ok\n" {
			err = fmt.Errorf("the loop said %q", answer)
		}
		return err
	}
	return say, func() { in.Close(); cmd.Wait() }, nil
}

// turn is a pause and ten statements, of which the median is taken: the first
// statement after a pause and the ones that follow it differ.
func turn(f func(string) error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		const n = 10
		times := make([]time.Duration, n)
		for i := range times {
			began := time.Now()
			if err := f("x+=1"); err != nil {
				return 0, err
			}
			times[i] = time.Since(began)
		}
		slices.Sort(times)
		return times[n/2], nil
	}
}

func (b *bench) warm() ([]Figure, error) {
	ctx := context.Background()
	say, end, err := pipeLoop(python, "-I", "-S", "-c", loop)
	if err != nil {
		return nil, err
	}
	defer end()
	ex, err := newExecutor()
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return nil, err
	}
	run := func(code string) error {
		r, err := s.Execute(ctx, executor.Request{Code: code})
		if err == nil && !r.Success {
			err = errors.New(*r.Error)
		}
		return err
	}
	if err := errors.Join(say("x=0"), run("x=0")); err != nil {
		return nil, err
	}
	m, err := b.compete(contestant{"bare pipe-and-exec loop", turn(say)}, contestant{"warm statement, API", turn(run)})
	if err != nil {
		return nil, err
	}
	return []Figure{{"warm_vs_loop", ratio(m[1], m[0]), "x", "x+=1 in a session, Go API, against a bare pipe-and-exec loop", "<= 5", b.rounds}}, nil
}

// output prints 100 MB in lines of 100 bytes.
func (b *bench) output() ([]Figure, error) {
	ex, err := newExecutor()
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	ctx := context.Background()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return nil, err
	}
	rounds := max(b.rounds/10, 1)
	var speeds []float64
	for range rounds {
		r, err := s.Execute(ctx, executor.Request{Code: "line = 'x' * 99\nfor i in range(1000000): print(line)"})
		if err != nil {
			return nil, err
		}
		if !r.Success || !r.Truncated.Output {
			return nil, fmt.Errorf("verdict %s", r.Verdict)
		}
		speeds = append(speeds, 100/r.ExecutionTime)
	}
	slices.Sort(speeds)
	return []Figure{{"output_mb_s", speeds[len(speeds)/2], "MB/s", "100 MB printed in lines of 100 bytes", "", rounds}}, nil
}

// idle reads what the kernel charges an idle session's group for: every page,
// page tables and kernel objects of its PID 1 and its REPL.
func (b *bench) idle() ([]Figure, error) {
	ex, err := newExecutor()
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	ctx := context.Background()
	const sessions = 5
	var charged []float64
	for range sessions {
		s, err := ex.NewSession(ctx, executor.SessionOptions{})
		if err != nil {
			return nil, err
		}
		if _, err := s.Execute(ctx, executor.Request{Code: "x = 1"}); err != nil {
			return nil, err
		}
		u, err := s.Usage()
		if err != nil {
			return nil, err
		}
		charged = append(charged, float64(u.MemoryBytes)/(1<<20))
	}
	slices.Sort(charged)
	fmt.Fprintf(os.Stdout, "    %-34s %v\n", "MiB charged", charged)
	return []Figure{{"idle_private_mib", charged[sessions/2], "MiB", "memory charged to an idle session's group, kernel objects included", "", sessions}}, nil
}
