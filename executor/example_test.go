package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// The examples of docs/api.md. Those that need a cell have no Output comment,
// since an example cannot be skipped where there is no privilege; TestExamples
// runs them and compares what they print.

func Example() {
	ex, err := executor.New(executor.Config{ExecutionBaseDir: scratch})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	res, err := ex.Execute(context.Background(), executor.Request{Code: "print(1 + 1)"})
	if err != nil {
		log.Fatal(err) // nothing can be said of the code: no cell could be built, say
	}
	fmt.Printf("%v %s %q\n", res.Success, res.Verdict, res.Output)
}

func ExampleExecutor_Execute_session() {
	ex, err := executor.New(executor.Config{ExecutionBaseDir: scratch})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	for _, code := range []string{"x = 20", "x += 1", "x * 2"} {
		res, err := ex.Execute(context.Background(), executor.Request{Code: code, SessionID: "demo"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Session.Execution, res.Verdict, *res.Namespace["x"].Value)
		if res.Value != nil {
			fmt.Println("value:", *res.Value)
		}
	}
}

func ExampleExecutor_Execute_results() {
	ex, err := executor.New(executor.Config{ExecutionBaseDir: scratch})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	res, err := ex.Execute(context.Background(), executor.Request{Code: `
class Bold:
    def _repr_html_(self):
        return "<b>bold</b>"

display(Bold())
6 * 7
`})
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range res.Results {
		fmt.Println(b.Kind, b.Data["text/html"], b.Data["text/plain"] != "")
	}
}

func ExampleExecutor_Execute_files() {
	ex, err := executor.New(executor.Config{ExecutionBaseDir: scratch})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	csv := filepath.Join(scratch, "numbers.csv") // any file of yours
	if err := os.WriteFile(csv, []byte("3\n4\n5\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	res, err := ex.Execute(context.Background(), executor.Request{
		Code:       "total = sum(map(int, open('in.csv')))\nopen('total.txt', 'w').write(str(total))",
		SessionID:  "files",
		InputFiles: map[string]string{csv: "in.csv"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.CreatedFiles)
	// The session's folder on the host mirrors its workspace.
	total, err := os.ReadFile(filepath.Join(ex.Config().GetExecutionDir("files"), "total.txt"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(total))
}

func ExampleExecutor_Execute_limits() {
	ex, err := executor.New(executor.Config{ExecutionBaseDir: scratch, Timeout: 3 * time.Second, MaxMemoryMB: 128})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	for _, code := range []string{
		"x = 1",
		"while True: pass",
		"bytearray(1 << 34)",
		"import socket; socket.socket()",
		"import subprocess; subprocess.run(['/bin/true'])",
		"print(x)",
		"import os; os._exit(3)",
		"print(x)",
	} {
		res, err := ex.Execute(context.Background(), executor.Request{Code: code, SessionID: "limits"})
		if err != nil {
			log.Fatal(err)
		}
		what := strings.TrimSpace(res.Output)
		switch {
		case res.Exception != nil:
			what = res.Exception.Name
		case res.Error != nil:
			what = *res.Error
		}
		fmt.Printf("%-8s %2d lost=%-5v %s\n", res.Verdict, res.ReturnCode, res.Session.Lost, what)
	}
}

func ExampleSession_Execute_stream() {
	ex, err := executor.New(executor.Config{MaxOutput: -1}) // keep nothing, hand all of it on
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	session, err := ex.NewSession(context.Background(), executor.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	_, err = session.Execute(context.Background(), executor.Request{
		Code:   "print('from stdin:', input())\nprint('raw bytes: \\udcff', ascii('é'))",
		Stdin:  []byte("hello\n"),
		Stdout: func(piece []byte) { os.Stdout.Write(piece) },
	})
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleSession_Interrupt() {
	ex, err := executor.New(executor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()
	session, err := ex.NewSession(context.Background(), executor.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	started := false
	res, err := session.Execute(context.Background(), executor.Request{
		Code: "n = 7\nprint('begin', flush=True)\nwhile True: pass",
		Stdout: func([]byte) {
			if !started {
				started = true
				session.Interrupt()
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Verdict, res.Exception.Name, session.Alive())

	res, err = session.Execute(context.Background(), executor.Request{Code: "print(n)"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(res.Output)
}

func ExampleExecutor_ValidateImports() {
	ex, err := executor.New(executor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	valid, issues, err := ex.ValidateImports(context.Background(), "import os as o\no.system('ls')\nmodel.eval()\n")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(valid)
	for _, issue := range issues {
		fmt.Printf("%d:%d %s\n", issue.Line, issue.Column, issue.Message)
	}
}

func ExampleExecutor_NewREPL() {
	ex, err := executor.New(executor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	repl, err := ex.NewREPL(filepath.Join(scratch, "repl"), 5*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := repl.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(repl.IsAlive())
	res, err := repl.Execute(ctx, "sorted({3, 1, 2})")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*res.Value)
	repl.Stop()
	fmt.Println(repl.IsAlive())
}

func ExampleInvalidError() {
	ex, err := executor.New(executor.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer ex.Close()

	_, err = ex.Execute(context.Background(), executor.Request{Code: "1", SessionID: "../etc"})
	var invalid *executor.InvalidError
	if errors.As(err, &invalid) {
		fmt.Println(invalid.What, invalid.Got)
	}
	// Output: session id ../etc
}

func ExampleFormatFileSize() {
	fmt.Println(executor.FormatFileSize(1536))
	// Output: 1.5 KB
}

func ExampleConfig_IsFileTypeSupported() {
	var c executor.Config
	fmt.Println(c.IsFileTypeSupported("data.CSV"), c.IsFileTypeSupported("setup.exe"))
	// Output: true false
}

// scratch is where the examples keep their files.
var scratch string

func TestExamples(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"))
	scratch = t.TempDir()
	for _, e := range []struct {
		name string
		run  func()
		want string
	}{
		{"Execute", Example, "true ok \"2\\n\"\n"},
		{"Session", ExampleExecutor_Execute_session, "1 ok 20\n2 ok 21\n3 ok 21\nvalue: 42\n"},
		{"Results", ExampleExecutor_Execute_results, "display <b>bold</b> true\nvalue  true\n"},
		{"Files", ExampleExecutor_Execute_files, "[total.txt]\n12\n"},
		{"Limits", ExampleExecutor_Execute_limits, strings.Join([]string{
			"ok        0 lost=false ",
			"timeout  -1 lost=false KeyboardInterrupt",
			"error     1 lost=false MemoryError",
			"error     1 lost=false OSError",
			"error     1 lost=false PermissionError",
			"ok        0 lost=false 1",
			"exit      3 lost=true  The process ended with status 3",
			"error     1 lost=false NameError",
			"",
		}, "\n")},
		{"Stream", ExampleSession_Execute_stream, "from stdin: hello\nraw bytes: \xff '\\xe9'\n"},
		{"Interrupt", ExampleSession_Interrupt, "error KeyboardInterrupt true\n7\n"},
		{"Validate", ExampleExecutor_ValidateImports, "false\n2:1 Dangerous function call detected: os.system\n"},
		{"REPL", ExampleExecutor_NewREPL, "true\n[1, 2, 3]\nfalse\n"},
	} {
		t.Run(e.name, func(t *testing.T) {
			if got := printed(t, e.run); got != e.want {
				t.Errorf("it prints\n%q, not\n%q", got, e.want)
			}
		})
	}
}

// printed is what run writes to os.Stdout.
func printed(t *testing.T, run func()) string {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- string(b)
	}()
	func() {
		defer func() { os.Stdout = stdout; w.Close() }()
		run()
	}()
	return <-text
}
