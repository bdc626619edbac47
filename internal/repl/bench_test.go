package repl

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// bareLoop is the least that a process which executes code can do.
const bareLoop = `
import sys, posix
namespace = {}
while True:
    code = posix.read(0, 8192)
    if not code: break
    exec(code, namespace)
    posix.write(1, b'.')
`

// BenchmarkWarm compares one warm x+=1 with the bare loop, in turns, and
// reports both medians and their ratio.
func BenchmarkWarm(b *testing.B) {
	p := pythons(b)[0]
	r := start(b, p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := r.Exec(ctx, Request{Code: "x = 0"}); err != nil {
		b.Fatal(err)
	}

	cmd := exec.Command(p.path, "-I", "-S", "-c", bareLoop)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	bare := func(code string) {
		in.Write([]byte(code))
		io.ReadFull(out, make([]byte, 1))
	}
	bare("x = 0")

	var repl, loop []time.Duration
	for b.Loop() {
		began := time.Now()
		reply, err := r.Exec(ctx, Request{Code: "x+=1", Results: true})
		repl = append(repl, time.Since(began))
		if err != nil || reply.Status != StatusOK {
			b.Fatal(reply, err)
		}
		began = time.Now()
		bare("x+=1")
		loop = append(loop, time.Since(began))
	}
	b.ReportMetric(float64(median(repl).Nanoseconds()), "ns/repl")
	b.ReportMetric(float64(median(loop).Nanoseconds()), "ns/bare")
	b.ReportMetric(float64(median(repl))/float64(median(loop)), "ratio")
}

// BenchmarkReady compares the time until a REPL is ready with the whole life of
// a bare interpreter that runs an empty file.
func BenchmarkReady(b *testing.B) {
	p := pythons(b)[0]
	var repl, bare []time.Duration
	for b.Loop() {
		began := time.Now()
		r := start(b, p)
		repl = append(repl, time.Since(began))
		r.Close()
		<-r.exited
		cmd := exec.Command(p.path, "-I", "-S", "-B", "-X", "utf8", "-c", "")
		cmd.Stdout = &bytes.Buffer{}
		began = time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(began))
	}
	b.ReportMetric(float64(median(repl).Microseconds()), "µs/ready")
	b.ReportMetric(float64(median(bare).Microseconds()), "µs/bare")
	b.ReportMetric(float64(median(repl))/float64(median(bare)), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
