package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/handover"
)

// alter replaces what is stored by what change makes of its state.
func (m *manager) alter(change func(state []byte) []byte) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.stored) != 1 {
		m.t.Fatalf("%d descriptors are stored", len(m.stored))
	}
	box := os.NewFile(uintptr(m.stored[0].fd), "box")
	state, a, err := handover.Unpack(box)
	box.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	defer a.Close()
	var load handover.Load
	defer load.Close()
	for n := 0; ; n++ {
		f, err := a.Take(n)
		if err != nil {
			break // that was all
		}
		if _, err := load.Add(f); err != nil {
			m.t.Fatal(err)
		}
		f.Close()
	}
	if box, err = handover.Pack(change(state), &load); err != nil {
		m.t.Fatal(err)
	}
	defer box.Close()
	if m.stored[0].fd, err = syscall.Dup(int(box.Fd())); err != nil {
		m.t.Fatal(err)
	}
}

// fields is a part of the state, and how to change it.
type fields = map[string]any

// session is the one of an id in a state.
func sessionIn(state fields, id string) fields {
	for _, s := range state["Sessions"].([]any) {
		if s := s.(fields); s["Spec"].(fields)["id"] == id {
			return s
		}
	}
	return nil
}

func cellIn(state fields, id string) fields {
	return sessionIn(state, id)["Session"].(fields)["Cell"].(fields)
}

// A state that does not fit loses the sessions that it is wrong about, and no others;
// the warden starts, says why, and leaves nothing of them.
func TestStateThatDoesNotFit(t *testing.T) {
	edit := func(change func(fields)) func([]byte) []byte {
		return func(text []byte) []byte {
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			var state fields
			if err := d.Decode(&state); err != nil {
				t.Fatal(err)
			}
			change(state)
			text, err := json.Marshal(state)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	cell := func(key string, value any) func([]byte) []byte {
		return edit(func(s fields) { cellIn(s, "a")[key] = value })
	}
	swap := func(key string) func([]byte) []byte {
		return edit(func(s fields) { cellIn(s, "a")[key] = cellIn(s, "b")[key] })
	}
	for _, row := range []struct {
		name   string
		change func([]byte) []byte
		log    string
		all    bool // are lost
	}{
		{"another version", edit(func(s fields) { s["Version"] = 99 }), "has version 99", true},
		{"a field that is not known", edit(func(s fields) { s["More"] = 1 }), "cannot be read", true},
		{"a field of a session that is not known", edit(func(s fields) { sessionIn(s, "a")["More"] = 1 }), "unknown field", false},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2] }, "cannot be read", true},
		{"nothing", func([]byte) []byte { return nil }, "cannot be read", true},
		{"no ground", edit(func(s fields) { s["Executors"].([]any)[0].(fields)["Grounds"] = []any{} }), "grounds", true},
		{"another root", edit(func(s fields) {
			s["Executors"].([]any)[0].(fields)["Grounds"].([]any)[0].(fields)["Root"] = strings.Repeat("0", 64)
		}), "its root is gone", true},
		{"another process", cell("PID", 1), "its init was process 1", false},
		{"another's process", swap("Init"), "was process", true},
		{"another's workspace", swap("Workspace"), "its workspace is another's", true},
		{"another's groups", edit(func(s fields) {
			cellIn(s, "a")["Groups"], cellIn(s, "a")["Identities"] = cellIn(s, "b")["Groups"], cellIn(s, "b")["Identities"]
		}), "is of the groups", false},
		{"groups that are others", cell("Identities", []int{1}), "is of the groups", false},
		{"another's number", swap("Slot"), "is no longer", false},
		{"a number that none has", cell("Slot", 1<<20), "none can have", false},
		{"no lifeline", cell("Socket", -1), "lacks a descriptor", false},
		{"a descriptor that there is not", cell("Socket", 100000), "was not handed over", false},
		{"no nest", edit(func(s fields) {
			s["Executors"].([]any)[0].(fields)["Grounds"].([]any)[0].(fields)["Nest"] = nil
		}), "stands in a nest", true},
		{"less memory than the kernel gives", edit(func(s fields) { cellIn(s, "a")["Spec"].(fields)["Limits"].(fields)["MemoryBytes"] = 1 << 20 }), "memory limit", false},
		{"another workspace", edit(func(s fields) { cellIn(s, "a")["Spec"].(fields)["WorkspaceBytes"] = 4096 }), "the file system at /workspace", false},
		{"another executor", edit(func(s fields) { sessionIn(s, "a")["Executor"] = 7 }), "does not fit together", false},
		{"another's REPL", edit(func(s fields) {
			repl := func(id string) fields { return sessionIn(s, id)["Session"].(fields)["Main"].(fields) }
			repl("a")["Process"].(fields)["Pidfd"] = repl("b")["Process"].(fields)["Pidfd"]
		}), "a REPL of it was process", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			x, m := managed(t, []string{"--template"})
			x.faults = true
			for _, id := range []string{"a", "b"} {
				x.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":%q}`, id))
				x.want(200, "", "POST", "/v1/sessions/"+id+"/execute", code("x = 1"))
			}
			m.restart(x, func() { m.alter(row.change) })
			if !strings.Contains(x.wlog.String(), row.log) {
				t.Errorf("the log does not say %q:\n%s", row.log, x.wlog)
			}
			x.cmd.Wait() // it sees that not all of its sessions are there
			x.http.CloseIdleConnections()
			x.start()
			x.want(404, "not-found", "GET", "/v1/sessions/a", nil)
			if row.all {
				x.want(404, "not-found", "GET", "/v1/sessions/b", nil)
			} else {
				x.want(200, `"1\n"`, "POST", "/v1/sessions/b/execute", code("print(x)"))
				x.want(204, "", "DELETE", "/v1/sessions/b", nil)
			}
		})
	}
}
