package api

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
)

func cpus() int { return runtime.NumCPU() }

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
