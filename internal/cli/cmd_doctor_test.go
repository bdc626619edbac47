package cli

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
)

func TestPrintReport(t *testing.T) {
	report := executor.Report{
		Layers: []executor.LayerReport{
			{Name: "user-namespaces", Status: nsjail.Available, Level: "user, mount"},
			{Name: "landlock", Status: nsjail.Missing, Why: "not in this kernel", Mend: "boot with lsm=landlock", Optional: true},
			{Name: "cgroup-memory", Status: nsjail.Missing, Level: "v2", Why: "two\nlines", Optional: true},
			{Name: "cgroup-cpu", Status: executor.LeftOut},
			{Name: "cgroup-memory", Status: nsjail.Missing, Why: "read-only", Mend: "remount it", Optional: true},
			{Name: "cgroup-pids", Status: nsjail.Missing, Why: "read-only", Mend: "remount it", Optional: true},
		},
		Cell: "no cell can be built", Error: "layer cgroup is missing",
	}
	const want = `LAYER            STATUS     LEVEL
user-namespaces  available  user, mount
landlock         missing    not in this kernel
                            to mend it: boot with lsm=landlock
                            to do without it: --without landlock
cgroup-memory    missing    v2: two; lines
                            to do without it: --without cgroup
cgroup-cpu       left out
cgroup-memory    missing    read-only
cgroup-pids      missing    read-only
                            to mend it: remount it
                            to do without it: --without cgroup

no cell can be built
  layer cgroup is missing
`
	var b bytes.Buffer
	printReport(&b, report)
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
