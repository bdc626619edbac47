package validator

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FactsSource is the program of the process that reads syntax trees. It runs on
// CPython 3.9 to 3.13 and speaks over file descriptor 3; its docstring has the
// protocol.
//
//go:embed facts.py
var FactsSource []byte

// Limits of the protocol, the same in facts.py.
const (
	MaxSource = 4 << 20 // bytes of one source
	MaxReply  = 4 << 20 // bytes of one reply

	maxFacts   = 20000 // imports, uses and aliases of one source
	maxPlaces  = 64    // positions of one name; later ones are not listed
	maxMessage = 500   // characters of an error message
)

// Facts is what a source contains that a policy can ask about. Lines and
// columns count from 1; columns are in bytes of UTF-8, in Error in characters.
// 0 means unknown.
type Facts struct {
	Imports []Import
	Uses    []Use
	Aliases []Alias
	// Error is set when the source does not parse; the rest is then empty.
	Error *ParseError
	// Truncated is set when there was too much to report; the rest is then
	// empty.
	Truncated bool
}

// Import is one name of an import statement: `import Module as As`, or
// `from Module import Name as As`, where Name may be "*".
type Import struct {
	Module string `json:"module"` // "" in `from . import x`
	Name   string `json:"name"`   // "" in `import Module`
	As     string `json:"as"`     // "" when not given
	Level  int    `json:"level"`  // number of leading dots
	Line   int    `json:"line"`
	Column int    `json:"col"`
}

// Use is where a name, plain or dotted, is called or mentioned. Names that hang
// on the code's own variables (df.columns) are left out, unless called plainly.
type Use struct {
	Name   string
	Call   bool // called, rather than mentioned
	Places []Place
}

// Place is a position in the source.
type Place struct{ Line, Column int }

// Alias is an assignment that hands a name on: `f = eval`, `o = os`,
// `def f(o=os)`.
type Alias struct {
	Name   string `json:"name"`
	Source string `json:"source"` // plain or dotted
	Line   int    `json:"line"`
	Column int    `json:"col"`
}

// ParseError says why there is no tree. Kind is the name of the Python
// exception: SyntaxError, RecursionError, MemoryError, ValueError, ….
type ParseError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Line    int    `json:"line"`
	Column  int    `json:"col"`
}

// reply is the shape of what facts.py sends.
type reply struct {
	Done      bool        `json:"done"`
	Truncated bool        `json:"truncated"`
	Error     *ParseError `json:"error"`
	Imports   []Import    `json:"imports"`
	Uses      []struct {
		Name string `json:"name"`
		Call bool   `json:"call"`
		At   []int  `json:"at"`
	} `json:"uses"`
	Aliases []Alias `json:"aliases"`
}

// DecodeFacts reads one reply. The bytes are hostile: whatever is not exactly
// what facts.py would send within its limits is an error.
func DecodeFacts(data []byte) (Facts, error) {
	if len(data) > MaxReply {
		return Facts{}, fmt.Errorf("cannot decode facts: %d bytes, at most %d", len(data), MaxReply)
	}
	var r reply
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Facts{}, fmt.Errorf("cannot decode facts: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Facts{}, fmt.Errorf("cannot decode facts: more than one value")
	}
	return r.facts()
}

func (r *reply) facts() (Facts, error) {
	bad := func(format string, args ...any) (Facts, error) {
		return Facts{}, fmt.Errorf("cannot decode facts: "+format, args...)
	}
	outcomes := 0
	for _, set := range []bool{r.Done, r.Truncated, r.Error != nil} {
		if set {
			outcomes++
		}
	}
	count := len(r.Imports) + len(r.Uses) + len(r.Aliases)
	switch {
	case outcomes != 1:
		return bad("not one outcome")
	case !r.Done && count > 0:
		return bad("facts of a source that was not read")
	case count > maxFacts:
		return bad("%d facts, at most %d", count, maxFacts)
	case r.Truncated:
		return Facts{Truncated: true}, nil
	case r.Error != nil:
		e := *r.Error
		if e.Kind == "" || !isName(e.Kind) || utf8.RuneCountInString(e.Message) > maxMessage || !isPlace(e.Line, e.Column) {
			return bad("bad error")
		}
		e.Message = printable(e.Message)
		return Facts{Error: &e}, nil
	}

	f := Facts{Imports: r.Imports, Aliases: r.Aliases, Uses: make([]Use, len(r.Uses))}
	for _, i := range f.Imports {
		if !isName(i.Module) || !isName(i.As) || i.Name != "*" && !isName(i.Name) ||
			i.Level < 0 || i.Level > MaxSource || i.Module == "" && i.Level == 0 || !isPlace(i.Line, i.Column) {
			return bad("bad import")
		}
	}
	for _, a := range f.Aliases {
		if a.Name == "" || !isName(a.Name) || a.Source == "" || !isName(a.Source) || !isPlace(a.Line, a.Column) {
			return bad("bad alias")
		}
	}
	for n, u := range r.Uses {
		if u.Name == "" || !isName(u.Name) || len(u.At) == 0 || len(u.At)%2 != 0 || len(u.At) > 2*maxPlaces {
			return bad("bad use")
		}
		f.Uses[n] = Use{Name: u.Name, Call: u.Call, Places: make([]Place, len(u.At)/2)}
		for i := range f.Uses[n].Places {
			p := Place{u.At[2*i], u.At[2*i+1]}
			if !isPlace(p.Line, p.Column) {
				return bad("bad position of a use")
			}
			f.Uses[n].Places[i] = p
		}
	}
	return f, nil
}

func isPlace(line, column int) bool {
	return 0 <= line && line <= MaxSource+1 && 0 <= column && column <= 4*MaxSource
}

// isName accepts "" and what may be a dotted Python name. Beyond ASCII it only
// keeps out what must not reach a terminal: the two sides' Unicode versions may
// differ, and none of it can equal a blocked name by accident.
func isName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" && s != "" {
			return false
		}
		for _, r := range part {
			ascii := r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
			if !ascii && (r < utf8.RuneSelf || unicode.IsControl(r) || unicode.IsSpace(r)) {
				return false
			}
		}
	}
	return true
}

// printable replaces what must not reach a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}
