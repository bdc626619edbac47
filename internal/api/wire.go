package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/docker/go-units"

	"github.com/cellblock/cellblock/executor"
)

// What goes over the wire. Names, units and defaults are a promise: clients are
// generated from them.

// Execution is code to run, as every execute route takes it.
type Execution struct {
	Code           string      `json:"code" doc:"Python source."`
	Timeout        float64     `json:"timeout,omitempty" minimum:"0" doc:"Seconds by the clock; 0 or none: the session's own."`
	StageName      string      `json:"stage_name,omitempty" maxLength:"64" doc:"Kept in the name that tracebacks show: script_<stage>.py."`
	InputFiles     []InputFile `json:"input_files,omitempty" maxItems:"1000" doc:"Files that are in the workspace before the code runs. Larger ones are better uploaded before, with PUT."`
	FreshNamespace bool        `json:"fresh_namespace,omitempty" doc:"Start with a clean namespace; files stay."`
	Validate       bool        `json:"validate,omitempty" doc:"Refuse code in which the validator finds an issue."`
	KeepRunning    bool        `json:"keep_running,omitempty" doc:"Go on when the client goes away. Otherwise the code is interrupted then."`
}

// InputFile is a file that travels with an execution.
type InputFile struct {
	Name    string `json:"name" maxLength:"4095" doc:"Path in the workspace."`
	Content Bytes  `json:"content_base64" doc:"Its bytes, in base64."`
}

// Bytes are base64 in JSON.
type Bytes []byte

// Schema says so. As a huma.Schema.ContentEncoding it would be checked there, and
// no bytes at all be refused.
func (Bytes) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Extensions: map[string]any{"contentEncoding": "base64"}}
}

// Creation is what a new session is to be.
type Creation struct {
	Root    string   `json:"root,omitempty" maxLength:"64" doc:"Name or digest of a prepared root; none: the service's own."`
	Preload []string `json:"preload,omitempty" maxItems:"32" doc:"Modules that every namespace of the session has, such as \"pandas as pd\"; none: the service's own. What the root does not have is left out, and named in left_out of the session."`
	Limits  Limits   `json:"limits,omitempty" doc:"Limits; what is left out is the service's default. A session that is there keeps those it has: to ask for others is an error."`
}

// StandaloneExecution is the body of POST /v1/execute.
type StandaloneExecution struct {
	Execution
	SessionID string `json:"session_id,omitempty" maxLength:"64" doc:"A session of this caller, which is made when there is none. Without it the code has a cell of its own that is gone afterwards."`
	Creation
}

// NewSession is the body of POST /v1/sessions.
type NewSession struct {
	ID string `json:"id,omitempty" maxLength:"64" doc:"1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit; none: the service names it."`
	Creation
}

// Limits of a session. A field that is 0 or absent is the service's default.
type Limits struct {
	Memory         Size    `json:"memory,omitempty" doc:"Memory of the session, files in the workspace and in /tmp included."`
	MemoryMB       int     `json:"memory_mb,omitempty" minimum:"0" doc:"The same in MiB; memory goes first."`
	CPUs           float64 `json:"cpus,omitempty" minimum:"0" doc:"Speed in cores."`
	PIDs           int     `json:"pids,omitempty" minimum:"0" doc:"Processes and threads."`
	WorkspaceSize  Size    `json:"workspace_size,omitempty" doc:"Bytes of files in the workspace."`
	WorkspaceFiles int64   `json:"workspace_files,omitempty" minimum:"0" doc:"Files and directories in the workspace."`
	Timeout        float64 `json:"timeout,omitempty" minimum:"0" doc:"Seconds by the clock, of an execution that names none."`
	CPUTime        float64 `json:"cpu_time,omitempty" minimum:"0" doc:"CPU seconds of one execution."`
	MaxOutput      Size    `json:"max_output,omitempty" doc:"Bytes of each stream that a result keeps."`
}

// Size is a number of bytes: in JSON an integer, or a string such as "512M".
type Size int64

// UnmarshalJSON reads both forms.
func (s *Size) UnmarshalJSON(b []byte) error {
	var n int64
	if err := json.Unmarshal(b, &n); err == nil {
		*s = Size(n)
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a size is a number of bytes, or a string such as \"512M\"")
	}
	return s.UnmarshalText([]byte(text))
}

// UnmarshalText reads the form with a unit.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := units.RAMInBytes(string(b))
	if err != nil || n < 0 || n > 1<<50 {
		return fmt.Errorf("%q is no size: write a number with K, M or G, such as 512M", b)
	}
	*s = Size(n)
	return nil
}

// Schema is what OpenAPI says of a Size.
func (Size) Schema(huma.Registry) *huma.Schema {
	least := 0.0
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeInteger, Format: "int64", Minimum: &least},
		{Type: huma.TypeString, Pattern: `^[0-9.]+ ?[kKmMgGtT]?i?[bB]?$`},
	}}
}

// States of a session.
const (
	StateStarting = "starting" // its cell is being built
	StateIdle     = "idle"
	StateRunning  = "running"
	StateLost     = "lost" // its variables are gone, its files are kept; the next execution starts anew
)

// SessionInfo describes a session.
type SessionInfo struct {
	ID         string        `json:"id"`
	State      string        `json:"state" enum:"starting,idle,running,lost"`
	Root       string        `json:"root" doc:"As it was asked for; empty: the service's own."`
	Preload    []string      `json:"preload" doc:"Those that it has."`
	LeftOut    []string      `json:"left_out" doc:"Modules to preload that were asked for, and could not be imported."`
	Limits     CurrentLimits `json:"limits"`
	Created    time.Time     `json:"created"`
	LastUsed   time.Time     `json:"last_used"`
	Expires    *time.Time    `json:"expires" doc:"When it ends if it is not used; null while it runs."`
	Executions int           `json:"executions"`
	Waiting    int           `json:"waiting" doc:"Executions that wait for their turn."`
	Usage      SessionUsage  `json:"usage"`
}

// CurrentLimits are the limits that a session has.
type CurrentLimits struct {
	MemoryBytes    int64   `json:"memory_bytes"`
	CPUs           float64 `json:"cpus"`
	PIDs           int     `json:"pids"`
	WorkspaceBytes int64   `json:"workspace_bytes"`
	WorkspaceFiles int64   `json:"workspace_files"`
	Timeout        float64 `json:"timeout"`
	CPUTime        float64 `json:"cpu_time"`
}

// SessionUsage is what a session holds now, as the kernel counts it.
type SessionUsage struct {
	MemoryBytes int64   `json:"memory_bytes"`
	Processes   int64   `json:"processes"`
	CPUSeconds  float64 `json:"cpu_s"`
}

// SessionList is the answer to GET /v1/sessions.
type SessionList struct {
	Sessions []SessionInfo `json:"sessions"`
}

// FileList is the answer to GET /v1/sessions/{id}/files.
type FileList struct {
	Files []executor.FileInfo `json:"files"`
	Whole bool                `json:"whole" doc:"False when a limit of names, depth or time ended the listing."`
}

// Source is the body of POST /v1/validate.
type Source struct {
	Code string `json:"code"`
}

// Validation is the answer to it.
type Validation struct {
	Valid  bool             `json:"valid"`
	Issues []executor.Issue `json:"issues"`
}

// Frame is one line of a streamed execution (application/x-ndjson): output as
// it is printed, then a result or an error, then the end. A stream without an
// end was cut.
type Frame struct {
	Kind   string           `json:"kind" enum:"stdout,stderr,result,error,end,keep-alive"`
	Text   string           `json:"text,omitempty" doc:"Of stdout and stderr. What is no UTF-8 is U+FFFD."`
	Result *executor.Result `json:"result,omitempty"`
	Error  *Problem         `json:"error,omitempty"`
}

// Stats is the answer to GET /v1/stats: figures of this caller.
type Stats struct {
	Owner       string `json:"owner"`
	Sessions    int    `json:"sessions"`
	Running     int    `json:"running" doc:"Executions under way or waiting."`
	MemoryBytes int64  `json:"memory_bytes" doc:"Sum of the memory limits of the sessions."`
	Executions  int64  `json:"executions"`
	Failures    int64  `json:"failures"`
	Expired     int64  `json:"expired"`
	Quota       Quota  `json:"quota"`
}

// Quota is what one owner may have at once.
type Quota struct {
	Sessions    int   `json:"sessions"`
	MemoryBytes int64 `json:"memory_bytes"`
	Executions  int   `json:"executions"`
}

// Health is the answer to /healthz and /readyz.
type Health struct {
	Status string `json:"status"`
}
