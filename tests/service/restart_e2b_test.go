package service

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Sessions of a protocol whose state is the service's are there after a restart of the
// warden as well, with their contexts: the service has gone on.
func TestE2BWhileTheWardenRestarts(t *testing.T) {
	x, m := managed(t, []string{"--template"}, "--e2b", "127.0.0.1:0", "--e2b-open")
	var address string
	x.await(func() bool { // it has said so, and its log is on its way
		_, rest, _ := strings.Cut(x.log.String(), "E2B's SDK\" address=tcp:")
		var whole bool
		address, _, whole = strings.Cut(rest, "\n")
		return whole
	})
	var box struct{ SandboxID, EnvdAccessToken string }
	ask := func(method, path string, body any) string {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(method, "http://"+address+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range map[string]string{"Content-Type": "application/json", "X-API-Key": "e2b_any", "E2b-Sandbox-Id": box.SandboxID, "X-Access-Token": box.EnvdAccessToken} {
			r.Header.Set(key, value)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		told, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode >= 300 {
			t.Fatalf("%s %s: %d %v %s", method, path, answer.StatusCode, err, told)
		}
		return string(told)
	}
	if err := json.Unmarshal([]byte(ask("POST", "/sandboxes", map[string]any{"templateID": "base"})), &box); err != nil {
		t.Fatal(err)
	}
	var context struct{ ID string }
	if err := json.Unmarshal([]byte(ask("POST", "/contexts", map[string]any{})), &context); err != nil || context.ID == "" {
		t.Fatal(err, context)
	}
	ask("POST", "/execute", map[string]any{"code": "x = 'own'"})
	ask("POST", "/execute", map[string]any{"code": "x = 'other'", "context_id": context.ID})
	for range 2 {
		m.restart(x, nil)
		if out := ask("POST", "/execute", map[string]any{"code": "print(x)"}); !strings.Contains(out, `own\n`) {
			t.Errorf("the sandbox has %s", out)
		}
		if out := ask("POST", "/execute", map[string]any{"code": "print(x)", "context_id": context.ID}); !strings.Contains(out, `other\n`) {
			t.Errorf("its context has %s", out)
		}
	}
	ask("DELETE", "/sandboxes/"+box.SandboxID, nil)
}
