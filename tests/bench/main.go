// Command bench measures Cellblock against its neighbours on this machine.
//
//	go run ./tests/bench [-rounds 50] [-only run_vs_bubblewrap,warm_vs_loop] [-out bench.json]
//
// What is compared runs interleaved, round by round, in one process; each
// figure is a median or a ratio of medians. Between rounds it pauses 30 ms,
// because a tight loop hides what the kernel charges after a quiet moment.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Figure is one line of bench.json.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Of     string  `json:"of"`   // what was measured, against what
	Goal   string  `json:"goal"` // "" where there is none
	Rounds int     `json:"rounds"`
}

// family is a group of contestants that take turns.
type family struct {
	figures []string // names that it gives
	run     func(*bench) ([]Figure, error)
}

var families = []family{
	{[]string{"run_vs_bubblewrap"}, (*bench).oneShot},
	{[]string{"create_vs_bare"}, (*bench).creation},
	{[]string{"template_vs_bare", "template_pandas_vs_bare"}, (*bench).forked},
	{[]string{"churn_per_s", "churn_p99_over_p50"}, (*bench).churn},
	{[]string{"live_private_mib", "template_growth_kib"}, (*bench).live},
	{[]string{"plot_vs_bare", "warm_plot_vs_bare"}, (*bench).plot},
	{[]string{"warm_vs_loop"}, (*bench).warm},
	{[]string{"http_warm_vs_loop", "http_warm_vs_ipykernel", "http_create_vs_api"}, (*bench).service},
	{[]string{"output_mb_s"}, (*bench).output},
	{[]string{"idle_private_mib"}, (*bench).idle},
}

type bench struct {
	rounds int
	only   []string
}

func main() {
	b := &bench{}
	only := flag.String("only", "", "names of the figures to measure, separated by commas")
	out := flag.String("out", "bench.json", "file to write")
	flag.IntVar(&b.rounds, "rounds", 50, "rounds of each comparison")
	flag.Parse()
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	if err := b.main(*out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) main(out string) error {
	var figures []Figure
	for _, f := range families {
		if len(b.only) > 0 && !slices.ContainsFunc(f.figures, func(n string) bool { return slices.Contains(b.only, n) }) {
			continue
		}
		fs, err := f.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", f.figures[0], err)
		}
		for _, f := range fs {
			fmt.Printf("%-22s %10.3f %-6s %-14s %s\n", f.Name, f.Value, f.Unit, f.Goal, f.Of)
		}
		figures = append(figures, fs...)
	}
	j, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(j, '\n'), 0o644)
}

// contestant is one side of a comparison.
type contestant struct {
	name string
	once func() (time.Duration, error)
}

// compete lets the contestants take turns and returns their medians.
func (b *bench) compete(cs ...contestant) ([]time.Duration, error) {
	times := make([][]time.Duration, len(cs))
	for round := range b.rounds + 2 {
		for i := range cs {
			// Who goes first changes, so that no one always follows the same.
			k := (i + round) % len(cs)
			time.Sleep(30 * time.Millisecond)
			d, err := cs[k].once()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cs[k].name, err)
			}
			if round >= 2 { // the first rounds warm caches
				times[k] = append(times[k], d)
			}
		}
	}
	medians := make([]time.Duration, len(cs))
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
		fmt.Printf("    %-34s median %8.3f ms   p10 %8.3f   p90 %8.3f\n", cs[i].name, ms(medians[i]), ms(t[len(t)/10]), ms(t[len(t)*9/10]))
	}
	return medians, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
