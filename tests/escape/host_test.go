package escape

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/rootfs"
)

// host is what must not be reached, and what must go on.
type host struct {
	dir      string // of this test on the host
	canary   string
	canaries map[string]string
	listener net.Listener
	abstract string
	reached  atomic.Int32
	ex       *executor.Executor
	sibling  *executor.Session
	root     *executor.Config // of a mutant: another root than the usual one
	shm      string           // number of a shared memory segment
}

// newHost plants canaries, listens on two addresses, and starts a sibling.
func newHost(t *testing.T) *host {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"))
	dir, err := os.MkdirTemp("", "escape-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{dir: dir, canary: dir + "/canary", root: otherRoot(t)}
	must(t, os.Chmod(dir, 0o755))
	// Anyone who could name these could read and change them.
	must(t, os.Mkdir(h.canary, 0o777))
	must(t, os.Chmod(h.canary, 0o777))
	must(t, os.Mkdir(h.canary+"/sub", 0o777))
	must(t, os.Chmod(h.canary+"/sub", 0o777))
	for _, name := range []string{"secret", "other", "sub/other"} {
		must(t, os.WriteFile(h.canary+"/"+name, []byte("canary "+name), 0o666))
		must(t, os.Chmod(h.canary+"/"+name, 0o666))
	}
	must(t, os.Mkdir(dir+"/sessions", 0o755))
	h.listen(t)
	h.share(t)
	h.ex, err = executor.New(base(h))
	must(t, err)
	t.Cleanup(func() { must(t, h.ex.Close()) })
	h.sibling, err = h.ex.NewSession(t.Context(), executor.SessionOptions{ID: "sibling"})
	must(t, err)
	must(t, h.sibling.Start(t.Context())) // which may build the root
	// It sleeps so that what the host watches a longer execution with is open,
	// and not taken for a leak later on.
	h.run(t, h.sibling, executor.Request{Code: "import time\ntime.sleep(0.3)\nkept = 1"})
	h.canaries = h.sums(t)
	if h.root == nil {
		t.Cleanup(func() { h.rootIntact(t) })
	}
	return h
}

// rootIntact compares every byte of the prepared root, which all cells share,
// with its manifest.
func (h *host) rootIntact(t *testing.T) {
	t.Helper()
	store, err := rootfs.Open("")
	must(t, err)
	spec, err := h.ex.Config().RootSpec()
	must(t, err)
	root, ok, err := store.Find(spec)
	if err != nil || !ok {
		t.Fatalf("the root is not to be found any more: %v", err)
	}
	report, err := store.Verify(root.Digest, nil)
	must(t, err)
	if !report.OK() {
		t.Errorf("%s", report)
	}
}

func (h *host) listen(t *testing.T) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.abstract = fmt.Sprintf("cellblock-escape-%d", os.Getpid())
	unix, err := net.Listen("unix", "@"+h.abstract)
	must(t, err)
	h.listener = tcp
	for _, l := range []net.Listener{tcp, unix} {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				h.reached.Add(1)
				c.Close()
			}
		}()
	}
}

// share makes a segment of shared memory that everyone on the host may read.
func (h *host) share(t *testing.T) {
	t.Helper()
	h.shm = "0"
	if _, err := exec.LookPath("ipcmk"); err != nil {
		return // the probe then asks for one that is not there
	}
	out, err := exec.Command("ipcmk", "-M", "4096", "-p", "0666").Output()
	must(t, err)
	_, id, ok := strings.Cut(strings.TrimSpace(string(out)), ": ")
	if !ok {
		t.Fatalf("ipcmk says %q", out)
	}
	h.shm = id
	t.Cleanup(func() { must(t, exec.Command("ipcrm", "-m", id).Run()) })
}

// sums describes the canaries and the host's files that attacks like best.
func (h *host) sums(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	add := func(path string, info fs.FileInfo) {
		what := fmt.Sprintf("%s %d", info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			hash := sha256.New()
			_, err = io.Copy(hash, f)
			must(t, err)
			what += fmt.Sprintf(" %x", hash.Sum(nil))
		}
		sums[path] = what
	}
	must(t, filepath.Walk(h.canary, func(path string, info fs.FileInfo, err error) error {
		if err == nil {
			add(path, info)
		}
		return err
	}))
	for _, path := range []string{"/etc/passwd", "/etc/shadow", "/etc", "/usr/bin/python3", "/tmp/pwned"} {
		if info, err := os.Stat(path); err == nil {
			add(path, info)
		}
	}
	return sums
}

// holds checks what must be so after every probe.
func (h *host) holds(t *testing.T) {
	t.Helper()
	for path, now := range h.sums(t) {
		if was := h.canaries[path]; was != now {
			t.Errorf("canary %s: %s, was %s", path, now, was)
		}
	}
	if n := h.reached.Load(); n != 0 {
		t.Errorf("a listener of the host was reached %d times", n)
		h.reached.Store(0)
	}
	began := time.Now()
	r := h.run(t, h.sibling, executor.Request{Code: "print(kept)"})
	if took := time.Since(began); r.Output != "1\n" || took > testkit.Paced(time.Second) {
		t.Errorf("the sibling said %q (%s, %s) after %s", r.Output, r.Verdict, deref(r.Error), took)
	}
}

// slots are the numbers of the living cells of this host: names of its records.
func (h *host) slots(t *testing.T) map[int]bool {
	t.Helper()
	records, err := os.ReadDir(h.dir + "/run/cells")
	must(t, err)
	numbers := map[int]bool{}
	for _, r := range records {
		n, err := strconv.Atoi(r.Name())
		must(t, err)
		numbers[n] = true
	}
	return numbers
}

// nothingLeft gives the records of living cells that were not there before. No
// process has an id of a cell that was there in between, and has ended.
func (h *host) nothingLeft(t *testing.T, before, during map[int]bool) (more map[int]bool) {
	t.Helper()
	more = h.slots(t)
	for n := range during {
		if left := withIDs(t, n); !more[n] && len(left) != 0 {
			t.Errorf("processes %v have the ids of cell %d, which has ended", left, n)
		}
	}
	maps.DeleteFunc(more, func(n int, _ bool) bool { return before[n] })
	return more
}

// withIDs lists the host's processes that have one of the two ids of a cell.
//
// The init of a forked session's cell is reaped by its nest, which may be a moment
// after its end: what is dead is waited for, and what lives is not.
func withIDs(t *testing.T, slot int) []string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		living, dead := haveIDs(t, slot)
		if len(living) > 0 || len(dead) == 0 || time.Now().After(deadline) {
			return append(living, dead...)
		}
	}
}

func haveIDs(t *testing.T, slot int) (living, dead []string) {
	t.Helper()
	first := 0x70000000 + 2*slot
	files, err := filepath.Glob("/proc/[0-9]*/status")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), "\nUid:\t")
		for _, id := range strings.Fields(strings.SplitN(rest, "\n", 2)[0]) {
			if n, _ := strconv.Atoi(id); n == first || n == first+1 {
				pid := filepath.Base(filepath.Dir(file))
				if strings.Contains(string(text), "\nState:\tZ") {
					dead = append(dead, pid+" (dead)")
				} else {
					living = append(living, pid)
				}
				break
			}
		}
	}
	return living, dead
}
