package nsjail

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// reader is the init's own reader of plans (native/src/decode.c), built with
// the sanitizers: it tells what the init would do with a message.
type reader struct {
	to    io.Writer
	from  *bufio.Reader
	ended func() error // waits; the error is what it said
}

func startReader(tb testing.TB) *reader {
	testkit.Require(tb, testkit.Tool("gcc"))
	binary := filepath.Join(tb.TempDir(), "decode")
	build := exec.Command("gcc", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-w", "-o", binary, "native/src/decode.c")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	cmd.Env = []string{"ASAN_OPTIONS=detect_leaks=0"}
	to, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	var told strings.Builder
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := sync.OnceValue(func() error {
		to.Close()
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%w\n%s", err, told.String())
		}
		return nil
	})
	tb.Cleanup(func() {
		if err := ended(); err != nil {
			tb.Error(err)
		}
	})
	return &reader{to, bufio.NewReader(from), ended}
}

func (r *reader) read(t *testing.T, message []byte) string {
	frame := append(binary.NativeEndian.AppendUint32(nil, uint32(len(message))), message...)
	if _, err := r.to.Write(frame); err != nil {
		t.Fatalf("the init's reader: %v: %v", err, r.ended())
	}
	var size [4]byte
	if _, err := io.ReadFull(r.from, size[:]); err != nil {
		t.Fatalf("the init's reader: %v: %v", err, r.ended())
	}
	text := make([]byte, binary.NativeEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r.from, text); err != nil {
		t.Fatalf("the init's reader: %v", err)
	}
	return string(text)
}

// errNotModelled is a message with a call that the reader takes for its own.
var errNotModelled = errors.New("not modelled")

const insnSize = 64

// model is what the init does with a message, written down a second time.
func model(message []byte) (string, error) {
	var out strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&out, format, a...) }
	if len(message) == 0 {
		return "exit 121\n", nil // the host is gone
	}
	le := binary.NativeEndian
	if len(message) < 8 {
		return "exit 120\n", nil
	}
	count, rules := uint64(le.Uint32(message)), uint64(le.Uint32(message[4:]))
	if count > uint64(len(message)-8)/insnSize {
		return "exit 120\n", nil
	}
	start := 8 + count*insnSize
	size := uint64(len(message)) - start
	if rules > 4096 || rules*8 > size {
		return "exit 124\n", nil
	}
	size -= rules * 8
	var slots [maxSlots]int64
	calls := int64(0)
	for i := range count {
		b := message[8+i*insnSize:]
		nr, tolerate, what, save := le.Uint16(b), le.Uint16(b[2:]), b[4], b[5]
		kind, step := b[6:12], le.Uint32(b[12:])
		var text strings.Builder
		var arg [6]int64
		result := int64(0)
		for j := range arg {
			v := le.Uint64(b[16+8*j:])
			arg[j] = int64(v)
			switch {
			case kind[j] == pointer && v >= size, kind[j] == inSlot && v >= maxSlots:
				result = -int64(syscall.EFAULT)
			case kind[j] == pointer:
				fmt.Fprintf(&text, " @%d", start+v)
			case kind[j] == inSlot:
				arg[j] = slots[v]
				fmt.Fprintf(&text, " %d", arg[j])
			default:
				fmt.Fprintf(&text, " %d", arg[j])
			}
		}
		if result == 0 {
			switch what {
			case doCall:
				own := arg[0] == 3 && kind[0] != pointer && (nr == syscall.SYS_SENDMSG || nr == syscall.SYS_RECVMSG)
				if own || nr == syscall.SYS_EXIT_GROUP {
					return "", errNotModelled
				}
				say("call %d%s\n", nr, text.String())
				if nr >= 1000 {
					result = -int64(syscall.ENOSYS)
				} else {
					result = 100 + calls
					calls++
				}
			case doReceive:
				say("tell p 0 0 -1\n")
				result = 77
			case doSend:
				if kind[0] == pointer || kind[1] == pointer {
					return "", errNotModelled // an address for a descriptor or a letter
				}
				say("tell %s 0 0 %d\n", []byte{byte(arg[1])}, max(int32(arg[0]), -1))
			case doPoke:
				if kind[1] != pointer || size-uint64(arg[1]) < 4 {
					result = -int64(syscall.EFAULT)
				}
			default:
				result = -int64(syscall.ENOSYS)
			}
		}
		if result < 0 && -result != int64(tolerate) {
			say("tell e %d %d -1\nexit 119\n", int32(step), -result)
			return out.String(), nil
		}
		if save != 0 {
			slots[(save-1)%maxSlots] = result
		}
	}
	say("filter %d\n", rules)
	return out.String(), nil
}

// FuzzDecode: the init reads whatever comes as the model does, and touches
// nothing but the message.
func FuzzDecode(f *testing.F) {
	for _, l := range []layout{{mknod: true, landlock: 7, lastCap: 40, code: codeID}, {rootless: true, landlock: 4, lastCap: 2}, {procMasked: true}} {
		p, err := lower(steps(Spec{Root: "/r", Inputs: []Input{{Stage: "/i", Name: "n"}}}.withDefaults(), l, func(string) int { return 9 }))
		if err != nil {
			f.Fatal(err)
		}
		b, err := p.encode(make([]byte, 24))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	poke := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, doPoke, 0, 0, pointer}, make([]byte, 56)...)
	f.Add(append(poke, 1, 2, 3))
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0})
	r := startReader(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > maxProgram {
			return
		}
		want, err := model(message)
		if err != nil {
			return
		}
		if got := r.read(t, message); got != want {
			t.Errorf("the init does\n%swanted\n%s", got, want)
		}
	})
}

// FuzzPlan: for any spec and host, the init reads the plan that was meant.
func FuzzPlan(f *testing.F) {
	f.Add("/roots/0123/tree", "data", "/inputs/1", uint8(3), int64(1<<28), int64(16384), int64(1<<20), uint64(1024), uint8(7), uint8(40), uint8(0), 16)
	f.Add("", "a b\xff", "", uint8(70), int64(-1), int64(0), int64(1)<<62, ^uint64(0), uint8(0), uint8(63), uint8(0xff), 0)
	r := startReader(f)
	f.Fuzz(func(t *testing.T, root, input, stage string, inputs uint8, bytes, files, tmp int64, open uint64, abi, last, flags uint8, filter int) {
		s := Spec{Root: root, WorkspaceBytes: bytes, WorkspaceFiles: files, TmpBytes: tmp, OpenFiles: open}.withDefaults()
		if flags&8 != 0 {
			s.Without = []Layer{LayerLandlock}
		}
		for i := range inputs {
			s.Inputs = append(s.Inputs, Input{Stage: stage, Name: fmt.Sprint(input, i), File: i%2 == 0})
		}
		l := layout{rootless: flags&1 != 0, mknod: flags&2 != 0, procMasked: flags&4 != 0, landlock: int(abi % 16), lastCap: int(last % 64), code: int(flags >> 7)}
		p, err := lower(steps(s, l, func(string) int { return 9 }))
		if err != nil {
			return // more than the init takes: refused before anything is done
		}
		message, err := p.encode(make([]byte, max(0, min(filter, 4096))*8))
		if err != nil {
			return
		}
		got := r.read(t, message)
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) < 2 || !strings.HasPrefix(lines[len(lines)-1], "filter ") || strings.Contains(got, "exit") {
			t.Fatalf("the init does not come to its end:\n%s", got)
		}
		want, err := model(message)
		if err != nil || got != want {
			t.Fatalf("the init does\n%swanted (%v)\n%s", got, err, want)
		}
		// And the model itself did what was meant, call by call.
		i := 0
		for _, in := range p.insns {
			if in.what != doCall {
				if in.what != doPoke {
					i++
				}
				continue
			}
			words := strings.Fields(lines[i])
			i++
			if words[0] != "call" || words[1] != fmt.Sprint(in.nr) {
				t.Fatalf("%q instead of call %d", words, in.nr)
			}
			for j, kind := range in.kind {
				at, isPointer := strings.CutPrefix(words[2+j], "@")
				if isPointer != (kind == pointer) || kind == immediate && words[2+j] != fmt.Sprint(int64(in.arg[j])) {
					t.Fatalf("argument %d of %q instead of %d", j, words, in.arg[j])
				}
				if isPointer && at != fmt.Sprint(8+len(p.insns)*insnSize+int(in.arg[j])) {
					t.Fatalf("argument %d of %q instead of data at %d", j, words, in.arg[j])
				}
			}
		}
	})
}

// FuzzAnswer: no message of the init upsets the host.
func FuzzAnswer(f *testing.F) {
	f.Add(make([]byte, answerSize), 1)
	f.Add([]byte("x"), 0)
	f.Fuzz(func(t *testing.T, b []byte, fds int) {
		a, err := parseAnswer(b, make([]int, max(0, min(fds, 4))))
		if (err == nil) != (len(b) == answerSize && fds < 2) {
			t.Fatalf("%d bytes, %d descriptors: %v", len(b), fds, err)
		}
		if err == nil && (a.kind != b[0] || (a.fd >= 0) != (fds == 1)) {
			t.Fatalf("%+v", a)
		}
	})
}

// A step that is not done in time is a shortage, which passes, and no fault of ours.
func TestLateIsAShortage(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err = r.Read(make([]byte, 1))
	if err = hostStep("fork", err); !errors.Is(err, syscall.EAGAIN) || !strings.Contains(err.Error(), "step fork: not done within 30s, the machine is too busy") {
		t.Errorf("%v", err)
	}
}
