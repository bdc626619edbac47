package cli

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	_, out, _, err := runWith(t, "", "version")
	if err != nil || !strings.HasPrefix(out, "cellblock devel (go") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
	_, out, _, err = runWith(t, "", "version", "--json")
	var v map[string]string
	if jsonErr := json.Unmarshal([]byte(out), &v); err != nil || jsonErr != nil || v["version"] != "devel" || v["go"] != runtime.Version() {
		t.Errorf("%q, %v, %v", out, err, jsonErr)
	}
}
