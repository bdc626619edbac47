package api

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// No hint of an execution names a flag of a command, unless it says that it is the
// service's.
func TestHintsNameFields(t *testing.T) {
	text, err := os.ReadFile("../../executor/hint.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	for _, m := range regexp.MustCompile(`"([^"\n]* --[^"\n]*)"`).FindAllStringSubmatch(string(text), -1) {
		flags++
		if told := inRequests.Replace(m[1]); strings.Contains(told, "--") && !strings.Contains(told, "the service (its --with or --venv)") {
			t.Errorf("%q becomes %q", m[1], told)
		}
	}
	if flags < 8 {
		t.Errorf("%d hints with flags were found: this test reads them wrongly", flags)
	}
}

func TestHintsOfExecutions(t *testing.T) {
	c := serve(t, Settings{})
	r := decode[executor.Result](c.ask("POST", "/v1/execute", Source{"input()"}).want(200))
	if !strings.Contains(r.Hint, "write its input into the code") {
		t.Errorf("it hints: %s", r.Hint)
	}
}
