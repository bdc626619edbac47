package warden

import (
	"fmt"
	"regexp"
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
		if f := x.ask(fmt.Sprintf(`{"method":"hold","protocol":%d,"asker":%q}`, protocol, name)); f.kind != frameAnswer {
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

// A call that is read only when its asker is gone makes nothing that the next one has.
func TestCallOfWhoIsGone(t *testing.T) {
	socket := serveHostile(t)
	x := takeOver(t, socket)
	if f := x.ask(fmt.Sprintf(`{"method":"hold","protocol":%d,"asker":"here"}`, protocol)); f.kind != frameAnswer {
		t.Fatalf("%s", f.bytes)
	}
	const spec = `"spec":{"owner":"o","id":"late","created":"2026-01-01T00:00:00Z","limits":{"MaxMemoryMB":64}}}`
	takeOver(t, socket).refused("closed", `{"method":"make","asker":"gone",`+spec)
	if f := takeOver(t, socket).ask(`{"method":"list"}`); string(f.bytes) != "[]\n" {
		t.Errorf("there is %s", f.bytes)
	}
	f := takeOver(t, socket).ask(`{"method":"make","asker":"here",` + spec)
	if f.kind != frameAnswer {
		t.Fatalf("%s", f.bytes)
	}
	s := takeOver(t, socket)
	list := s.ask(`{"method":"list"}`)
	handle := regexp.MustCompile(`"handle":"(\w+)"`).FindSubmatch(list.bytes)
	if handle == nil {
		t.Fatalf("%s", list.bytes)
	}
	takeOver(t, socket).refused("closed", fmt.Sprintf(`{"method":"context","asker":"gone","context":"c","session":"%s"}`, handle[1]))
}
