package escape

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

var update = flag.Bool("update", false, "write the golden files of this kernel, and in make test-mutation the table in "+document)

// document holds the table that TestMutation prints.
const document = "../../docs/threat-model.md"

//go:embed testdata/syscalls.py
var syscallsSource string

// syscallProbe compares what each system call comes to with what the filters
// decide, and with a table of this kernel's where there is one.
var syscallProbe = probe{
	n: "98", name: "every number, by each way into the kernel", alone: true, code: syscallsSource, match: true,
	req: timeout(5 * time.Minute), within: 5 * time.Minute,
	then: func(t *testing.T, _ *stage, r executor.Result) {
		calls := parseCalls(t, r.Output)
		if t.Failed() {
			return
		}
		decided(t, calls)
		golden(t, calls)
	},
}

// A made call is one number by one way, and what came of it with 0 and -1.
type made struct {
	way    string
	number int
	came   [2]string
}

func parseCalls(t *testing.T, output string) (calls []made) {
	t.Helper()
	for line := range strings.Lines(output) {
		var m made
		if _, err := fmt.Sscan(line, &m.way, &m.number, &m.came[0], &m.came[1]); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		for i, came := range m.came {
			if n, err := strconv.Atoi(came); err == nil {
				m.came[i] = unix.ErrnoName(syscall.Errno(-n))
			}
		}
		calls = append(calls, m)
	}
	if len(calls) != 3*1024 {
		t.Errorf("%d calls were made", len(calls))
	}
	return calls
}

// trampolines are uretprobe and uprobe, about which Linux asks no filter (since
// 6.14 and 6.18): a process that has no such probe gets SIGILL and ENXIO.
var trampolines = map[int]bool{335: true, 336: true}

// decided compares with both filters, interpreted: an error or a kill of theirs
// is what must have come, and no other call may be killed for them.
func decided(t *testing.T, calls []made) {
	t.Helper()
	cell, err := seccomp.Cell()
	must(t, err)
	lock, err := os.ReadFile("../../seccomp/testdata/lock_" + runtime.GOARCH + ".bpf")
	must(t, err)
	var filters []*bpf.Machine // the last one first
	for _, b := range [][]byte{lock, cell} {
		program, err := bpf.Decode(b)
		must(t, err)
		filters = append(filters, bpf.NewMachine(program))
	}
	// Where the kernel has no such gate, every such call faults.
	gate := false
	for _, m := range calls {
		gate = gate || m.way == "int-0x80" && m.came != [2]string{"SIGSEGV", "SIGSEGV"}
	}
	refused, killed := 0, 0
	for _, m := range calls {
		if m.way == "x86-64" && trampolines[m.number] {
			continue
		}
		c := bpf.Call{Number: uint32(m.number), Arch: bpf.Arch[runtime.GOARCH]}
		switch m.way {
		case "x32":
			c.Number |= 0x40000000
		case "int-0x80":
			c.Arch = bpf.ArchI386
		}
		for i, value := range []uint64{0, ^uint64(0)} {
			c.Args = [6]uint64{value, value, value, value, value, value}
			var answers []seccomp.Action
			for _, f := range filters {
				a, err := f.Run(c)
				must(t, err)
				answers = append(answers, a)
			}
			action, came := bpf.Strictest(answers...), m.came[i]
			want := came
			switch {
			case action == seccomp.KillProcess && m.way == "int-0x80" && !gate:
				want = "SIGSEGV"
				killed++
			case action == seccomp.KillProcess:
				want = "SIGSYS"
				killed++
			case action == seccomp.Pretend:
				want = "ok"
			case action != seccomp.Allow:
				want = unix.ErrnoName(syscall.Errno(action.Errno()))
				refused++
			case came == "SIGSYS":
				want = "anything but SIGSYS"
			}
			if came != want {
				t.Errorf("%s %d with %d: %s, and the filters say %s", m.way, m.number, int64(value), came, want)
			}
		}
	}
	t.Logf("%d refused, %d killed", refused, killed)
}

// golden compares with the table of this kernel. Another kernel may answer what
// the filters allow in another way, and has no table then.
func golden(t *testing.T, calls []made) {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	release := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	kernel := release[0] + "." + strings.TrimRight(release[1], "abcdefghijklmnopqrstuvwxyz-+")
	path := "testdata/syscalls_" + runtime.GOARCH + "_" + kernel + ".txt"
	got := callTable(t, calls)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Logf("there is no table of Linux %s; -update writes %s:\n%s", kernel, path, got)
		return
	}
	must(t, err)
	differing := 0
	old := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(old) || line != old[i] {
			was := "nothing"
			if i < len(old) {
				was = old[i]
			}
			if differing++; differing <= 20 {
				t.Errorf("line %d: %q, was %q", i+1, line, was)
			}
		}
	}
	if differing > 0 || len(old) != strings.Count(got, "\n")+1 {
		t.Errorf("%d lines differ from %s: if they may, go test ./tests/escape -run Kernel -update", differing, path)
	}
}

// callTable is one line for each number that has a name, and one for each run of
// others with the same answers.
func callTable(t *testing.T, calls []made) string {
	t.Helper()
	names := map[int]string{}
	text, err := os.ReadFile("../../seccomp/testdata/numbers_" + runtime.GOARCH + ".txt")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(number)
		must(t, err)
		names[n] = name
	}
	var b strings.Builder
	b.WriteString("# way number name: what came of it with arguments 0, with -1\n")
	for i := 0; i < len(calls); {
		m, last := calls[i], i
		name := names[m.number]
		if m.way != "x86-64" {
			name = ""
		}
		for name == "" && last+1 < len(calls) {
			next := calls[last+1]
			if next.way != m.way || next.came != m.came || m.way == "x86-64" && names[next.number] != "" {
				break
			}
			last++
		}
		if number := strconv.Itoa(m.number); last > i {
			fmt.Fprintf(&b, "%s %s-%d: %s %s\n", m.way, number, calls[last].number, m.came[0], m.came[1])
		} else {
			fmt.Fprintf(&b, "%s: %s %s\n", strings.TrimSpace(m.way+" "+number+" "+name), m.came[0], m.came[1])
		}
		i = last + 1
	}
	return b.String()
}
