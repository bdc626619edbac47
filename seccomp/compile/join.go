package compile

import (
	"fmt"
	"slices"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

// The mark is the default that the library is given: a SECCOMP_RET_TRACE
// with a code of ours, which no policy can contain. Were one left over, the
// call would fail with ENOSYS, for nobody traces.
const (
	markCode = 0x0ce1
	mark     = 0x7ff00000 | markCode
)

// join replaces each return of the mark by a jump to a tail, which answers
// by number and then with the default. A jump is as long as a return, so the
// rest of the program stays as it is.
func join(program []bpf.Instruction, answers map[uint32]seccomp.Action) ([]bpf.Instruction, error) {
	program = dropUnreached(program)
	start, marks := len(program), 0
	for i, in := range program {
		if in.Code == bpf.Return && in.K == mark {
			program[i] = bpf.Instruction{Code: bpf.Jump, K: uint32(start - i - 1)}
			marks++
		}
	}
	if marks == 0 {
		return nil, fmt.Errorf("BUG(seccomp/compile): the library's program never reaches its default")
	}
	t, err := tail(answers)
	if err != nil {
		return nil, err
	}
	program = append(program, t...)
	if len(program) > bpf.Most {
		return nil, fmt.Errorf("a filter of %d instructions: the kernel takes %d", len(program), bpf.Most)
	}
	return program, nil
}

// dropUnreached cuts off instructions at the end that nothing leads to. The
// library repeats a return where a jump would be too long, and then leaves
// the original behind.
func dropUnreached(program []bpf.Instruction) []bpf.Instruction {
	reached := make([]bool, len(program))
	reach := func(at int) {
		if at < len(reached) {
			reached[at] = true
		}
	}
	reach(0)
	last := 0
	for i, in := range program {
		if !reached[i] {
			continue
		}
		last = i
		switch in.Code {
		case bpf.Return:
		case bpf.Jump:
			reach(i + 1 + int(in.K))
		case bpf.JumpEqual, bpf.JumpGreater, bpf.JumpAtLeast, bpf.JumpBits:
			reach(i + 1 + int(in.JT))
			reach(i + 1 + int(in.JF))
		default:
			reach(i + 1)
		}
	}
	return program[:last+1]
}

// tail is: load the number; one comparison for each answer, in the order of
// numbers; the default; then one return for each action.
func tail(answers map[uint32]seccomp.Action) ([]bpf.Instruction, error) {
	var numbers []uint32
	var actions []seccomp.Action
	for number, action := range answers {
		numbers = append(numbers, number)
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	slices.Sort(numbers)
	slices.Sort(actions)

	program := []bpf.Instruction{{Code: bpf.LoadWord, K: 0}}
	afterDefault := 1 + len(numbers) + 1
	for _, number := range numbers {
		to := afterDefault + slices.Index(actions, answers[number])
		distance := to - len(program) - 1
		if distance > 255 {
			return nil, fmt.Errorf("the filter's tail has %d numbers: more than one jump can cross", len(numbers))
		}
		program = append(program, bpf.Instruction{Code: bpf.JumpEqual, K: number, JT: uint8(distance)})
	}
	program = append(program, bpf.Instruction{Code: bpf.Return, K: uint32(seccomp.Default)})
	for _, action := range actions {
		program = append(program, bpf.Instruction{Code: bpf.Return, K: uint32(action)})
	}
	return program, nil
}
