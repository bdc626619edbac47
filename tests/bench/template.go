package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// science is what users of data have imported in every session.
var science = []string{"numpy as np", "pandas as pd", "matplotlib.pyplot as plt"}

func newTemplate(pool int, preload ...string) (*executor.Executor, error) {
	cfg := executor.Config{Template: true, Preload: preload, Pool: executor.PoolOptions{Size: pool}}
	if len(preload) > 0 {
		cfg.Packages = []string{"numpy", "pandas", "matplotlib"}
	}
	ex, err := executor.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := ex.Warm(context.Background()); err != nil {
		ex.Close()
		return nil, err
	}
	return ex, nil
}

// once is a session's whole life with one execution; took is until its result.
func once(ex *executor.Executor, code, want string) (took time.Duration, err error) {
	ctx := context.Background()
	began := time.Now()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r, err := s.Execute(ctx, executor.Request{Code: code})
	took = time.Since(began)
	if err == nil && r.Output != want {
		err = fmt.Errorf("it printed %q (%s)", r.Output, r.Verdict)
	}
	return took, err
}

// forked compares sessions from templates with a bare Python.
func (b *bench) forked() ([]Figure, error) {
	plain, err := newTemplate(2)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	loaded, err := newTemplate(2, science...)
	if err != nil {
		return nil, err
	}
	defer loaded.Close()
	m, err := b.compete(
		bare(),
		contestant{"forked session, API", func() (time.Duration, error) { return once(plain, "print(1)", "1\n") }},
		contestant{"the same with numpy, pandas, pyplot", func() (time.Duration, error) { return once(loaded, "print(1)", "1\n") }},
	)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{"template_vs_bare", ratio(m[1], m[0]), "x", "session forked from a template to the result of print(1), Go API, against python3 -I -S", "<= 0.6", b.rounds},
		{"template_pandas_vs_bare", ratio(m[2], m[0]), "x", "the same with numpy, pandas and matplotlib imported, against python3 -I -S without", "<= 1.0", b.rounds},
	}, nil
}

const drawing = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\n_ = plt.title('t')\n"

// plot is the way to a picture: by Python alone, in a new session, in one that has
// drawn before.
func (b *bench) plot() ([]Figure, error) {
	ex, err := newTemplate(2, science...)
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	ctx := context.Background()
	draw := func(s *executor.Session) error {
		r, err := s.Execute(ctx, executor.Request{Code: drawing})
		if err == nil && (len(r.Results) != 1 || r.Results[0].Data["image/png"] == "") {
			err = fmt.Errorf("no picture but %d results (%s)", len(r.Results), r.Verdict)
		}
		return err
	}
	warm, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return nil, err
	}
	defer warm.Close()
	if err := draw(warm); err != nil {
		return nil, err
	}
	m, err := b.compete(
		contestant{"python3, savefig", timed(func() error {
			cmd := exec.Command(python, "-c", drawing+"import io; plt.savefig(io.BytesIO(), format='png')")
			cmd.Env = append(os.Environ(), "MPLBACKEND=Agg")
			return cmd.Run()
		})},
		contestant{"new session, picture", timed(func() error {
			s, err := ex.NewSession(ctx, executor.SessionOptions{})
			if err != nil {
				return err
			}
			return errors.Join(draw(s), s.Close())
		})},
		contestant{"the session's next picture", timed(func() error { return draw(warm) })},
	)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{"plot_vs_bare", ratio(m[1], m[0]), "x", "a session made, a plot drawn, its PNG in the result, the session ended, Go API, against python3 that imports and draws", "", b.rounds},
		{"warm_plot_vs_bare", ratio(m[2], m[0]), "x", "a plot in a session that has drawn before, against the same", "", b.rounds},
	}, nil
}

// timed takes the time of a whole.
func timed(f func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		began := time.Now()
		err := f()
		return time.Since(began), err
	}
}

const frame = "print(pd.DataFrame({'a': [1, 2, 3]}).a.sum())"

// churn makes and ends sessions on both cores for 30 s.
func (b *bench) churn() ([]Figure, error) {
	const workers, span = 5, 30 * time.Second
	ex, err := newTemplate(8, science...)
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for time.Since(began) < span {
				start := time.Now()
				_, err := once(ex, frame, "6\n")
				mu.Lock()
				times = append(times, time.Since(start))
				failed = errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if failed != nil {
		return nil, failed
	}
	slices.Sort(times)
	p50, p99 := times[len(times)/2], times[len(times)*99/100]
	fmt.Printf("    %-34s p50 %8.3f ms   p99 %8.3f   max %8.3f\n", "creation, execution, close", ms(p50), ms(p99), ms(times[len(times)-1]))
	return []Figure{
		{"churn_per_s", float64(len(times)) / took.Seconds(), "1/s", "sessions with pandas made, used for a DataFrame and ended, over 30 s", ">= 150", len(times)},
		{"churn_p99_over_p50", ratio(p99, p50), "x", "the slowest of a hundred of them against the median", "<= 10", len(times)},
	}, nil
}

// live holds many sessions at once and asks the kernel what each costs.
func (b *bench) live() ([]Figure, error) {
	sessions := 1000
	if b.rounds < 50 {
		sessions = 20 * b.rounds
	}
	ex, err := newTemplate(0, science...)
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	ctx := context.Background()
	before, err := ex.TemplateUsage()
	if err != nil {
		return nil, err
	}
	all := make([]*executor.Session, sessions)
	for i := range all {
		if all[i], err = ex.NewSession(ctx, executor.SessionOptions{}); err != nil {
			return nil, err
		}
		if _, err := all[i].Execute(ctx, executor.Request{Code: frame}); err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
	}
	var bytes int64
	for i, s := range all {
		r, err := s.Execute(ctx, executor.Request{Code: "print('alive')"})
		if err != nil || r.Output != "alive\n" || r.Session.Lost {
			return nil, fmt.Errorf("session %d of %d says %q (%s): %w", i, sessions, r.Output, r.Verdict, err)
		}
		u, err := s.Usage()
		if err != nil {
			return nil, err
		}
		bytes += u.MemoryBytes
	}
	after, err := ex.TemplateUsage()
	if err != nil {
		return nil, err
	}
	own := float64(bytes) / float64(sessions) / (1 << 20)
	grown := float64(after.MemoryBytes-before.MemoryBytes) / float64(sessions) / (1 << 10)
	fmt.Fprintf(os.Stdout, "    %-34s %d sessions: %.2f MiB each, and %.1f KiB more in the template's group\n", "charged", sessions, own, grown)
	return []Figure{
		{"live_private_mib", own + max(grown, 0)/1024, "MiB", "charged for each live session with pandas after a DataFrame, init, kernel objects and the template's growth included", "<= 6", sessions},
		{"template_growth_kib", grown, "KiB", "what each fork adds to the template's group", "<= 50", sessions},
	}, nil
}
