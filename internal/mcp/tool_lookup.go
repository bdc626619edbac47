package mcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	validateDescription = `Look at Python code without running it: syntax errors, and imports and calls that a lint objects to. A finding does not keep run_python from running the code; the sandbox, and not this, is what contains it.`
	packagesDescription = `Say which Python the sandbox has, which packages are installed (nothing can be installed from inside), and what its limits are.`
)

type validateInput struct {
	Code string `json:"code" jsonschema:"Python source"`
}

// ValidateOutput is the structured content of validate.
type ValidateOutput struct {
	Valid  bool    `json:"valid"`
	Issues []Issue `json:"issues"`
}

// Issue is one thing that the lint objects to.
type Issue struct {
	Message string `json:"message"`
	Line    int    `json:"line"`
}

// mostIssues are shown.
const mostIssues = 50

// PackagesOutput is the structured content of packages.
type PackagesOutput struct {
	Python   string            `json:"python" jsonschema:"its version"`
	Packages map[string]string `json:"packages" jsonschema:"installed distributions beside the standard library, with their versions"`
	Limits   ShownLimits       `json:"limits"`
}

// ShownLimits are those of a session.
type ShownLimits struct {
	MemoryBytes       int64   `json:"memory_bytes"`
	WorkspaceBytes    int64   `json:"workspace_bytes"`
	Processes         int     `json:"processes"`
	TimeoutSeconds    float64 `json:"timeout_seconds" jsonschema:"of a call that names none"`
	MaxTimeoutSeconds float64 `json:"max_timeout_seconds"`
	UploadBytes       int64   `json:"upload_bytes" jsonschema:"of one upload_file call"`
}

func (s *Server) addLookups() {
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "validate", Title: "Validate code", Description: validateDescription,
		Annotations:  annotations{readOnly: true}.of(),
		OutputSchema: outputSchema[ValidateOutput](),
	}, s.validate)
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "packages", Title: "Installed packages", Description: packagesDescription,
		Annotations:  annotations{readOnly: true}.of(),
		OutputSchema: outputSchema[PackagesOutput](),
	}, s.packages)
}

func (s *Server) validate(ctx context.Context, req *sdk.CallToolRequest, in validateInput) (*sdk.CallToolResult, *ValidateOutput, error) {
	valid, issues, err := s.conversation(req.Session).box.Validate(ctx, in.Code)
	if err != nil {
		return nil, nil, err
	}
	out := &ValidateOutput{Valid: valid, Issues: []Issue{}}
	lines := []string{"Nothing to object to."}
	if !valid {
		lines = nil
	}
	for _, i := range issues[:min(len(issues), mostIssues)] {
		out.Issues = append(out.Issues, Issue{shorten(i.Message), i.Line})
		lines = append(lines, fmt.Sprintf("line %d: %s", i.Line, shorten(i.Message)))
	}
	if left := len(issues) - mostIssues; left > 0 {
		lines = append(lines, fmt.Sprintf("[%d more]", left))
	}
	return said("%s", strings.Join(lines, "\n")), out, nil
}

func (s *Server) packages(ctx context.Context, req *sdk.CallToolRequest, _ noInput) (*sdk.CallToolResult, *PackagesOutput, error) {
	root, err := s.conversation(req.Session).box.Root(ctx)
	if err != nil {
		return nil, nil, err
	}
	l := s.options.Limits
	out := &PackagesOutput{
		Python: fmt.Sprintf("%d.%d.%d", root.Version[0], root.Version[1], root.Version[2]), Packages: map[string]string{},
		Limits: ShownLimits{l.MemoryBytes, l.WorkspaceBytes, l.Processes, l.Timeout.Seconds(), l.MaxTimeout.Seconds(), l.UploadBytes},
	}
	maps.Copy(out.Packages, root.Packages)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(out.Packages)) {
		names = append(names, strings.TrimSpace(name+" "+out.Packages[name]))
	}
	if len(names) == 0 {
		names = []string{"none beside the standard library"}
	}
	return said("Python %s\nPackages: %s\nLimits: %s of memory, %s of files, %d processes and threads, %g s a call (at most %g s)", out.Python, strings.Join(names, ", "),
		size(l.MemoryBytes), size(l.WorkspaceBytes), l.Processes, l.Timeout.Seconds(), l.MaxTimeout.Seconds()), out, nil
}
