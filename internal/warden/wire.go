package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/weaken"
)

// What goes over the socket. A connection carries one call after the other:
//
//	asker                                   warden
//	  | given: a few descriptors               |   any number, for the call that follows
//	  |--------------------------------------->|
//	  | call: its name and arguments (JSON)    |
//	  |--------------------------------------->|
//	  | cancel                                 |   if the asker no longer wants it
//	  |--------------------------------------->|
//	  |           stdout, stderr: bytes        |   any number, of an execution; or of a file
//	  |<---------------------------------------|
//	  |          parts of the answer's JSON    |   any number, of a large one
//	  |<---------------------------------------|
//	  |                          answer (JSON) |   or failure (JSON): the end of the call
//	  |<---------------------------------------|
//
// A connection that ends in the middle of a call does not end the call: who asked
// may have been restarted.
const (
	frameGiven byte = iota + 1
	frameCall
	frameCancel
	frameStdout
	frameStderr
	frameAnswer
	frameFailure
	framePart
)

// protocol is the number of this list of frames and calls. A service and a warden
// of different packages talk to each other as long as it is the same.
const protocol = 2

// What one frame may have: its bytes, of which a call has the code; and its
// descriptors, of which the kernel takes 253. An answer that is larger than a part
// comes in several.
const (
	maxFrame = 128 << 20
	maxFDs   = 64
	maxGiven = 1024 // descriptors of one call
	maxPart  = 1 << 20
)

// call is what is asked.
type call struct {
	Method  string `json:"method"`
	Session string `json:"session,omitempty"` // its handle
	Context string `json:"context,omitempty"` // of the session; "": its own REPL

	Asker    string            `json:"asker,omitempty"`    // hold, make, context: the name of who asks
	Protocol int               `json:"protocol,omitempty"` // hold
	Again    bool              `json:"again,omitempty"`    // hold: by who had the sessions of the warden before
	Spec     *Spec             `json:"spec,omitempty"`     // make
	Request  *request          `json:"request,omitempty"`  // execute
	Path     []byte            `json:"path,omitempty"`     // in the workspace; it may be no UTF-8
	Code     string            `json:"code,omitempty"`     // validate
	Env      map[string]string `json:"env,omitempty"`      // context
	Offset   int64             `json:"offset,omitempty"`   // read
	Size     int64             `json:"size,omitempty"`     // read
}

// request is what an asker may want of an executor.Request: nothing that names a
// place on the host.
type request struct {
	Code           string            `json:"code"`
	Filename       string            `json:"filename,omitempty"`
	Argv           []string          `json:"argv,omitempty"`
	Env            map[string]string `json:"env,omitempty"`
	StageName      string            `json:"stage_name,omitempty"`
	FreshNamespace bool              `json:"fresh_namespace,omitempty"`
	Timeout        time.Duration     `json:"timeout,omitempty"`
	CPUTime        time.Duration     `json:"cpu_time,omitempty"`
	Stdin          []byte            `json:"stdin,omitempty"`
	Finish         bool              `json:"finish,omitempty"`
	Watch          bool              `json:"watch,omitempty"`
	Script         bool              `json:"script,omitempty"`
	NoResults      bool              `json:"no_results,omitempty"`
	EchoDisplay    bool              `json:"echo_display,omitempty"`
	FigureFormat   string            `json:"figure_format,omitempty"`
	Validate       bool              `json:"validate,omitempty"`
	Stream         bool              `json:"stream,omitempty"` // stdout and stderr as they come
	Given          []string          `json:"given,omitempty"`  // names of the descriptors, in the workspace
}

// ask is r for the wire, but for its files. What cannot be asked of a warden is a
// fault of the program's.
func ask(r executor.Request) (*request, error) {
	if r.Module != "" || r.StdinReader != nil || r.Collect != "" || len(r.Dirs) > 0 || len(r.Given) > 0 || r.SessionID != "" {
		return nil, fmt.Errorf("BUG(warden): a request that means the host's own files, standard input or modules")
	}
	return &request{
		Code: r.Code, Filename: r.Filename, Argv: r.Argv, Env: r.Env, StageName: r.StageName, FreshNamespace: r.FreshNamespace,
		Timeout: r.Timeout, CPUTime: r.CPUTime, Stdin: r.Stdin, Finish: r.Finish, Watch: r.Watch, Script: r.Script, NoResults: r.NoResults,
		EchoDisplay: r.EchoDisplay, FigureFormat: r.FigureFormat, Validate: r.Validate, Stream: r.Stdout != nil || r.Stderr != nil,
	}, nil
}

// request is what ask was made from.
func (q *request) request() executor.Request {
	return executor.Request{
		Code: q.Code, Filename: q.Filename, Argv: q.Argv, Env: q.Env, StageName: q.StageName, FreshNamespace: q.FreshNamespace,
		Timeout: q.Timeout, CPUTime: q.CPUTime, Stdin: q.Stdin, Finish: q.Finish, Watch: q.Watch, Script: q.Script, NoResults: q.NoResults,
		EchoDisplay: q.EchoDisplay, FigureFormat: q.FigureFormat, Validate: q.Validate,
	}
}

// Answers, by the method that they belong to.
type (
	heldAnswer struct { // hold
		Version  string   `json:"version"` // of the warden's program
		Defaults Defaults `json:"defaults"`
	}
	madeAnswer struct { // make, and for each session list
		Handle  string          `json:"handle"`
		Spec    Spec            `json:"spec"`
		Limits  executor.Limits `json:"limits"`
		Preload []string        `json:"preload"`
		Status  Status          `json:"status"`
	}
	executedAnswer struct { // execute, result
		Result  executor.Result `json:"result"`
		Failure *failure        `json:"failure,omitempty"` // a result can come with one
		Lost    bool            `json:"lost"`
	}
	openAnswer struct {
		Cells int    `json:"cells"` // that the session has had
		Size  int64  `json:"size"`
		Mode  uint32 `json:"mode"`
		Mtime int64  `json:"mtime"` // ns since 1970
	}
	filesAnswer struct {
		Files []executor.FileInfo `json:"files"`
		Whole bool                `json:"whole"`
	}
	entriesAnswer struct {
		Entries []rawEntry `json:"entries"`
		Whole   bool       `json:"whole"`
	}
	validAnswer struct {
		Valid  bool             `json:"valid"`
		Issues []executor.Issue `json:"issues"`
	}
)

// rawEntry is an executor.Entry whose path may be no UTF-8.
type rawEntry struct {
	Path  []byte         `json:"path"`
	Entry executor.Entry `json:"entry"`
}

// strictly decodes what is known and nothing else.
func strictly(text []byte, into any) error {
	d := json.NewDecoder(bytesReader(text))
	if !weaken.Layer("warden-fields") {
		d.DisallowUnknownFields()
	}
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("there is more than one value")
	}
	if err != nil {
		return &executor.InvalidError{What: "call", Got: shorten(string(text)), Why: err.Error()}
	}
	return nil
}
