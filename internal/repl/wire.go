package repl

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The control channel carries frames, each a little-endian u32 length and as
// many bytes. The host speaks first but for the one ready frame, and has one
// request under way at a time.
//
//	host → cell   u32 op, u32 flags, u64 seq, 6 × u32 length, then the six fields
//	cell → host   u64 seq, JSON
//
// seq is random and comes back in the reply: what a forgotten child or thread
// writes later is then not taken for an answer. It keeps no secret from code
// that looks for it; such code forges its own session's replies, and no more.
const (
	requestHeader = 4 + 4 + 8 + 6*4
	seqSize       = 8

	// MaxRequest bounds a request, in bytes.
	MaxRequest = 16 << 20
	// MaxReply bounds a reply, in bytes: six for each character that
	// cellrepl.py allows in its texts, some room, and rich results.
	MaxReply = 2<<20 + maxResultBytes
	// maxValues and maxDepth bound the JSON of a reply, whose values cost the
	// host many times their size.
	maxValues = 1 << 16
	maxDepth  = 8
)

// The operations, as in cellrepl.py.
const (
	opExec uint32 = iota + 1
	opComplete
	opCheck
	opLimit
	opTemplate
	opSetEnv
)

// The flags of opExec, as in cellrepl.py.
const (
	flagScript uint32 = 1 << iota
	flagFresh
	flagPreload
	flagFinish
	flagShow
	flagSave
	flagQuiet
	flagStdinData
	flagStdinLive
	flagRich
	flagEcho
	flagSVG
)

// Request is one execution.
type Request struct {
	// Code is Python source, with a coding cookie or in UTF-8.
	Code string
	// Filename is what tracebacks show; "" means script.py. One that begins
	// with "<" leaves __file__ unset.
	Filename string
	// Module, when set, is run as `python -m` would, instead of Code.
	Module string
	// Argv becomes sys.argv; nil means [Filename].
	Argv []string
	// Env holds K=V additions to the environment, while the code runs.
	Env []string
	// Stdin is what the program reads; nil means end of file at once.
	Stdin []byte
	// LiveStdin leaves descriptor 0 as it was handed to the REPL. It works
	// until the first execution without it.
	LiveStdin bool
	// Script means a whole program: the value of a last expression is not wanted.
	Script bool
	// Fresh starts with an empty __main__.
	Fresh bool
	// Preload hides what the namespace holds afterwards from later summaries,
	// for as long as a name keeps its value.
	Preload bool
	// Finish does what the end of a program does before it replies: waits for
	// threads, runs atexit's functions, drops the namespace. The REPL is of no
	// more use afterwards.
	Finish bool
	// ShowTraceback also prints an exception to sys.stderr, as Python would.
	ShowTraceback bool
	// Save writes Code to Filename in the cell before it runs.
	Save bool
	// NoNamespace leaves the summary of the variables out.
	NoNamespace bool
	// Results collects rich results. Without it display() prints, and figures
	// stay open.
	Results bool
	// Echo makes display() print as well.
	Echo bool
	// SVG wants figures as SVG and not as PNG.
	SVG bool
}

// Status is how an execution ended, by what the cell says.
type Status string

// The statuses.
const (
	StatusOK          Status = "ok"
	StatusError       Status = "error"        // an exception
	StatusSyntaxError Status = "syntax-error" // the code did not compile
	StatusExit        Status = "exit"         // SystemExit
	StatusInterrupted Status = "interrupted"  // KeyboardInterrupt
)

// Reply is what the cell claims about an execution. Nothing in it is to be
// trusted; sizes and counts are bounded, and strings are valid UTF-8.
type Reply struct {
	Status    Status
	ExitCode  int        // 0 to 255, with StatusExit
	Value     *string    // repr of a last expression that was not None
	Exception *Exception // with any status but ok; with StatusExit it has no traceback
	Namespace map[string]Variable
	Results   []Bundle // in the order in which they were shown
	LeftOut   bool     // a result, or a form of one, was too large or one too many
}

// Exception is what the code raised.
type Exception struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
	Line      int    `json:"line,omitempty"` // in the code of this execution; 0 when unknown
}

// Variable describes one public variable, with the fields of executor.Variable.
type Variable struct {
	Type    string   `json:"type"`
	Shape   []int64  `json:"shape,omitempty"`
	Columns []string `json:"columns,omitempty"`
	DType   string   `json:"dtype,omitempty"`
	Keys    []string `json:"keys,omitempty"`
	Length  *int64   `json:"length,omitempty"`
	Value   *string  `json:"value,omitempty"`
}

// Hello is what the REPL says when it is ready.
type Hello struct {
	PID     int    `json:"pid"`     // in the cell's own PID namespace
	Version string `json:"version"` // e.g. 3.11.2
}

var (
	// ErrProtocol says that the REPL sent what it must not send. Its session
	// is of no more use.
	ErrProtocol = errors.New("the REPL broke its protocol")
	// ErrClosed says that the REPL's end of the channel is gone.
	ErrClosed = errors.New("the REPL closed its control channel")
	// ErrTooLarge says that a request is larger than MaxRequest.
	ErrTooLarge = errors.New("request too large")
)

// encodeRequest returns the frame of an execution.
func encodeRequest(seq uint64, r Request) ([]byte, error) {
	var flags uint32
	for _, f := range []struct {
		set  bool
		flag uint32
	}{
		{r.Script, flagScript},
		{r.Fresh, flagFresh},
		{r.Preload, flagPreload},
		{r.Finish, flagFinish},
		{r.ShowTraceback, flagShow},
		{r.Save, flagSave},
		{r.NoNamespace, flagQuiet},
		{r.Stdin != nil, flagStdinData},
		{r.LiveStdin, flagStdinLive},
		{r.Results, flagRich},
		{r.Echo, flagEcho},
		{r.SVG, flagSVG},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	filename := r.Filename
	if filename == "" {
		filename = "script.py"
	}
	argv, err := terminated("argument", r.Argv)
	if err != nil {
		return nil, err
	}
	env, err := terminated("environment entry", r.Env)
	if err != nil {
		return nil, err
	}
	if strings.IndexByte(filename, 0) >= 0 {
		return nil, fmt.Errorf("file name %q holds a NUL byte", filename)
	}
	return encodeFrame(opExec, flags, seq, r.Code, filename, r.Module, argv, env, string(r.Stdin))
}

// terminated joins items, each with a NUL behind it, so that no items and one
// empty item differ.
func terminated(what string, items []string) (string, error) {
	var b strings.Builder
	for _, item := range items {
		if strings.IndexByte(item, 0) >= 0 {
			return "", fmt.Errorf("%s %q holds a NUL byte", what, item)
		}
		b.WriteString(item)
		b.WriteByte(0)
	}
	return b.String(), nil
}

func encodeFrame(op, flags uint32, seq uint64, fields ...string) ([]byte, error) {
	size := requestHeader
	for _, f := range fields {
		size += len(f)
	}
	if size > MaxRequest {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxRequest)
	}
	frame := make([]byte, 4+requestHeader, 4+size)
	binary.LittleEndian.PutUint32(frame, uint32(size))
	binary.LittleEndian.PutUint32(frame[4:], op)
	binary.LittleEndian.PutUint32(frame[8:], flags)
	binary.LittleEndian.PutUint64(frame[12:], seq)
	for i, f := range fields {
		binary.LittleEndian.PutUint32(frame[20+4*i:], uint32(len(f)))
		frame = append(frame, f...)
	}
	return frame, nil
}

// claims is the JSON of every kind of reply.
type claims struct {
	Status    Status              `json:"status"`
	Exit      int                 `json:"exit"`
	Value     *string             `json:"value"`
	Exception *Exception          `json:"exception"`
	Namespace map[string]Variable `json:"namespace"`
	Results   []Bundle            `json:"results"`
	LeftOut   bool                `json:"left_out"`
	Names     []string            `json:"names"`
	State     string              `json:"state"`
	Hello
}

// decodeClaims reads the JSON of a reply. Invalid UTF-8 and lone surrogates
// become U+FFFD.
func decodeClaims(data []byte) (claims, error) {
	if err := checkBounds(data, maxValues, maxDepth); err != nil {
		return claims{}, err
	}
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		return claims{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return c, nil
}

// reply turns claims about an execution into a Reply.
func (c claims) reply() (Reply, error) {
	r := Reply{Status: c.Status, Value: c.Value, Exception: c.Exception, Namespace: c.Namespace, LeftOut: c.LeftOut}
	switch c.Status {
	case StatusOK:
		r.Exception = nil
	case StatusExit:
		if c.Exit < 0 || c.Exit > 255 {
			return Reply{}, fmt.Errorf("%w: exit status %d", ErrProtocol, c.Exit)
		}
		r.ExitCode = c.Exit
	case StatusError, StatusSyntaxError, StatusInterrupted:
		if c.Exception == nil {
			return Reply{}, fmt.Errorf("%w: status %q without an exception", ErrProtocol, c.Status)
		}
	default:
		return Reply{}, fmt.Errorf("%w: status %.40q", ErrProtocol, c.Status)
	}
	if err := r.takeResults(c.Results); err != nil {
		return Reply{}, err
	}
	if r.Exception != nil && r.Exception.Line < 0 {
		r.Exception.Line = 0
	}
	return r, nil
}

// checkBounds counts what a JSON text would make the decoder allocate. It does
// not check the grammar: that is the decoder's.
func checkBounds(data []byte, mostValues, mostDepth int) error {
	values, depth := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			// To the closing quote; encoding/json reports one that is missing.
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				} else if next := bytes.IndexAny(data[i:], `"\`); next > 0 {
					i += next - 1
				}
			}
		case '{', '[':
			depth++
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if depth > mostDepth {
			return fmt.Errorf("%w: reply nested deeper than %d", ErrProtocol, mostDepth)
		}
		if values > mostValues {
			return fmt.Errorf("%w: reply with more than %d values", ErrProtocol, mostValues)
		}
	}
	return nil
}
