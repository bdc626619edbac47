// Package plan is what the two halves of nsjail say to each other: the list
// of steps that the host resolved and the init carries out.
//
//	host (package nsjail)              init (package child)
//	 | one datagram: Encode(steps) ---->  |  Decode, then step by step
//	 | <--- Failure, when a step fails    |  … and exit
//	 | <--- 'w' + fd: the workspace       |  (only where the init had to make it)
//	 |                                    |  last step: exec the reaper
//
// It imports only the standard library, since the init links it.
package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Op is what a step does.
type Op byte

// The operations, in the order in which a cell is built.
const (
	Private      Op = iota + 1 // no mount event leaves or enters
	MakeRoot                   // bind the prepared root (rootless: Path)
	AttachRoot                 // mount FD over / and go there
	Attach                     // mount FD at Path below the new root
	MakeTmpfs                  // rootless: make a tmpfs with Arg (options), attach at Path
	BindDevice                 // rootless: bind /dev/Path of the host
	BindInput                  // rootless: bind a staged directory Arg at Path
	Proc                       // make and attach /proc
	Pivot                      // the new root becomes /, the old one is gone
	Hostname                   // Arg
	Cgroup                     // a cgroup namespace rooted at the cell's own group
	Keyring                    // an empty session keyring
	Limit                      // resource FD, soft A, hard B
	Umask                      // A
	Chdir                      // Path
	NoNewPrivs                 //
	Landlock                   // A: the ABI that the host decided on
	Capabilities               // keep A in the reaper, bounding set empty
	Exec                       // FD: the reaper; Args: argv; the filter is at 4
	lastOp
)

var names = [...]string{
	Private: "private-mounts", MakeRoot: "make-root", AttachRoot: "attach-root", Attach: "attach",
	MakeTmpfs: "make-tmpfs", BindDevice: "bind-device", BindInput: "bind-input", Proc: "proc", Pivot: "pivot-root",
	Hostname: "hostname", Cgroup: "cgroup-namespace", Keyring: "keyring", Limit: "rlimit", Umask: "umask",
	Chdir: "chdir", NoNewPrivs: "no-new-privs", Landlock: "landlock", Capabilities: "capabilities", Exec: "exec-reaper",
}

// What B of Attach and BindInput asks to be made as mount point.
const (
	OnDirectory = 1
	OnFile      = 2
)

// String is the step's name in errors.
func (o Op) String() string {
	if int(o) < len(names) && names[o] != "" {
		return names[o]
	}
	return fmt.Sprintf("op-%d", byte(o))
}

// Step is one step of the init.
type Step struct {
	Op   Op
	Path string
	Arg  string
	FD   int
	A, B uint64
	Args []string
	Env  []string
}

// String names the step and what it works on.
func (s Step) String() string {
	switch {
	case s.Path != "":
		return s.Op.String() + " " + s.Path
	case s.Op == Limit:
		return fmt.Sprintf("%s %d", s.Op, s.FD)
	}
	return s.Op.String()
}

// Limits of an encoded plan.
const (
	MaxBytes   = 128 << 10
	maxSteps   = 256
	maxStrings = 512
)

var errPlan = errors.New("malformed plan")

// Encode writes steps as one message.
func Encode(steps []Step) ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(steps)))
	for _, s := range steps {
		b = append(b, byte(s.Op))
		b = appendString(b, s.Path)
		b = appendString(b, s.Arg)
		b = binary.AppendVarint(b, int64(s.FD))
		b = binary.AppendUvarint(b, s.A)
		b = binary.AppendUvarint(b, s.B)
		b = appendStrings(b, s.Args)
		b = appendStrings(b, s.Env)
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("plan of %d bytes is larger than %d: the environment or the arguments are too long", len(b), MaxBytes)
	}
	return b, nil
}

// Decode reads what Encode wrote and nothing else.
func Decode(b []byte) ([]Step, error) {
	d := decoder{b: b}
	n := d.uvarint()
	if n > maxSteps {
		return nil, errPlan
	}
	steps := make([]Step, 0, n)
	for range n {
		s := Step{Op: Op(d.byte()), Path: d.string(), Arg: d.string(), FD: int(d.varint()), A: d.uvarint(), B: d.uvarint(), Args: d.strings(), Env: d.strings()}
		if d.bad {
			return nil, errPlan
		}
		if s.Op == 0 || s.Op >= lastOp {
			return nil, fmt.Errorf("%w: unknown step %d", errPlan, s.Op)
		}
		steps = append(steps, s)
	}
	if d.bad || len(d.b) != 0 {
		return nil, errPlan
	}
	return steps, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) strings() []string {
	n := d.uvarint()
	if n > maxStrings {
		d.bad, d.b = true, nil
		return nil
	}
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.string())
	}
	return list
}

// Failure is what the init says of a step that failed: 'e', the index, the
// errno (0 where there is none) and the text.
func Failure(index int, errno uint32, text string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{'e'}, uint32(index))
	b = binary.LittleEndian.AppendUint32(b, errno)
	return append(b, text...)
}

// ParseFailure reads a Failure.
func ParseFailure(b []byte) (index int, errno uint32, text string, ok bool) {
	if len(b) < 9 || b[0] != 'e' {
		return 0, 0, "", false
	}
	return int(binary.LittleEndian.Uint32(b[1:])), binary.LittleEndian.Uint32(b[5:]), string(b[9:]), true
}
