package mcp

import (
	"context"
	"fmt"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/executor"
)

const runDescription = `Run Python code in this conversation's sandbox and see what it printed, showed or raised.

Works like a notebook cell: variables, imports and files live on between calls; the value of the last expression is shown; open matplotlib figures and whatever display() is given come back as images and text (no plt.show() or savefig needed).

The working directory is the workspace, which upload_file, list_files and read_file see too. There is no network, no shell, no pip: use the installed packages (see packages). Only the workspace and /tmp can be written to. After a timeout or an exception the variables are kept, unless the answer says that they were lost.`

type runInput struct {
	Code           string  `json:"code" jsonschema:"Python source: one or many lines"`
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty" jsonschema:"stop the code after this many seconds by the clock; left out: the server's default"`
}

// RunOutput is the structured content of run_python. Texts are bounded for a
// model; links lead to what was left out.
type RunOutput struct {
	Success bool   `json:"success"`
	Verdict string `json:"verdict" jsonschema:"how it ended, as the host saw it: ok, error, syntax-error, exit, timeout, cpu-time, out-of-memory, output-limit, killed, crashed or refused"`
	Stdout  string `json:"stdout"`
	Stderr  string `json:"stderr"`

	Value     string        `json:"value,omitempty" jsonschema:"the repr of the last expression"`
	Results   []ShownResult `json:"results,omitempty" jsonschema:"what the code showed, in order: the value, displays, figures"`
	Exception *RunException `json:"exception,omitempty"`
	Limit     string        `json:"limit,omitempty" jsonschema:"which limit was reached, and what it is"`
	Hint      string        `json:"hint,omitempty" jsonschema:"what to do about a failure"`
	Truncated []string      `json:"truncated,omitempty" jsonschema:"what is not shown whole, and where the rest is"`
	Files     []FileChange  `json:"files,omitempty" jsonschema:"files of the workspace that were created, changed or deleted"`

	Execution     int     `json:"execution" jsonschema:"1 for the first of this conversation"`
	VariablesLost bool    `json:"variables_lost,omitempty" jsonschema:"the variables of earlier calls are gone"`
	FilesLost     bool    `json:"files_lost,omitempty" jsonschema:"the files of earlier calls are gone too"`
	ReturnCode    int     `json:"return_code"`
	Seconds       float64 `json:"seconds"`
	CPUSeconds    float64 `json:"cpu_seconds"`
	MemoryPeak    int64   `json:"memory_peak_bytes"`
}

// RunException is what the code raised.
type RunException struct {
	Name      string `json:"name"`
	Message   string `json:"message"`
	Line      int    `json:"line,omitempty" jsonschema:"in the code of this call"`
	Traceback string `json:"traceback" jsonschema:"without the frames of libraries"`
}

// ShownResult is one thing that the code showed.
type ShownResult struct {
	Kind  string            `json:"kind" jsonschema:"value, display or figure"`
	Text  string            `json:"text,omitempty"`
	Links map[string]string `json:"links,omitempty" jsonschema:"MIME types of its forms, and the resources to read them from"`
}

// FileChange is a file that an execution touched.
type FileChange struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Change string `json:"change"`
}

func (s *Server) addRun() {
	limits := s.options.Limits
	tool := &sdk.Tool{
		Name: "run_python", Title: "Run Python", Description: runDescription,
		Annotations:  annotations{contained: true}.of(),
		OutputSchema: outputSchema[RunOutput](),
		InputSchema: inputSchema[runInput](func(p properties) {
			p.bounded("timeout_seconds", 0, limits.MaxTimeout.Seconds())
			p.examples("code", "import pandas as pd\ndf = pd.read_csv('sales.csv')\ndf.describe()")
		}),
	}
	sdk.AddTool(s.sdk, tool, s.run)
}

func (s *Server) run(ctx context.Context, req *sdk.CallToolRequest, in runInput) (*sdk.CallToolResult, *RunOutput, error) {
	limits := s.options.Limits
	timeout := limits.Timeout
	if in.TimeoutSeconds > 0 {
		timeout = time.Duration(min(in.TimeoutSeconds, limits.MaxTimeout.Seconds()) * float64(time.Second))
	}
	c := s.conversation(req.Session)
	told := newProgress(ctx, req, timeout, s.options.Preparing)
	r := executor.Request{Code: in.Code, Timeout: timeout, Watch: true}
	if told != nil {
		r.Stdout, r.Stderr = told.output, told.output
	}
	out, err := c.execute(ctx, r)
	told.end()
	if err != nil {
		return nil, nil, fmt.Errorf("the code could not be run: %w", err)
	}
	result, shown := show(out, limits)
	return result, shown, nil
}
