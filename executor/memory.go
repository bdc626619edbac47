package executor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
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
func limitData(pid int, g *cgroup.Group, limit int64) (oomKills int64, err error) {
	used := int64(0)
	if g != nil {
		stats, err := g.Stats()
		if err != nil {
			return 0, err
		}
		used, oomKills = stats.Memory, stats.OOMKills
	}
	mapped, err := vmData(pid)
	if err != nil {
		return 0, err
	}
	data := uint64(mapped + max(limit-used-reserve, 8<<20))
	if _, err := sys.Prlimit(pid, sys.RlimitData, &sys.Rlimit{Soft: data, Hard: data}); err != nil {
		return 0, fmt.Errorf("cannot limit the REPL's memory: %w", err)
	}
	return oomKills, nil
}

func vmData(pid int) (int64, error) {
	status, err := sys.ReadControl("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("cannot limit the REPL's memory: %w", err)
	}
	_, rest, ok := strings.Cut(status, "\nVmData:")
	if !ok {
		return 0, fmt.Errorf("the kernel tells no VmData of process %d", pid)
	}
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	return kb << 10, err
}
