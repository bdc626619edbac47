package template

import (
	"context"
	"fmt"
	"strings"

	"github.com/cellblock/cellblock/internal/repl"
)

// Module is one that is imported before any code runs, and the name that it
// has then.
type Module struct{ Name, As string }

// Parse reads a list of modules in the forms "numpy" and "numpy as np".
func Parse(list []string) ([]Module, error) {
	var modules []Module
	for _, text := range list {
		words := strings.Fields(text)
		var m Module
		switch {
		case len(words) == 1:
			m = Module{Name: words[0]}
		case len(words) == 3 && words[1] == "as" && isName(words[2]):
			m = Module{words[0], words[2]}
		}
		for part := range strings.SplitSeq(m.Name, ".") {
			if !isName(part) {
				return nil, fmt.Errorf("%q is not of the form \"numpy\" or \"numpy as np\"", text)
			}
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// isName: plain names only, so that nothing but an import can come of one.
func isName(s string) bool {
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func (m Module) String() string {
	if m.As == "" {
		return m.Name
	}
	return m.Name + " as " + m.As
}

// PreloadError is a module that cannot be preloaded.
type PreloadError struct {
	Module    Module
	Exception string // its name; "" where there was none
	Message   string
	Traceback string
}

func (e *PreloadError) Error() string {
	s := fmt.Sprintf("cannot preload %q: ", e.Module.String())
	if e.Exception != "" {
		s += e.Exception + ": "
	}
	return s + e.Message
}

// Import makes the modules part of every namespace of a REPL, and of none of its
// summaries. It is for trusted modules, but what the REPL says is as untrusted
// as ever: nothing but the wording of an error comes from it. after, when set,
// looks at the process after each module.
func Import(ctx context.Context, conn *repl.Conn, modules []Module, after func(Module) error) error {
	for _, m := range modules {
		reply, err := conn.Exec(ctx, repl.Request{Code: "import " + m.String(), Filename: "<preload>", Preload: true, NoNamespace: true})
		if err != nil {
			return &PreloadError{Module: m, Message: err.Error()}
		}
		if x := reply.Exception; x != nil {
			return &PreloadError{m, x.Name, x.Value, x.Traceback}
		}
		if reply.Status != repl.StatusOK {
			return &PreloadError{Module: m, Message: "it ended the interpreter"}
		}
		if after == nil {
			continue
		}
		if err := after(m); err != nil {
			return err
		}
	}
	return nil
}
