package executor

import (
	"maps"
	"os"
	"slices"
)

// GetExecutionEnv is the environment of code in a cell. Nothing of the
// caller's own gets in, but for what says how this machine's processor is to
// be treated (OPENBLAS_CORETYPE and its like).
func GetExecutionEnv() map[string]string {
	env := map[string]string{
		"HOME":   "/workspace",
		"USER":   "cell",
		"PATH":   "/usr/bin",
		"TMPDIR": "/tmp",
		"LANG":   "C.UTF-8",
		"TZ":     "UTC",
		// Drawing needs no display, and a place for the font cache.
		"MPLBACKEND":   "Agg",
		"MPLCONFIGDIR": "/tmp/matplotlib",
		// A cell has few threads; the libraries would take one per core each.
		"OPENBLAS_NUM_THREADS": "1",
		"OMP_NUM_THREADS":      "1",
		"MKL_NUM_THREADS":      "1",
	}
	for _, name := range []string{"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} {
		if v := os.Getenv(name); v != "" {
			env[name] = v
		}
	}
	return env
}

// environ is GetExecutionEnv with the caller's additions, sorted.
func environ(extra map[string]string) []string {
	env := GetExecutionEnv()
	maps.Copy(env, extra)
	return variables(env)
}

// variables are K=V for each, in order.
func variables(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}
