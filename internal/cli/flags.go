package cli

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
)

// leastMemory is the smallest --memory: Python does not start in less.
const leastMemory = executor.MinMemoryMB << 20

// cellFlags are the flags that say what a cell is like. Commands take the
// groups of them that mean something to them.
type cellFlags struct {
	timeout, cpuTime        time.Duration
	memory, workspace, keep int64
	cpus, pids              float64
	env                     map[string]string
	python, venv, root      string
	with, without, preload  []string
	cgroupParent            string

	set *pflag.FlagSet // that has the limits; nil where a command takes none
}

// addRoot adds the flags that say which root a cell has.
func (f *cellFlags) addRoot(fs *pflag.FlagSet) {
	fs.StringVar(&f.python, "python", "", "build the root from the Python at `PATH` (default /usr/bin/python3)")
	fs.Var(listValue{&f.with}, "with", "put `PACKAGES` into the root, as installed on this host: numpy,pandas")
	fs.StringVar(&f.venv, "venv", "", "put the packages of the virtual environment `DIR` into the root")
}

// addPreload adds the flag for modules that are there from the start.
func (f *cellFlags) addPreload(fs *pflag.FlagSet) {
	fs.Var(listValue{&f.preload}, "preload", "import `MODULES` before the code runs: numpy as np,pandas as pd")
}

// addHost adds the flags about what is there already, or is missing.
func (f *cellFlags) addHost(fs *pflag.FlagSet) {
	fs.StringVar(&f.root, "root", "", "use the prepared root of this `NAME` or digest (see: cellblock rootfs list)")
	fs.Var(listValue{&f.without}, "without", "do without a `LAYER` that this host lacks, and what it limits: "+layerNames())
	fs.StringVar(&f.cgroupParent, "cgroup-parent", "", "make the cell's cgroup below `GROUP` (default: cellblock's own)")
}

// addLimits adds the limits of a cell; timeout is the default of --timeout.
func (f *cellFlags) addLimits(fs *pflag.FlagSet, timeout time.Duration) {
	f.timeout, f.memory, f.cpus, f.pids = timeout, executor.DefaultMemoryMB<<20, executor.DefaultCPUs, executor.DefaultPIDs
	f.set = fs
	f.workspace, f.keep = executor.DefaultWorkspaceBytes, executor.DefaultMaxOutput
	fs.Var(durationValue{&f.timeout}, "timeout", "stop an execution after this `TIME` by the clock: 500ms, 30s, 2m")
	fs.Var(durationValue{&f.cpuTime}, "cpu-time", "stop an execution after this CPU `TIME` (default: no limit of its own)")
	fs.Var(sizeValue{&f.memory, leastMemory}, "memory", "limit memory to `SIZE`; files in the workspace and in /tmp count too")
	fs.Var(numberValue{&f.cpus, 0.01, false}, "cpus", "limit the speed to `N` cores, such as 0.5")
	fs.Var(numberValue{&f.pids, executor.MinPIDs, true}, "pids", "limit processes and threads to `N`")
	fs.Var(sizeValue{&f.workspace, 64 << 10}, "workspace-size", "limit the workspace's files to `SIZE`")
	fs.Var(envValue{&f.env}, "env", "set an environment variable, `NAME=VALUE`; may be repeated")
}

func layerNames() string {
	names := make([]string, len(nsjail.Layers))
	for i, l := range nsjail.Layers {
		names[i] = string(l)
	}
	return strings.Join(names, ", ")
}

// config is what the flags say, for the executor.
func (f *cellFlags) config() (executor.Config, error) {
	if f.root != "" && (f.python != "" || f.venv != "" || len(f.with) > 0) {
		return executor.Config{}, usagef("--root names a root that is built already: it cannot go with --python, --with or --venv")
	}
	if f.root != "" && !isRootName(f.root) {
		return executor.Config{}, usagef("--root: %q is no name of a root: 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit", f.root)
	}
	if _, err := nsjail.ParseLayers(f.without); err != nil {
		return executor.Config{}, usagef("--without: %v", err)
	}
	if f.set != nil && slices.Contains(f.without, string(nsjail.LayerCgroup)) {
		for _, name := range []string{"pids", "cpus", "cpu-time"} {
			if flag := f.set.Lookup(name); flag != nil && flag.Changed {
				return executor.Config{}, usagef("--%s is a limit of the layer that --without cgroup leaves out: drop one of the two", name)
			}
		}
	}
	return executor.Config{
		Timeout: f.timeout, CPUTime: f.cpuTime, MaxMemoryMB: int(math.Ceil(float64(f.memory) / (1 << 20))),
		CPUs: f.cpus, PIDs: int(f.pids), WorkspaceBytes: f.workspace, MaxOutput: f.keep,
		Root: f.root, Python: f.python, Packages: f.with, Venv: f.venv, Preload: f.preload,
		Env: f.env, Without: f.without, CgroupParent: f.cgroupParent, Scope: true,
	}, nil
}

// isRootName says whether s can be the name or the digest of a root.
func isRootName(s string) bool {
	for i, r := range s {
		alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alnum && (i == 0 || r != '.' && r != '_' && r != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// completeFlags tells the shell what the values of flags can be.
func completeFlags(cmd *cobra.Command) {
	words := func(list ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	}
	for name, complete := range map[string]cobra.CompletionFunc{
		"without": words(strings.Split(layerNames(), ", ")...), "root": completeRoots,
		"timeout": words("10s", "30s", "2m"), "memory": words("128M", "512M", "2G"),
		"venv": onlyDirs, "out": onlyDirs, "dir": onlyDirs,
	} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // fails only for a flag that is not there
		}
	}
}

func onlyDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// onlyPython completes the names of Python files.
func onlyPython(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return []string{"py"}, cobra.ShellCompDirectiveFilterFileExt
}
