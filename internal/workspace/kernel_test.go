package workspace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// withoutOpenat2 runs its arguments under a filter that answers a system call
// number with ENOSYS, as a kernel that does not know it.
const withoutOpenat2 = `
import ctypes, os, struct, sys
prog = b"".join(struct.pack("HBBI", *i) for i in [
    (0x20, 0, 0, 0),                # load the number
    (0x15, 0, 1, int(sys.argv[1])), # another? then skip one
    (0x06, 0, 0, 0x00050000 | 38),  # ENOSYS
    (0x06, 0, 0, 0x7fff0000),       # allow
])
buf = ctypes.create_string_buffer(prog)
fprog = struct.pack("HxxxxxxQ", len(prog) // 8, ctypes.addressof(buf))
libc = ctypes.CDLL(None, use_errno=True)
for args in [(38, 1, 0, 0, 0), (22, 2, ctypes.c_char_p(fprog), 0, 0)]:
    if libc.prctl(*args) != 0:
        sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
`

// A kernel without openat2 is refused, not worked around.
func TestKernelWithoutOpenat2(t *testing.T) {
	dir := os.Getenv("CELLBLOCK_TEST_OPEN")
	if dir == "" {
		testkit.Require(t, testkit.Python(""))
		p := newPlace(t)
		p.write(t, "f", "x")
		self, err := os.Executable()
		must(t, err)
		cmd := exec.Command(testkit.PythonPath, "-I", "-S", "-c", withoutOpenat2, fmt.Sprint(437), self, "-test.run=^TestKernelWithoutOpenat2$")
		cmd.Env = append(os.Environ(), "CELLBLOCK_TEST_OPEN="+p.path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if d, err := openExisting(dir); !errors.Is(err, ErrNoOpenat2) {
		t.Fatalf("%v, %v", d, err)
	}
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	if d, err := Open(int(f.Fd())); !errors.Is(err, ErrNoOpenat2) {
		t.Fatalf("%v, %v", d, err)
	}
}
