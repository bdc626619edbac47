package workspace

import (
	"fmt"
	"testing"
)

func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		b.Run(fmt.Sprintf("tmpfs/%d", n), func(b *testing.B) { benchSnapshot(b, newCell(b), n) })
		b.Run(fmt.Sprintf("disk/%d", n), func(b *testing.B) { benchSnapshot(b, newPlace(b), n) })
	}
}

func benchSnapshot(b *testing.B, p place, n int) {
	for i := range n {
		p.write(b, fmt.Sprintf("file%04d.csv", i), "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		if s, err := p.Snapshot(Limits{}); err != nil || len(s.Files) != n {
			b.Fatal(err, len(s.Files))
		}
	}
}

// BenchmarkRound is what an execution pays: Push and Pull of unchanged sides.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{0, 10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cell, host := newCell(b), newPlace(b)
			for i := range n {
				host.write(b, fmt.Sprintf("file%04d.csv", i), "x")
			}
			m, err := NewMirror(cell.Dir, host.Dir, Limits{})
			must(b, err)
			w := &pathWriter{place: cell}
			_, err = m.Push(b.Context(), w)
			must(b, err)
			b.ReportAllocs()
			for b.Loop() {
				ups, err1 := m.Push(b.Context(), w)
				changes, err2 := m.Pull(b.Context())
				if err1 != nil || err2 != nil || len(ups)+len(changes) != 0 {
					b.Fatal(err1, err2, ups, changes)
				}
			}
		})
	}
}

// BenchmarkPullOne is one small file that changes each time.
func BenchmarkPullOne(b *testing.B) {
	cell, host := newCell(b), newPlace(b)
	m, err := NewMirror(cell.Dir, host.Dir, Limits{})
	must(b, err)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		cell.write(b, "result.txt", fmt.Sprint(i))
		b.StartTimer()
		if changes, err := m.Pull(b.Context()); err != nil || len(changes) != 1 {
			b.Fatal(err, changes)
		}
	}
}
