//go:build cellblock_faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// The roles of the init's program, as in nsjail/native/src/faults.h.
var roles = []struct{ key, name string }{
	{"o", "outer"},
	{"x", "outer's child, up to its exec"},
	{"i", "the init"},
	{"c", "a child of the init: a REPL up to its exec, or a writer"},
}

// ends is the errno that ends the program instead.
const ends = 255

// Every call of the native init, on its way to a cell and while one file is
// written and one program runs in it, fails once with each errno.
func TestInitCalls(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	dir := t.TempDir()
	input := filepath.Join(t.TempDir(), "in.txt")
	if err := os.WriteFile(input, []byte("42"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := inside(dir, input, "-:0:0"); err != nil { // what is opened once for a process
		t.Fatal(err)
	}
	testkit.Leaks(t)
	before := processState(t)
	y := newTally()
	for _, role := range roles {
		n := count(t, func(i int) bool {
			return inside(dir, input, fmt.Sprintf("%s:%d:%d", role.key, i, ends)) != nil
		})
		t.Logf("%s makes %d calls", role.name, n)
		for i := range n {
			for j, errno := range errnos {
				if testing.Short() && (i+j)%25 != 0 {
					continue
				}
				began := time.Now()
				err := inside(dir, input, fmt.Sprintf("%s:%d:%d", role.key, i, errno))
				var complaints []string
				if err != nil {
					complaints = wrongError(err, 0)
				}
				if took := time.Since(began); took > 8*time.Second {
					complaints = append(complaints, fmt.Sprintf("it took %s: %v", took.Round(time.Millisecond), err))
				}
				complaints = append(complaints, (&bench{runtime: dir, folder: filepath.Join(dir, "none")}).leftBehind()...)
				if after := settled(t, before); !slices.Equal(before, after) {
					complaints = append(complaints, "this process has changed: "+difference(before, after))
					before = after
				}
				p := point{role.name, "call", i}
				if len(complaints) > 0 {
					t.Errorf("%s fails with %s:\n\t%s", p, name(errno), strings.Join(complaints, "\n\t"))
				}
				if os.Getenv("CELLBLOCK_FAULTS_LIST") != "" {
					t.Logf("%s %s: %v", p, name(errno), err)
				}
				y.add(p, errno, err)
			}
		}
	}
	t.Log(y)
}

// count finds how many calls a role makes: reached says of a number whether it
// is less.
func count(t *testing.T, reached func(int) bool) int {
	low, high := 0, 1
	for reached(high - 1) {
		if low, high = high, high*2; high > 4096 {
			t.Fatal("no end of calls")
		}
	}
	for low < high {
		if mid := (low + high) / 2; reached(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// inside has a cell built whose init fails as fault says, a file written into
// it and a program run there.
func inside(dir, input, fault string) (err error) {
	ex, err := executor.New(executor.Config{RuntimeDir: dir, Timeout: 20 * time.Second, Env: map[string]string{"CELLBLOCK_FAULT": fault}})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := ex.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("cannot end the cell: %w", cerr))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	r, err := ex.Execute(ctx, executor.Request{Code: "print(open('in.txt').read())", InputFiles: map[string]string{input: "in.txt"}})
	if err != nil {
		return err
	}
	if r.Verdict == executor.VerdictKilled {
		return errors.New("cannot end well: the init died under running code, and the verdict says that it was killed")
	}
	if !r.Success || r.Output != "42\n" {
		return &wrongResult{fmt.Sprintf("verdict %q, output %q, %s", r.Verdict, r.Output, r.Stderr)}
	}
	return nil
}
