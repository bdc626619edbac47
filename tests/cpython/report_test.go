package cpython

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
)

// An outcome is what came of one test, as regress.py says it.
type outcome struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome"` // passed, failed, skipped; started while it has not ended
	Detail  string `json:"detail"`  // why it failed or was skipped
}

// A report is what came of one module, in one of the two places.
type report struct {
	tests map[string]outcome
	ended bool   // the module came to its end
	end   string // how the process ended, and its last words
}

// mark starts the lines that are meant for here.
const mark = "\x1ecpython-test "

func readReport(output string) report {
	r := report{tests: map[string]outcome{}}
	lines := bufio.NewScanner(strings.NewReader(output))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), mark)
		if !ok {
			continue
		}
		var o outcome
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			r.end = fmt.Sprintf("cannot read the line %q: %v", text, err)
			continue
		}
		switch before, again := r.tests[o.ID]; {
		case o.Outcome == "end":
			r.ended = true
		case again && before.Outcome == "failed":
			// Several tests of one name pass together or not at all.
		default:
			r.tests[o.ID] = o
		}
	}
	return r
}

func (r report) passed(id string) bool { return r.tests[id].Outcome == "passed" }

func (r report) count(outcome string) (n int) {
	for _, o := range r.tests {
		if o.Outcome == outcome {
			n++
		}
	}
	return n
}

// say is what happened to a test, for a reader.
func (r report) say(id string) string {
	switch o, ok := r.tests[id]; {
	case !ok && !r.ended:
		return "not reached: " + r.end
	case !ok:
		return "not run"
	case o.Outcome == "started":
		return "did not end: " + r.end
	case o.Detail == "":
		return o.Outcome
	default:
		return o.Outcome + ": " + o.Detail
	}
}
