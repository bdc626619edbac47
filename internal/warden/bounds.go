package warden

import (
	"bytes"
	"os"
	"strconv"
)

// DefaultSessions is how many sessions there may be where nobody says.
const DefaultSessions = 512

// DefaultMemory is the sum of memory limits that sessions may have where nobody
// says: three quarters of the machine's memory.
func DefaultMemory() int64 { return machineMemory() * 3 / 4 }

// machineMemory is MemTotal; 1 GiB where the kernel does not say.
func machineMemory() int64 {
	const unknown = 1 << 30
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return unknown
	}
	_, rest, ok := bytes.Cut(b, []byte("MemTotal:"))
	if !ok {
		return unknown
	}
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kb, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return unknown
	}
	return kb << 10
}
