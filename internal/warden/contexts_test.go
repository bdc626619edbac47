package warden

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// Contexts live on as long as the process that knows their names, and no longer.
func TestContextsEndWithTheirAsker(t *testing.T) {
	socket := serveHostile(t)
	hold := func(name string) *taken {
		t.Helper()
		x := takeOver(t, socket)
		if f := x.ask(fmt.Sprintf(`{"method":"hold","protocol":%d,"context":%q}`, protocol, name)); f.kind != frameAnswer {
			t.Fatalf("%s", f.bytes)
		}
		return x
	}
	first := hold("one")
	s := takeOver(t, socket).session()
	ask := func(text string) frame {
		t.Helper()
		return takeOver(t, socket).ask(text)
	}
	for i := range executor.MaxContexts {
		if f := ask(fmt.Sprintf(`{"method":"context","session":%q,"context":"c%d"}`, s, i)); f.kind != frameAnswer {
			t.Fatalf("%s", f.bytes)
		}
	}
	in := fmt.Sprintf(`{"method":"execute","session":%q,"context":"c0","request":{"code":"print(6*7)"}}`, s)
	first.c.close()
	again := hold("one")
	if f := ask(in); !strings.Contains(string(f.bytes), `"output":"42\n"`) {
		t.Errorf("its asker came again: %s", f.bytes)
	}
	again.c.close()
	hold("another")
	made := 0
	until(t, "there is room for others", func() bool {
		if ask(fmt.Sprintf(`{"method":"context","session":%q}`, s)).kind == frameAnswer {
			made++
		}
		return made == executor.MaxContexts
	})
	takeOver(t, socket).refused("closed", in)
}
