package warden

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/executor"
)

// DefaultSessions is how many sessions there may be where nobody says.
const DefaultSessions = 512

// DefaultMemory is the sum of memory limits that sessions may have where nobody
// says: three quarters of the machine's memory.
func DefaultMemory() int64 { return machineMemory() * 3 / 4 }

// What a session may have that is kept for it, and told of it: who asks may have
// been taken over, and all sessions have to fit into one answer.
const (
	mostName   = 256       // bytes of the names of its owner and kind
	mostModule = 256       // bytes of the name of one module
	mostMods   = 64        // modules
	mostEnv    = 512 << 10 // bytes of its environment
)

// check bounds what package executor does not.
func (s Spec) check(base executor.Config) error {
	bad := func(what, got string, why string) error {
		return &executor.InvalidError{What: what, Got: shorten(got), Why: why}
	}
	output := max(base.MaxOutput, executor.DefaultMaxOutput)
	switch {
	case len(s.Owner) > mostName || len(s.Kind) > mostName:
		return bad("session's owner or kind", s.Owner+" "+s.Kind, fmt.Sprintf("they have at most %d bytes", mostName))
	case len(s.Preload) > mostMods || slices.ContainsFunc(s.Preload, func(m string) bool { return len(m) > mostModule }):
		return bad("preload", strings.Join(s.Preload[:min(len(s.Preload), 2)], " "), fmt.Sprintf("there are at most %d modules, with names of %d bytes", mostMods, mostModule))
	case s.Limits.MaxOutput > output:
		return bad("limit of output", strconv.FormatInt(s.Limits.MaxOutput, 10), fmt.Sprintf("it must be at most %d bytes", output))
	}
	return checkEnv(s.Env)
}

// checkEnv bounds the environment of a session, or of a context.
func checkEnv(env map[string]string) error {
	size := 0
	for name, value := range env {
		size += len(name) + len(value)
	}
	if size > mostEnv {
		return &executor.InvalidError{What: "environment", Got: fmt.Sprintf("%d bytes", size), Why: fmt.Sprintf("it has at most %d", mostEnv)}
	}
	return nil
}

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
