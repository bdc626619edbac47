package seccomp_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

var update = flag.Bool("update", false, "write what the last filter compiles to into testdata")

// compileLock gives the last filter for an architecture, from nsjail/native/src.
func compileLock(t *testing.T, arch string) []byte {
	t.Helper()
	testkit.Require(t, testkit.Tool("gcc"), testkit.Architecture("amd64"))
	program := t.TempDir() + "/lockfilter"
	args := []string{"-Wall", "-Wextra", "-I../nsjail/native/src", "-o", program, "testdata/lockfilter.c"}
	if arch != runtime.GOARCH {
		args = append(args, "-DARM64")
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	filter, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	return filter
}

// The last filter refuses what it is there for, kills what is foreign, lets the
// rest pass, and has no instruction that no call reaches.
func TestLockFilter(t *testing.T) {
	const setSeccomp = 22
	for arch := range bpf.Arch {
		t.Run(arch, func(t *testing.T) {
			filter := compileLock(t, arch)
			golden := "testdata/lock_" + arch + ".bpf"
			if *update {
				if err := os.WriteFile(golden, filter, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			committed, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(committed, filter) {
				t.Errorf("%s is not what lockfilter.h compiles to (%v): go test ./seccomp -run TestLockFilter -update", golden, err)
			}
			program, err := bpf.Decode(filter)
			if err != nil {
				t.Fatal(err)
			}
			m := bpf.NewMachine(program)
			numbers := load(t, arch).numbers
			refused := map[uint32]bool{numbers["execve"]: true, numbers["execveat"]: true, numbers["seccomp"]: true}
			for _, number := range everyNumber() {
				for _, option := range []uint64{0, 4, setSeccomp, high | setSeccomp, high, ^uint64(0)} {
					want := seccomp.Allow
					switch {
					case refused[number] || number == numbers["prctl"] && uint32(option) == setSeccomp:
						want = seccomp.NotPermitted
					case arch == "amd64" && number >= 0x40000000 && number != 0xffffffff:
						want = seccomp.KillProcess
					}
					got, err := m.Run(bpf.Call{Number: number, Arch: bpf.Arch[arch], Args: [6]uint64{option}})
					if err != nil || got != want {
						t.Fatalf("number %d(%#x): %v, want %v (%v)", number, option, got, want, err)
					}
				}
				for _, foreign := range []uint32{bpf.ArchI386, bpf.ArchARM, 0} {
					if got, err := m.Run(bpf.Call{Number: number, Arch: foreign}); err != nil || got != seccomp.KillProcess {
						t.Fatalf("number %d of architecture %#x: %v (%v)", number, foreign, got, err)
					}
				}
			}
			if rest := m.Unreached(); rest != "" {
				t.Errorf("no call reaches these instructions:\n%s", rest)
			}
			t.Logf("%d instructions", m.Size())
		})
	}
}

func TestStrictest(t *testing.T) {
	for _, c := range [][3]seccomp.Action{
		{seccomp.Allow, seccomp.NotPermitted, seccomp.NotPermitted},
		{seccomp.NotPermitted, seccomp.NoCall, seccomp.NotPermitted},
		{seccomp.Pretend, seccomp.KillProcess, seccomp.KillProcess},
		{seccomp.Allow, seccomp.Allow, seccomp.Allow},
	} {
		if got := bpf.Strictest(c[0], c[1]); got != c[2] {
			t.Errorf("%v and %v come to %v, want %v", c[0], c[1], got, c[2])
		}
	}
}
