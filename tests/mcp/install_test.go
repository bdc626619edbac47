package mcp

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/mcp"
)

// What is printed for each client is of the form that the client reads, and the
// command in it starts a server.
func TestInstall(t *testing.T) {
	path := program(t)
	dir := tempDir(t)
	flags := []string{"--runtime-dir", filepath.Join(dir, "run"), "--env", `Q=a "b" 'c' \d`}
	for _, client := range mcp.Clients() {
		t.Run(client, func(t *testing.T) {
			out, err := exec.Command(path, append([]string{"mcp", "install", "--client", client, "--"}, flags...)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			command := launch(t, client, string(out))
			if command[0] != path {
				t.Errorf("it starts %q", command[0])
			}
			c := connect(t, &sdk.CommandTransport{Command: exec.Command(command[0], command[1:]...)})
			defer c.Close()
			if got := c.ok("run_python", args{"code": "import os; print(os.environ['Q'])"}); got != `a "b" 'c' \d` {
				t.Errorf("it said %q", got)
			}
		})
	}
	// Paths are made whole, and wrong flags told at once.
	cmd := exec.Command(path, "mcp", "install", "--client", "json", "--", "--dir", "./d:n:ro", "--file=f")
	cmd.Dir = dir
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), `"`+dir+`/d:n:ro"`) || !strings.Contains(string(out), `"--file=`+dir+`/f"`) {
		t.Errorf("%v: %s", err, out)
	}
	for _, wrong := range [][]string{{}, {"--client", "json", "--", "--nonesuch", "numpy"}, {"--client", "nonesuch"}, {"--client", "zed", "--url", "http://x/mcp"}, {"--client", "json", "--url", "http://x/mcp", "--", "--with", "numpy"}} {
		out, err := exec.Command(path, append([]string{"mcp", "install"}, wrong...)...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.HasPrefix(string(out), "cellblock: ") {
			t.Errorf("%v: %v %s", wrong, err, out)
		}
	}
}

// launch reads settings as the client does, and returns what it would start.
func launch(t *testing.T, client, text string) []string {
	t.Helper()
	type entry struct {
		Command string
		Args    []string
	}
	var e entry
	switch client {
	case "claude-code":
		// The words as a shell makes them.
		out, err := exec.Command("sh", "-c", "for w in "+strings.ReplaceAll(strings.TrimSpace(text), "\n", " ")+`; do printf '%s\0' "$w"; done`).Output()
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if strings.Join(words[:5], " ") != "claude mcp add cellblock --" {
			t.Fatalf("%q", words)
		}
		return words[5:]
	case "codex":
		var config struct {
			Servers map[string]entry `toml:"mcp_servers"`
		}
		if _, err := toml.Decode(text, &config); err != nil {
			t.Fatal(err)
		}
		e = config.Servers["cellblock"]
	default:
		var config map[string]map[string]entry
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		key := map[string]string{"vscode": "servers", "zed": "context_servers"}[client]
		if key == "" {
			key = "mcpServers"
		}
		e = config[key]["cellblock"]
	}
	if e.Command == "" {
		t.Fatalf("there is no command in\n%s", text)
	}
	return append([]string{e.Command}, e.Args...)
}

// The settings for a service name the variable of its token, never a token.
func TestInstallOfAService(t *testing.T) {
	path := program(t)
	for _, client := range mcp.Clients() {
		out, err := exec.Command(path, "mcp", "install", "--client", client, "--url", "http://127.0.0.1:8080/mcp").Output()
		if err != nil {
			continue // it says that it cannot; see TestInstall
		}
		if text := string(out); !strings.Contains(text, "http://127.0.0.1:8080/mcp") || !strings.Contains(text, mcp.TokenVariable) {
			t.Errorf("%s:\n%s", client, text)
		}
	}
}
