package executor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
	"github.com/cellblock/cellblock/nsjail"
)

// reserve is kept below the group's limit, for page tables and the kernel's
// own objects, which RLIMIT_DATA does not count.
const reserve = 16 << 20

// limitData makes growth end as MemoryError before the group's limit makes it
// an OOM kill. RLIMIT_DATA counts virtual memory, so it is set when the REPL is
// ready and starts from what that has mapped already.
//
// Without a group nothing is known of what else the cell holds; then the REPL
// alone is kept to the limit. It returns the OOM kills of the group so far.
//
// A forked REPL shares memory with its template, which is not charged to it yet
// and will be page by page as it writes there.
func limitData(p *nsjail.Process, g *cgroup.Group, limit int64) (oomKills int64, err error) {
	pid := p.PID
	used := int64(0)
	if g != nil {
		stats, err := g.Stats()
		if err != nil {
			return 0, err
		}
		used, oomKills = stats.Memory, stats.OOMKills
	}
	status, err := sys.ReadControl("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("cannot limit the REPL's memory: %w", err)
	}
	mapped, err := statusBytes(status, "VmData")
	if err != nil {
		return 0, err
	}
	if p.Forked() {
		inherited, err := statusBytes(status, "RssAnon")
		if err != nil {
			return 0, err
		}
		used += inherited
	}
	data := uint64(mapped + max(limit-used-reserve, 8<<20))
	if weaken.Layer("rlimit-data") {
		return oomKills, nil
	}
	if _, err := sys.Prlimit(pid, sys.RlimitData, &sys.Rlimit{Soft: data, Hard: data}); err != nil {
		return 0, fmt.Errorf("cannot limit the REPL's memory: %w", err)
	}
	return oomKills, nil
}

// statusBytes is one line in kB of /proc/PID/status.
func statusBytes(status, name string) (int64, error) {
	_, rest, ok := strings.Cut(status, "\n"+name+":")
	if !ok {
		return 0, fmt.Errorf("the kernel tells no %s of a process", name)
	}
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	return kb << 10, err
}
