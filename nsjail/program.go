package nsjail

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
)

// program is a plan as the init understands it: a list of system calls whose
// arguments are numbers, pointers into the data behind the list, or results
// of earlier calls (slots). See init.c, which does them one by one and reports
// the step and errno of the first that fails.
type program struct {
	step  uint32 // the step that is being lowered
	insns []insn
	data  []byte
	slots int
	text  *strings.Builder // for people, where it is not nil: see explain
}

// held is the result of an earlier call, a descriptor.
type held int

// ref is data whose address is an argument.
type ref int

const (
	doCall = iota
	doReceive
	doSend
	doPoke
	doFilter
	doLock
)

const (
	immediate = iota
	pointer
	inSlot
)

const (
	maxSlots   = 64
	maxProgram = 128 << 10
)

type insn struct {
	nr, tolerate uint16
	what, save   byte
	kind         [6]byte
	step         uint32
	arg          [6]uint64
}

// call appends a system call. Arguments are int, uint64, string (a pointer to
// its bytes and a NUL), ref or slot.
func (p *program) call(nr int, args ...any) { p.emit(doCall, nr, 0, false, args) }

// tolerate is call where one errno is no failure.
func (p *program) tolerate(errno syscall.Errno, nr int, args ...any) {
	p.emit(doCall, nr, errno, false, args)
}

// open is call whose result is kept.
func (p *program) open(nr int, args ...any) held { return p.emit(doCall, nr, 0, true, args) }

// receive asks the host for a descriptor.
func (p *program) receive() held { return p.emit(doReceive, 0, 0, true, nil) }

// send sends a descriptor to the host; as is the kind of the answer.
func (p *program) send(fd held, as byte) { p.emit(doSend, 0, 0, false, []any{fd, int(as)}) }

// filter loads a system call filter, lock the one that denies exec: in a plan
// for a forked REPL (fork.go) only.
func (p *program) filter(rules []byte) {
	p.emit(doFilter, 0, 0, false, []any{p.bytes(rules), len(rules) / rule})
}

func (p *program) lock() { p.emit(doLock, 0, 0, false, nil) }

// poke writes a descriptor into data.
func (p *program) poke(fd held, at ref) { p.emit(doPoke, 0, 0, false, []any{fd, at}) }

// bytes puts data into the program.
func (p *program) bytes(b []byte) ref {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
	r := ref(len(p.data))
	p.data = append(p.data, b...)
	return r
}

// words is bytes of 64-bit numbers.
func (p *program) words(list ...uint64) ref {
	var b []byte
	for _, w := range list {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return p.bytes(b)
}

func (p *program) emit(what byte, nr int, tolerate syscall.Errno, keep bool, args []any) held {
	in := insn{nr: uint16(nr), tolerate: uint16(tolerate), what: what, step: p.step}
	for i, a := range args {
		switch v := a.(type) {
		case int:
			in.arg[i] = uint64(v)
		case uint64:
			in.arg[i] = v
		case string:
			in.kind[i], in.arg[i] = pointer, uint64(p.bytes(append([]byte(v), 0)))
		case ref:
			in.kind[i], in.arg[i] = pointer, uint64(v)
		case held:
			in.kind[i], in.arg[i] = inSlot, uint64(v)
		default:
			panic(fmt.Sprintf("BUG(nsjail): argument of type %T", a))
		}
	}
	s := held(-1)
	if keep {
		s = held(p.slots)
		p.slots++
		in.save = byte(s + 1)
	}
	p.insns = append(p.insns, in)
	if p.text != nil {
		p.explain(in, args)
	}
	return s
}

// explain writes a call down for people. No cell needs it: it takes longer than all
// the rest of a plan.
func (p *program) explain(in insn, args []any) {
	var words []string
	for _, a := range args {
		switch v := a.(type) {
		case string:
			words = append(words, fmt.Sprintf("%q", v))
		case ref:
			words = append(words, "data")
		case held:
			words = append(words, fmt.Sprintf("s%d", v))
		default:
			words = append(words, fmt.Sprintf("%#x", v))
		}
	}
	p.text.WriteString("    ")
	if in.save > 0 {
		fmt.Fprintf(p.text, "s%d = ", in.save-1)
	}
	name := [...]string{"call", "receive", "send", "poke", "filter", "lock"}[in.what]
	if in.what == doCall {
		name = fmt.Sprintf("call %d", in.nr)
	}
	fmt.Fprintf(p.text, "%s(%s)\n", name, strings.Join(words, ", "))
}

// lower makes a program of the steps.
func lower(steps []step) (*program, error) {
	return lowerInto(&program{insns: make([]insn, 0, 128)}, steps)
}

func lowerInto(p *program, steps []step) (*program, error) {
	for i, s := range steps {
		p.step = uint32(i)
		if p.text != nil {
			fmt.Fprintf(p.text, "%2d %s\n", i, s.name)
		}
		s.emit(p)
	}
	if p.slots > maxSlots {
		return nil, fmt.Errorf("BUG(nsjail): the plan needs %d slots, more than %d", p.slots, maxSlots)
	}
	return p, nil
}

// rule is the size of a struct sock_filter.
const rule = 8

// body appends the calls and their data.
func (p *program) body(b []byte) []byte {
	le := binary.NativeEndian
	for _, in := range p.insns {
		b = le.AppendUint16(b, in.nr)
		b = le.AppendUint16(b, in.tolerate)
		b = append(b, in.what, in.save)
		b = append(b, in.kind[:]...)
		b = le.AppendUint32(b, in.step)
		for _, a := range in.arg {
			b = le.AppendUint64(b, a)
		}
	}
	p.bytes(nil) // pads the data
	return append(b, p.data...)
}

// encode is the message to the init: the calls, their data, and the filter
// that the code gets.
func (p *program) encode(filter []byte) ([]byte, error) {
	le := binary.NativeEndian
	b := make([]byte, 0, 24<<10) // as long as most are
	b = le.AppendUint32(b, uint32(len(p.insns)))
	b = le.AppendUint32(b, uint32(len(filter)/rule))
	b = append(p.body(b), filter...)
	if len(b) > maxProgram {
		return nil, fmt.Errorf("the plan is %d bytes, more than %d", len(b), maxProgram)
	}
	return b, nil
}
