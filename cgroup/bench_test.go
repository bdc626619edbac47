package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/testkit"
)

// quiet lets the machine come to rest between rounds. Back to back, a write to
// cgroup.procs costs microseconds; after 20 ms of quiet, as in use, it waits
// for a grace period of the kernel. The pause is not measured.
func quiet(b *testing.B) {
	b.StopTimer()
	time.Sleep(30 * time.Millisecond)
	b.StartTimer()
}

// median reports what half of the rounds stayed below, which a few slow
// rounds on a busy machine do not move.
func median(b *testing.B, rounds []time.Duration) {
	slices.Sort(rounds)
	b.ReportMetric(float64(rounds[len(rounds)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(rounds[len(rounds)*9/10].Microseconds()), "p90-µs")
}

func benchGroup(b *testing.B) *cgroup.Group {
	return create(b, probe(b), cgroup.Limits{MemoryBytes: 64 << 20, PIDs: 16, CPUs: 1})
}

func BenchmarkProbe(b *testing.B) {
	probe(b)
	for b.Loop() {
		if _, err := cgroup.Probe(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateDestroy(b *testing.B) {
	h := probe(b)
	var made, gone []time.Duration
	for b.Loop() {
		quiet(b)
		t0 := time.Now()
		g, err := h.Create(uniqueName(), "", cgroup.Limits{MemoryBytes: 64 << 20, PIDs: 16, CPUs: 1})
		t1 := time.Now()
		if err != nil {
			b.Fatal(err)
		}
		t2 := time.Now()
		if err := g.Destroy(context.Background()); err != nil {
			b.Fatal(err)
		}
		made, gone = append(made, t1.Sub(t0)), append(gone, time.Since(t2))
	}
	slices.Sort(gone)
	b.ReportMetric(float64(gone[len(gone)/2].Microseconds()), "p50-µs-destroy")
	median(b, made)
}

// The three ways for a process to get into a group, each from a fork of sleep.
func BenchmarkJoin(b *testing.B) {
	for _, way := range []string{"Entrance", "cgroup.procs", "none"} {
		b.Run(way, func(b *testing.B) {
			g := benchGroup(b)
			var rounds []time.Duration
			for b.Loop() {
				quiet(b)
				cmd := exec.Command("/bin/sleep", "60")
				t0 := time.Now()
				switch way {
				case "Entrance":
					start(b, g, cmd)
				default:
					if err := cmd.Start(); err != nil {
						b.Fatal(err)
					}
				}
				if way == "cgroup.procs" {
					for _, p := range g.Paths() {
						if err := os.WriteFile(p+"/cgroup.procs", fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
							b.Fatal(err)
						}
					}
				}
				rounds = append(rounds, time.Since(t0))
				b.StopTimer()
				cmd.Process.Kill()
				cmd.Wait()
				b.StartTimer()
			}
			median(b, rounds)
		})
	}
}

func BenchmarkStats(b *testing.B) {
	g := benchGroup(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Stats(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFirstStats(b *testing.B) {
	h := probe(b)
	var rounds []time.Duration
	for b.Loop() {
		b.StopTimer()
		g, err := h.Create(uniqueName(), "", cgroup.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		t0 := time.Now()
		stats(b, g)
		rounds = append(rounds, time.Since(t0))
		b.StopTimer()
		destroy(b, g)
		b.StartTimer()
	}
	median(b, rounds)
}

func BenchmarkDestroyWithHog(b *testing.B) {
	testkit.Require(b, testkit.Python(""))
	h := probe(b)
	for b.Loop() {
		b.StopTimer()
		g, err := h.Create(uniqueName(), "", cgroup.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command("sleep", "60")
		start(b, g, cmd)
		b.StartTimer()
		destroy(b, g)
		b.StopTimer()
		cmd.Wait()
		b.StartTimer()
	}
}
