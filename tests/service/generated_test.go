package service

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/testkit"
)

// A stranger has /openapi.json and nothing else: generators from npm (make
// deps-npm) make clients of it, the programs in testdata that use them pass
// TypeScript's check, and run against the service, over TCP with a token.
func TestGeneratedClients(t *testing.T) {
	packages, err := filepath.Abs("../npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	// The generators want a newer Node than Debian 12 has, which comes along.
	node := packages + "/node-linux-" + map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH] + "/bin/node"
	testkit.Require(t, testkit.File(node), testkit.File(packages+"/.bin/openapi-ts"))
	dir := t.TempDir()
	token, line := api.NewToken("stranger")
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--listen", "127.0.0.1:0", "--tokens", filepath.Join(dir, "tokens"), "--log-format", "text")
	address := regexp.MustCompile(`address=tcp:(\S+)`).FindStringSubmatch(s.log.String())
	if address == nil {
		t.Fatalf("it tells no address:\n%s", s.log)
	}
	url := "http://" + address[1]

	r, err := http.NewRequest("GET", url+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("/openapi.json: %d %v %.300s", resp.StatusCode, err, text)
	}
	if err := os.WriteFile(filepath.Join(dir, "openapi.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"generated.ts", "typed.ts"} {
		program, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		began := time.Now()
		cmd := exec.CommandContext(t.Context(), node, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "SERVICE_URL=" + url, "SERVICE_TOKEN=" + token}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%.3000s", filepath.Base(args[0]), err, out)
		}
		t.Logf("%s: %.1f s", filepath.Base(args[0]), time.Since(began).Seconds())
		return string(out)
	}
	run("node_modules/.bin/openapi-ts", "--input", "openapi.json", "--output", "client", "--client", "@hey-api/client-fetch")
	run("node_modules/.bin/openapi-typescript", "openapi.json", "--output", "types.ts")
	run("node_modules/.bin/tsc", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", "node", "--module", "commonjs",
		"--moduleResolution", "node10", "--esModuleInterop", "--skipLibCheck", "--outDir", "out", "generated.ts", "typed.ts")
	for _, program := range []string{"out/generated.js", "out/typed.js"} {
		if told := run(program); strings.TrimSpace(told) != "ok" {
			t.Errorf("%s says %s", program, told)
		}
	}
}
