package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// slot is the place of one session of a load, which is made anew now and then.
type slot struct {
	load   *load
	number int

	mu   sync.Mutex
	now  *generation
	made int
	old  []*generation
}

// generation is one session, with all that it answered.
type generation struct {
	id     string
	ending bool // guarded by slot.mu

	mu         sync.Mutex
	answers    []answer
	unanswered int // executions that told nothing
}

// answer is what an execution says of its session.
type answer struct {
	execution int  // of the session, as the service counts
	lost      bool // the service says that the namespace was lost
	count     int  // the variable n; 0: the code does not tell it
	unclear   bool // it would have told n, and did not end by itself
	forks     bool // it leaves processes, which may use up the session's memory later
}

func (x *slot) current() *generation {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now
}

func (x *slot) isOver(g *generation) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now != g || g.ending
}

// isFilled says that hostile code takes and keeps what the slot's sessions have.
func (x *slot) isFilled() bool { return x.number%25 == 7 }

// refused is an answer that is no success.
func (x *slot) refused(g *generation, what string, status int, text string) {
	if status == 409 || status == 429 || (status == 404 || status == 410) && x.isOver(g) {
		return
	}
	x.load.t.Errorf("%s: %d %.600s", what, status, text)
}

// execute runs code, as a friend if there is a nonce that its output must have.
func (x *slot) execute(g *generation, source string, nonce int64, timeout float64, stream bool) {
	what := "hostile code"
	if nonce != 0 {
		what = "code"
	}
	var headers []string
	if stream {
		what, headers = what+", streamed", []string{"Accept", "application/x-ndjson"}
	}
	body, _ := json.Marshal(map[string]any{"code": source, "timeout": timeout})
	path := "/v1/sessions/" + g.id + "/execute"
	status, text, away := x.load.send(what, "POST", path, string(body), headers...)
	if status != 200 {
		g.mu.Lock()
		g.unanswered++
		g.mu.Unlock()
	}
	if away {
		return
	}
	if status != 200 {
		x.refused(g, path, status, text)
		return
	}
	result, failure := parseAnswer(text, stream)
	if failure != "" {
		if !x.isOver(g) || !strings.Contains(failure, `"lost"`) {
			x.load.t.Errorf("%s: %s", path, failure)
		}
		return
	}
	a := answer{execution: result.Session.Execution, lost: result.Session.Lost, forks: strings.Contains(source, "os.fork()")}
	if result.Session.ID != g.id {
		x.load.t.Errorf("%s: it is answered by the session %q", path, result.Session.ID)
	}
	if nonce != 0 {
		var count int
		switch _, err := fmt.Sscanf(result.Output, fmt.Sprintf("answer %d %s %%d\n", nonce, g.id), &count); {
		case err == nil && result.Output == fmt.Sprintf("answer %d %s %d\n", nonce, g.id, count) && count > 0:
			a.count = count
		case x.isOver(g) && result.Verdict == "killed": // in mid-execution
			a.unclear = true
		case result.Output == "" && !result.Success && (x.isFilled() || result.Verdict == "out-of-memory"):
			a.unclear = true
			x.load.mu.Lock()
			x.load.unclear[result.Verdict]++
			x.load.mu.Unlock()
		default:
			x.load.t.Errorf("%s: wanted an answer %d, and got %.1500s", path, nonce, text)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers = append(g.answers, a)
}

// told is the part of a result that is judged.
type told struct {
	Success         bool
	Output, Verdict string
	Session         struct {
		ID        string
		Execution int
		Lost      bool
	}
}

// parseAnswer reads a result, or the frames of one, whose output must be the same.
func parseAnswer(text string, stream bool) (result told, failure string) {
	if !stream {
		if err := json.Unmarshal([]byte(text), &result); err != nil {
			return result, err.Error()
		}
		return result, ""
	}
	var printed strings.Builder
	last, got := "", false
	for line := range strings.Lines(text) {
		var f struct {
			Kind, Text string
			Result     *told
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			return result, fmt.Sprintf("a frame is no JSON: %v: %.300s", err, line)
		}
		switch last = f.Kind; f.Kind {
		case "error":
			return result, line
		case "stdout":
			printed.WriteString(f.Text)
		case "result":
			result, got = *f.Result, true
		}
	}
	if last != "end" || !got {
		return result, fmt.Sprintf("the stream was cut: %.600s", text)
	}
	if printed.String() != result.Output {
		return result, fmt.Sprintf("%.200q was streamed, and the result has %.200q", printed.String(), result.Output)
	}
	return result, ""
}

// judge goes through what the sessions of the slot answered, in their own order.
// The variable n counts the friendly executions; it begins anew after a loss that
// was told, and never without.
func (x *slot) judge() {
	for _, g := range append(x.old, x.now) {
		slices.SortFunc(g.answers, func(a, b answer) int { return a.execution - b.execution })
		before := []int{0} // what n can have been; nil: anything
		last, forked := 0, false
		for i, a := range g.answers {
			if a.execution == last {
				x.load.t.Errorf("%s: two answers are of execution %d: %+v", g.id, a.execution, g.answers[max(0, i-3):i+1])
			}
			if missing := a.execution - last - 1; missing > 0 {
				before, forked = nil, true // what is not known may have been anything
				if g.unanswered -= missing; g.unanswered < 0 {
					x.load.t.Errorf("%s: executions before %d are of nobody: %+v", g.id, a.execution, g.answers[max(0, i-3):i+1])
				}
			}
			last = a.execution
			if a.unclear && !forked && !x.isFilled() && !g.ending {
				x.load.t.Errorf("%s: nothing has used up its memory: %+v", g.id, g.answers[max(0, i-5):i+1])
			}
			if forked = forked && !a.lost || a.forks; a.lost {
				x.load.lost++
			}
			anew := a.lost && a.count == 1
			switch {
			case a.unclear && a.lost:
				before = []int{0, 1}
			case a.unclear:
				before = nil
			case a.count > 0 && !anew && before != nil && !slices.Contains(before, a.count-1):
				x.load.t.Errorf("%s: n is %d, and was one of %v: %+v", g.id, a.count, before, g.answers[max(0, i-5):i+1])
				before = []int{a.count}
			case anew: // lost before it, or after
				before = []int{0, 1}
			case a.lost:
				before = []int{0}
			case a.count > 0:
				before = []int{a.count}
			}
		}
	}
}
