package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// kernelLoop drives an ipykernel through jupyter_client, a line at a time.
const kernelLoop = `
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
for line in sys.stdin:
    reply = client.execute_interactive(line, store_history=False, timeout=60, output_hook=lambda m: None)
    sys.stdout.write(reply["content"]["status"] + "\n"); sys.stdout.flush()
client.stop_channels()
manager.shutdown_kernel(now=True)
`

// asker speaks HTTP to a service over one connection to its Unix socket, which is
// kept, as curl and Python's http.client do: a request is written at once, and the
// answer read by who wrote it. The client of package http has two goroutines for
// that, whose hand-overs would count as the service's time.
type asker struct {
	conn   net.Conn
	answer *bufio.Reader
}

func (a *asker) ask(method, path string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(a.conn, "%s %s HTTP/1.1\r\nHost: cellblock\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(text), text)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(a.answer, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

type source struct {
	Code string `json:"code"`
}

// run runs code in a session and returns its output.
func (a *asker) run(id, code string) (string, error) {
	answer, err := a.ask("POST", "/v1/sessions/"+id+"/execute", source{code})
	if err != nil {
		return "", err
	}
	var r executor.Result
	if err := json.Unmarshal(answer, &r); err != nil {
		return "", err
	}
	if !r.Success {
		return "", errors.New(string(answer))
	}
	return r.Output, nil
}

// startService starts one and waits until it is ready.
func startService() (*asker, func(), error) {
	dir, err := os.MkdirTemp("", "cbb")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("bin/cellblock-service", "serve", "--socket", socket, "--log-level", "info")
	if err := testkit.StartReady(cmd, dir, nil); err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	end := func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		os.RemoveAll(dir)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		end()
		return nil, nil, err
	}
	return &asker{conn, bufio.NewReader(conn)}, func() { conn.Close(); end() }, nil
}

// service compares the way through HTTP with what is below it and beside it.
func (b *bench) service() ([]Figure, error) {
	a, end, err := startService()
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := a.ask("POST", "/v1/sessions", map[string]string{"id": "warm"}); err != nil {
		return nil, err
	}
	say, endLoop, err := pipeLoop(python, "-I", "-S", "-c", loop)
	if err != nil {
		return nil, err
	}
	defer endLoop()
	kernel, endKernel, err := pipeLoop(python, "-c", kernelLoop)
	if err != nil {
		return nil, err
	}
	defer endKernel()
	post := func(code string) error { _, err := a.run("warm", code); return err }
	if err := errors.Join(say("x=0"), post("x=0"), kernel("x=0")); err != nil {
		return nil, fmt.Errorf("%w (python3-ipykernel and python3-jupyter-client are needed: make deps-bench)", err)
	}
	m, err := b.compete(
		contestant{"bare pipe-and-exec loop", turn(say)},
		contestant{"POST …/execute over the Unix socket", turn(post)},
		contestant{"ipykernel through jupyter_client", turn(kernel)},
	)
	if err != nil {
		return nil, err
	}
	create, err := b.creationOverHTTP(a)
	if err != nil {
		return nil, err
	}
	return append([]Figure{
		{"http_warm_vs_loop", ratio(m[1], m[0]), "x", "x+=1 in a session, POST …/execute over the Unix socket (a kept connection, written and read by one thread), against a bare pipe-and-exec loop", "<= 20", b.rounds},
		{"http_warm_vs_ipykernel", ratio(m[2], m[1]), "x", "x+=1 in an ipykernel through jupyter_client against the same POST", ">= 10", b.rounds},
	}, create...), nil
}

// creationOverHTTP compares a session made by POST, until its first result, with
// one made by the Go API, both forked from a template.
func (b *bench) creationOverHTTP(a *asker) ([]Figure, error) {
	ex, err := newTemplate(0)
	if err != nil {
		return nil, err
	}
	defer ex.Close()
	n := 0
	byPost := func() (time.Duration, error) {
		n++
		id := fmt.Sprintf("bench-%d", n)
		began := time.Now()
		if _, err := a.ask("POST", "/v1/sessions", map[string]string{"id": id}); err != nil {
			return 0, err
		}
		out, err := a.run(id, "print(1)")
		took := time.Since(began)
		if err == nil && out != "1\n" {
			err = fmt.Errorf("it printed %q", out)
		}
		_, derr := a.ask("DELETE", "/v1/sessions/"+id, nil)
		return took, errors.Join(err, derr)
	}
	m, err := b.compete(
		contestant{"forked session, API", func() (time.Duration, error) { return once(ex, "print(1)", "1\n") }},
		contestant{"the same through HTTP", byPost},
	)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{"http_create_vs_api", ratio(m[1], m[0]), "x", "session creation to the result of print(1) through HTTP, two requests, against the Go API", "<= 1.3", b.rounds},
	}, nil
}
