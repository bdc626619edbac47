package service

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The commands that are clients of a service, and those about its configuration.
// closesAtOnce is the address of something that takes connections and ends them.
func closesAtOnce(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestCommands(t *testing.T) {
	s := start(t)
	built, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	silent := closesAtOnce(t)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"kind":"stdout","text":"began\n"}`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer cut.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler("/other", http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	for _, row := range []struct {
		args           string // with | between them
		status         int
		stdout, stderr string // parts
	}{
		{"exec|-c|print(6*7)", 0, "42\n", ""},
		{"exec|-c|import sys; sys.exit(7)", 7, "", ""},
		{"exec|-c|1/0", 1, "", "ZeroDivisionError"},
		{"exec|--timeout|0.3s|-c|while True: pass", 124, "", "timeout"},
		{"exec|--validate|-c|import socket", 126, "", "refused"},
		{"exec|" + file("p.py", "print('from a file')"), 0, "from a file\n", ""},
		{"exec|-", 0, "from stdin\n", ""},
		{"exec|--file|" + file("in.txt", "content") + ":d/x.txt|-c|print(open('d/x.txt').read())", 0, "content\n", ""},
		{"exec|--session|s|--memory|64M|--preload|json as j|-c|x = j.dumps(1)", 0, "", ""},
		{"exec|--session|s|-c|print(x)", 0, "1\n", ""},
		{"exec|--session|s|--memory|64M|-c|print(x)", 0, "1\n", ""},
		{"exec|--session|s|--memory|65M|-c|print(x)", 2, "", "has its limits since it was made"},
		{"exec|--session|s|--json|-c|x", 0, `"value":"'1'"`, ""},
		{"exec|--session|../s|-c|1", 2, "", "invalid session id"},
		{"exec", 2, "", "nothing to run"},
		{"exec|-c|1|-c|2", 2, "", "-c is given 2 times"},
		{"exec|--url|unix:///nowhere|-c|1", 125, "", "no service answers at unix:///nowhere"},
		{"exec|--url|ftp://x|-c|1", 2, "", "no address of a service"},
		{"sessions", 0, "64MiB", ""},
		{"sessions|new|other", 0, "other\n", ""},
		{"sessions|new|third|--preload|math, nosuch", 0, "third\n", "left out, as they cannot be imported: nosuch\n"},
		{"sessions|end|third", 0, "", ""},
		{"sessions|new|other", 125, "", "already"},
		{"sessions|--json", 0, `"id":"other"`, ""},
		{"sessions|interrupt|other", 0, "", ""},
		{"sessions|result|s", 0, "", ""},
		{"sessions|result|s|--json", 0, `"value":"'1'"`, ""},
		{"sessions|result|other", 125, "", "no result is kept"},
		{"sessions|end|other", 0, "", ""},
		{"files|put|s|" + file("sales.csv", "a,b\n"), 0, "", ""},
		{"files|put|s|" + filepath.Join(dir, "sales.csv") + "|../x", 2, "", "file name"},
		{"files|put|s|" + filepath.Join(dir, "sales.csv") + "|.", 2, "", "file name"},
		{"files|get|s|..|-", 2, "", "file name"},
		{"files|put|s|" + filepath.Join(dir, "sales.csv") + "|--url|" + elsewhere.URL, 125, "", "307"},
		{"files|put|s|" + dir, 2, "", "is a directory"},
		{"files|put|s|-", 2, "", "a name is needed"},
		{"files|put|s|-|program.py", 0, "", ""},
		{"files|get|s|program.py|-", 0, "from stdin", ""},
		{"files|ls|s", 2, "", `no command "files ls": there are get, list, put, remove`},
		{"files", 2, "", "say what to do: get, list, put, remove"},
		{"files|list", 2, "", "0 arguments were given, and it is: cellblock files list SESSION"},
		{"config|bogus", 2, "", `no command "config bogus"`},
		{"exec|--url|" + stranger.URL + "|-c|1", 125, "", "a certificate that this machine does not trust"},
		{"exec|--url|" + cut.URL + "|-c|1", 125, "began\n", "run it again"},
		{"exec|--url|" + cut.URL + "|--session|work|-c|1", 125, "began\n", "cellblock sessions result work"},
		{"exec|--url|" + silent + "|-c|1", 125, "", "closed the connection without an answer"},
		{"files|list|s", 0, "sales.csv", ""},
		{"files|get|s|sales.csv|-", 0, "a,b\n", ""},
		{"files|get|s|sales.csv|" + filepath.Join(dir, "back"), 0, "", ""},
		{"files|remove|s|sales.csv", 0, "", ""},
		{"files|get|s|sales.csv|-", 125, "", "no such file"},
		{"config|check|" + file("good.toml", "memory = \"64M\"\nidle = \"5m\"\nwith = [\"numpy\", \"pandas\"]\nsessions = 9\ntemplate = false\n"), 0, "ok: looked at " + filepath.Join(dir, "good.toml"), ""},
		{"config|check|" + file("key.toml", "memmory = \"64M\"\n"), 2, "", "there is no such key: memmory"},
		{"config|check|" + file("size.toml", "memory = \"much\"\n"), 2, "", "it is no size"},
		{"config|check|" + file("small.toml", "memory = \"1M\"\n"), 2, "", "memory limit"},
		{"config|check|" + file("unit.toml", "memory = 256\n"), 2, "", "write a unit"},
		{"config|check|" + file("open.toml", "listen = \"127.0.0.1:8080\"\n"), 2, "", "TCP needs tokens"},
		{"config|check|" + file("clear.toml", "listen = \"0.0.0.0:8443\"\ntokens = \""+file("t", "")+"\"\n"), 2, "", "in clear"},
		{"config|check|" + file("group.toml", "group = \"no-such-group\"\n"), 2, "", "make it with groupadd"},
		{"config|check|" + file("table.toml", "[memory]\nx = 1\n"), 2, "", "it must be"},
		{"config|check|" + file("toml.toml", "memory ="), 2, "", "toml.toml"},
		{"config|keys", 0, "CELLBLOCK_SERVE_TLS_CERT", ""},
		{"config|token|ci", 0, "ci sha256:", ""},
		{"serve|--listen|127.0.0.1:0", 2, "", "TCP needs tokens"},
		{"serve|--e2b|127.0.0.1:0", 2, "", "its API keys are tokens"},
		{"serve|--e2b|0.0.0.0:0|--e2b-open", 2, "", "no loopback address"},
		{"serve|--e2b-open", 2, "", "no address to be open"},
		{"serve|--e2b|127.0.0.1:0|--e2b-open|--tokens|" + file("tokens", ""), 2, "", "leave one of the two out"},
		{"serve|--e2b|0.0.0.0:0|--socket|none|--tokens|" + file("tokens", ""), 2, "", "in clear"},
		{"serve|--listen|0.0.0.0:0|--socket|none|--tokens|" + file("tokens", ""), 2, "", "in clear"},
		{"serve|--socket|" + s.socket(), 125, "", "a service listens"},
		{"serve|--warden|" + filepath.Join(dir, "nowhere"), 125, "", "start cellblock-warden --warden " + dir},
		{"serve|--nonsense", 2, "", "unknown flag"},
	} {
		cmd := exec.Command(filepath.Join(built, "cellblock-service"), strings.Split(row.args, "|")...)
		cmd.Env = append(os.Environ(), "CELLBLOCK_URL=unix://"+s.socket())
		cmd.Stdin = strings.NewReader("print('from stdin')")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if cmd.ProcessState.ExitCode() != row.status || !strings.Contains(stdout.String(), row.stdout) || !strings.Contains(stderr.String(), row.stderr) {
			t.Errorf("%s: status %d\nstdout: %s\nstderr: %s", row.args, cmd.ProcessState.ExitCode(), &stdout, &stderr)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "back")); err != nil || string(b) != "a,b\n" {
		t.Errorf("%q %v", b, err)
	}
}

// A key is a flag, a variable and a line of the file, in this order of weight.
func TestConfiguration(t *testing.T) {
	s := start(t)
	s.stop()
	path := filepath.Join(s.dir, "c.toml")
	if err := os.WriteFile(path, []byte("memory = \"64M\"\npids = 20\ncpus = 0.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--config", path, "--pids", "22"}
	s.before = func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "CELLBLOCK_SERVE_PIDS=21", "CELLBLOCK_SERVE_CPUS=0.75") }
	s.start()
	s.want(201, `"memory_bytes":67108864,"cpus":0.75,"pids":22`, "POST", "/v1/sessions", "{}")

	built, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(built, "cellblock-service"), "config", "check", path)
	cmd.Env = append(os.Environ(), "CELLBLOCK_SERVE_PIDZ=21")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CELLBLOCK_SERVE_PIDZ") {
		t.Errorf("a variable of no key: %v\n%s", err, out)
	}
	for _, row := range []struct {
		args, env []string
		want      string
	}{
		{[]string{path}, nil, "ok: looked at " + path + ", and no variable CELLBLOCK_SERVE_…\n"},
		{nil, []string{"CELLBLOCK_SERVE_CONFIG=" + path, "CELLBLOCK_SERVE_PIDS=21", "CELLBLOCK_SERVE_CPUS=1"}, "ok: looked at " + path + ", and CELLBLOCK_SERVE_CPUS, CELLBLOCK_SERVE_PIDS in the environment\n"},
		{nil, nil, "ok: looked at no variable CELLBLOCK_SERVE_…, and no file: none was named, and there is none at /etc/cellblock/cellblock.toml\n"},
	} {
		if _, err := os.Stat("/etc/cellblock/cellblock.toml"); err == nil && len(row.args)+len(row.env) == 0 {
			continue // it is installed here
		}
		cmd := exec.Command(filepath.Join(built, "cellblock-service"), append([]string{"config", "check"}, row.args...)...)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, row.env...)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != row.want {
			t.Errorf("%q, %q: %v\n%s", row.args, row.env, err, out)
		}
	}
}
