package mcp

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// inPython runs each snippet through the Python client and prints the results.
const inPython = `
import json, sys
from cellblock import Client
with Client() as client:
    print(json.dumps([client.execute(code) for code in json.load(sys.stdin)], separators=(',', ':')))
`

// inE2B does it through E2B's SDK, and prints what that makes of the answers.
const inE2B = `
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
const require = createRequire(process.env.SUITE_PACKAGES + '/')
const { Sandbox } = await import(pathToFileURL(require.resolve('@e2b/code-interpreter')))
let input = ''
for await (const piece of process.stdin) input += piece
const box = await Sandbox.create()
const all = []
for (const code of JSON.parse(input)) {
  const x = await box.runCode(code)
  all.push({ stdout: x.logs.stdout.join(''), error: x.error ? x.error.name + ': ' + x.error.value : '',
    forms: x.results.map(r => ({ 'text/plain': r.text, 'text/html': r.html, 'image/png': r.png })) })
}
await box.kill()
console.log(JSON.stringify(all))
`

// The Python client and E2B's SDK hand over what Go does.
func TestSameContentThroughOtherClients(t *testing.T) {
	testkit.Require(t, testkit.File("/usr/lib/python3/dist-packages/pandas"), testkit.File("/usr/lib/python3/dist-packages/matplotlib"))
	packages, err := filepath.Abs("../npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(packages, "node-linux-"+map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH], "bin/node")
	testkit.Require(t, testkit.File(node)) // make deps-npm
	s := serve(t, "--with", science, "--e2b", "127.0.0.1:0")
	found := regexp.MustCompile(`E2B's SDK" address=tcp:(\S+)`).FindStringSubmatch(s.log.String())
	if found == nil {
		found = regexp.MustCompile(`"E2B's SDK","address":"tcp:([^"]+)"`).FindStringSubmatch(s.log.String())
	}
	if found == nil {
		t.Fatalf("no address for E2B's SDK:\n%s", s.log)
	}
	var codes []string
	for _, snippet := range snippets {
		codes = append(codes, snippet.code)
	}
	ask := func(env []string, answer any, program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), env...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			in.Write(inJSON(t, codes))
			in.Close()
		}()
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, answer)
		}
		if err != nil {
			t.Fatalf("%s: %v: %.500s", filepath.Base(program), err, out)
		}
	}
	var inPythonsWords []executor.Result
	ask([]string{"PYTHONPATH=../../python", "CELLBLOCK_URL=http://" + s.address, "CELLBLOCK_TOKEN=" + s.tokens["ann"]},
		&inPythonsWords, testkit.PythonPath, "-c", inPython)
	var inE2BsWords []struct {
		Stdout, Error string
		Forms         []map[string]string
	}
	ask([]string{"SUITE_PACKAGES=" + packages, "E2B_API_KEY=" + s.tokens["ann"], "E2B_API_URL=http://" + found[1], "E2B_SANDBOX_URL=http://" + found[1]},
		&inE2BsWords, node, "--input-type=module", "-e", inE2B)

	ex, err := executor.New(executor.Config{ExecutionBaseDir: t.TempDir(), Packages: []string{"numpy", "pandas", "matplotlib"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close()
	for i, snippet := range snippets {
		want, err := ex.Execute(t.Context(), executor.Request{Code: snippet.code})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(essence(want), essence(inPythonsWords[i])); diff != "" {
			t.Errorf("%s: Go and Python differ:\n%s", snippet.name, diff)
		}
		got := inE2BsWords[i]
		exception := ""
		if x := want.Exception; x != nil {
			exception = x.Name + ": " + x.Value
		}
		if got.Stdout != want.Output || got.Error != exception || len(got.Forms) != len(want.Results) {
			t.Errorf("%s: E2B's SDK says %+v, Go %+v", snippet.name, got, essence(want))
			continue
		}
		for k, forms := range got.Forms {
			if len(forms) == 0 {
				t.Errorf("%s: result %d has no form", snippet.name, k)
			}
			for mime, form := range forms {
				if form != "" && form != want.Results[k].Data[mime] || form == "" && want.Results[k].Data[mime] != "" {
					t.Errorf("%s: E2B's SDK has another %s of result %d", snippet.name, mime, k)
				}
			}
		}
	}
}
