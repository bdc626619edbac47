package nsjail

import (
	"fmt"
	"strings"

	"github.com/cellblock/cellblock/internal/sys"
)

// The host ids of cells: a slot n takes the two from base+2n. systemd's list of
// ranges gives 0x70000000 and up to no one.
const (
	idBase = 0x70000000
	slots  = 1 << 16
)

// idRange are the ids that cells get in this process's user namespace.
type idRange struct {
	base  int
	slots int // 0: there are none
}

// hostIDs is found out once. Rootless cells have the caller's id, and of a slot
// only its number.
var hostIDs = onceGood(func() (idRange, error) {
	host, err := hostOnce()
	if err != nil || host.rootless {
		return idRange{idBase, slots}, err
	}
	uids, err := sys.ReadControl("/proc/self/uid_map")
	if err != nil {
		return idRange{}, err
	}
	gids, err := sys.ReadControl("/proc/self/gid_map")
	if err != nil {
		return idRange{}, err
	}
	return idsIn(uids, gids), nil
})

// idsIn chooses them. Root of a user namespace that has fewer ids, as in a
// rootless container, gets a quarter of its widest range: from the middle, below
// the ids of nobody and of systemd's dynamic users, above those of its own.
func idsIn(uidMap, gidMap string) idRange {
	all := idRange{idBase, slots}
	if all.in(uidMap) && all.in(gidMap) {
		return all
	}
	var some idRange
	for line := range strings.Lines(uidMap) {
		if first, length, ok := mapped(line); ok && length/8 > some.slots {
			some = idRange{first + length/2, min(length/8, slots)}
		}
	}
	if !some.in(gidMap) {
		return idRange{}
	}
	return some
}

// in says that a map has all ids of the range.
func (r idRange) in(idMap string) bool {
	for line := range strings.Lines(idMap) {
		if first, length, ok := mapped(line); ok && first <= r.base && r.base+2*r.slots <= first+length {
			return true
		}
	}
	return false
}

// mapped reads a line of a map: the ids as they are seen inside.
func mapped(line string) (first, length int, ok bool) {
	var outside int
	_, err := fmt.Sscan(line, &first, &outside, &length)
	return first, length, err == nil
}
