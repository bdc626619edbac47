package executor

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// Report is what Doctor found.
type Report struct {
	OK     bool          `json:"ok"`
	Layers []LayerReport `json:"layers"`
	// Cell says what became of the cell that was built to prove it.
	Cell  string `json:"cell"`
	Error string `json:"error,omitempty"`
}

// LayerReport is one line of a Report.
type LayerReport = nsjail.LayerState

// LeftOut is the status of a layer that the caller said may be missing.
const LeftOut = "left out"

// Doctor looks at every layer, then builds a cell with the executor's
// configuration, reads its posture and runs code in it. OK means that it stood
// and was what it was to be.
func (e *Executor) Doctor(ctx context.Context) Report {
	r := Report{Layers: nsjail.Survey(ctx, e.cfg.Scope && e.cfg.CgroupParent == "")}
	for i := range r.Layers {
		l := &r.Layers[i]
		for _, w := range e.without {
			if l.Name == string(w) || w == nsjail.LayerCgroup && len(l.Name) > 6 && l.Name[:6] == "cgroup" {
				l.Status = LeftOut
			}
		}
	}
	if root, err := e.Root(ctx); err != nil {
		r.Layers = append(r.Layers, LayerReport{Name: "root", Status: nsjail.Missing, Why: err.Error()})
	} else {
		r.Layers = append(r.Layers, LayerReport{Name: "root", Status: nsjail.Available, Level: describeRoot(root)})
	}
	if err := e.prove(ctx); err != nil {
		r.Cell, r.Error = "no cell can be built", err.Error()+aroundHint(err, r.Layers)
		return r
	}
	r.OK, r.Cell = true, "a cell was built, its posture is as it should be, and code ran in it"
	return r
}

// prove runs code in a cell; that its posture was read first is the session's
// own doing.
func (e *Executor) prove(ctx context.Context) error {
	var out []byte // not Result.Output, of which an executor may keep nothing
	result, err := e.Execute(ctx, Request{Code: "print(6*7)", Stdout: func(b []byte) { out = append(out, b...) }})
	if err != nil {
		return err
	}
	if string(out) != "42\n" {
		return fmt.Errorf("code in the cell printed %q instead of 42 (%s)", out, result.Verdict)
	}
	return nil
}

// aroundHint says what may be behind a step that was refused, where the error
// cannot: which calls a filter refuses to a user without rights shows in the
// building only.
func aroundHint(err error, layers []LayerReport) string {
	var step *nsjail.StepError
	if !errors.As(err, &step) || step.Errno != syscall.EPERM && step.Errno != syscall.ENOSYS {
		return ""
	}
	for _, l := range layers {
		if l.Name == nsjail.OuterFilter && l.Status == nsjail.Available && l.Level != nsjail.NoFilter {
			return "; a filter of system calls is around this process, as in a container: without it (--security-opt seccomp=unconfined) the call may be allowed"
		}
	}
	return ""
}

func describeRoot(root *rootfs.Root) string {
	v := root.Version
	return fmt.Sprintf("%s, Python %d.%d.%d, %d packages", root.Digest[:12], v[0], v[1], v[2], len(root.Packages))
}
