package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// When a progress shows itself.
const (
	onDemand = time.Second // a root that is built because a command needs it
	atOnce   = 0           // `rootfs build`
)

// progress shows how far the building of a root is: a bar on a terminal, plain
// lines elsewhere. It is thirty lines of its own because the package that does
// it better links an HTTP client, whose initialisation costs every start 1.3 ms.
//
// It is safe for concurrent use.
type progress struct {
	w        io.Writer
	terminal bool
	width    int
	after    time.Duration

	mu    sync.Mutex
	begun time.Time
	drawn time.Time
	stage string // the last that was shown
	shown bool   // a bar stands on the terminal
}

// newProgress returns a progress that writes to w once building takes longer
// than after.
func newProgress(w io.Writer, after time.Duration) *progress {
	return &progress{w: w, after: after}
}

var stageWords = map[string]string{
	"plan": "planning", "copy": "copying", "compile": "compiling", "hash": "hashing",
}

// update is an executor.Config's Progress.
func (p *progress) update(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.begun.IsZero() {
		p.begun = now
		if f, ok := p.w.(*os.File); ok && isTerminal(f) {
			p.terminal, p.width = true, terminalWidth(int(f.Fd()))
		}
	}
	if now.Sub(p.begun) < p.after {
		return
	}
	if !p.terminal {
		p.line(stage)
		return
	}
	if p.shown && now.Sub(p.drawn) < 50*time.Millisecond && done < total {
		return
	}
	p.drawn, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", bar(word(stage), done, total, p.width))
}

// line says, where there is no terminal, what is going on: for `rootfs build`
// each stage, otherwise only why it takes so long.
func (p *progress) line(stage string) {
	if p.stage == stage || p.stage != "" && p.after > 0 {
		return
	}
	p.stage = stage
	if p.after > 0 {
		fmt.Fprintln(p.w, "cellblock: building the root, once; later runs use it again")
		return
	}
	fmt.Fprintf(p.w, "%s\n", word(stage))
}

func word(stage string) string {
	if w := stageWords[stage]; w != "" {
		return w
	}
	return stage
}

// bar draws one line of at most width columns.
func bar(what string, done, total int64, width int) string {
	if total < 1 {
		total = 1
	}
	done = min(max(done, 0), total)
	head := fmt.Sprintf("building the root: %-9s ", what)
	tail := fmt.Sprintf(" %3d%%", 100*done/total)
	room := min(width-len(head)-len(tail)-3, 40)
	if room < 4 {
		return strings.TrimRight(what+tail, " ")
	}
	full := int(int64(room) * done / total)
	return head + "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "]" + tail
}

// finish takes the bar away. Later updates draw it again.
func (p *progress) finish() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
