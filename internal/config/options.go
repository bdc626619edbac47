package config

import (
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
)

// Options are what a service is started with. A zero field is left to others.
type Options struct {
	Socket, Group, Listen, E2B      string
	E2BOpen                         bool
	TLSCert, TLSKey, Tokens         string
	Hosts                           []string
	Root, Python, Venv, StateDir    string
	RuntimeDir, Spool, CgroupParent string
	With, Without, Preload          []string
	Template                        bool
	Env                             map[string]string
	Timeout, CPUTime                time.Duration
	Memory, Workspace, MaxOutput    int64
	CPUs                            float64
	Warden, WardenUser              string
	PIDs, WorkspaceFiles            int
	QuotaSessions, QuotaExecs       int
	QuotaMemory, TotalMemory        int64
	Sessions, Starting, Queue       int
	StartWait, Idle, MaxTimeout     time.Duration
	MaxBody, SpoolSize              int64
	Connections                     int
	Drain, KeepAlive                time.Duration
	LogLevel, LogFormat             string
}

// New has the defaults that are not left to others.
func New() Options { return Options{Template: os.Geteuid() == 0 && !filtered()} }

// filtered says whether this process runs under a filter of system calls, of
// systemd or a container: the lock in a root takes a Python with one for a
// cell's, and lets no template be.
func filtered() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err == nil && !strings.Contains(string(status), "\nSeccomp:\t0\n")
}

// Keys are all that can be configured, each with its default in words.
func (o *Options) Keys() []Key {
	return []Key{
		{"socket", String(&o.Socket), "listen on this Unix `PATH` (default " + DefaultSocket() + "; \"none\": on no socket)"},
		{"group", String(&o.Group), "let members of this `GROUP` call, beside root and the service's own user"},
		{"listen", String(&o.Listen), "listen on this TCP `ADDRESS` as well, such as 10.0.0.5:8443; needs tokens, and TLS unless it is a loopback one"},
		{"e2b", String(&o.E2B), "answer E2B's code-interpreter SDK on this TCP `ADDRESS`, such as 127.0.0.1:3000; its API keys are the tokens"},
		{"e2b_open", Bool(&o.E2BOpen), "take any API key there: for a loopback address, where there are no tokens"},
		{"tls_cert", String(&o.TLSCert), "`FILE` with the certificate for TCP"},
		{"tls_key", String(&o.TLSKey), "`FILE` with its key"},
		{"tokens", String(&o.Tokens), "`FILE` with the tokens for TCP, by their hashes (see: cellblock config token)"},
		{"hosts", List(&o.Hosts), "`NAMES` by which requests over TCP may call this service, beside the address itself"},
		{"warden", String(&o.Warden), "let the warden at this Unix `PATH` keep the sessions, which then outlive this process (see: cellblock-warden --help)"},
		{"warden_user", String(&o.WardenUser), "the `USER` whose service may ask the warden, beside the warden's own"},
		{"root", String(&o.Root), "use the prepared root of this `NAME` or digest (see: cellblock rootfs list)"},
		{"python", String(&o.Python), "build the root from the Python at `PATH` (default /usr/bin/python3)"},
		{"with", List(&o.With), "put `PACKAGES` into the root, as installed on this host: numpy,pandas"},
		{"venv", String(&o.Venv), "put the packages of the virtual environment `DIR` into the root"},
		{"preload", List(&o.Preload), "import `MODULES` of the root for sessions that name none: pandas as pd, numpy"},
		{"template", Bool(&o.Template), "fork sessions from a Python that has them imported, instead of starting one each (default: true as root, where no filter of system calls is inherited)"},
		{"state_dir", String(&o.StateDir), "`DIR` of prepared roots"},
		{"runtime_dir", String(&o.RuntimeDir), "`DIR` of the records of living cells"},
		{"spool", String(&o.Spool), "`DIR` for uploads on their way (default: the system's for temporary files)"},
		{"spool_size", Size(&o.SpoolSize), "what they may take there together, `SIZE`; one caller may have a quarter of it (default 2G, or 8 workspaces)"},
		{"cgroup_parent", String(&o.CgroupParent), "make cells' cgroups below `GROUP` (default: the service's own)"},
		{"without", List(&o.Without), "do without a `LAYER` that this host lacks: cgroup, landlock"},
		{"env", Env(&o.Env), "set an environment variable of all code, `NAME=VALUE`; may be repeated"},
		{"timeout", Duration(&o.Timeout), "`TIME` by the clock of an execution that names none (default 30s)"},
		{"max_timeout", Duration(&o.MaxTimeout), "longest `TIME` that one may ask for (default 1h)"},
		{"cpu_time", Duration(&o.CPUTime), "CPU `TIME` of an execution (default: no limit of its own)"},
		{"memory", Size(&o.Memory), "memory of a session that names none, `SIZE` (default 512M)"},
		{"cpus", Number(&o.CPUs), "speed of a session in cores, `N` (default 1)"},
		{"pids", Count(&o.PIDs), "processes and threads of a session, `N` (default 64)"},
		{"workspace_size", Size(&o.Workspace), "files of a session, `SIZE` (default 256M)"},
		{"workspace_files", Count(&o.WorkspaceFiles), "number of files of a session, `N` (default 16384)"},
		{"max_output", Size(&o.MaxOutput), "what a result keeps of each stream, `SIZE` (default 8M)"},
		{"quota_sessions", Count(&o.QuotaSessions), "sessions that one caller may have, `N` (default 64)"},
		{"quota_memory", Size(&o.QuotaMemory), "sum of memory limits that one caller may have, `SIZE` (default: all)"},
		{"quota_executions", Count(&o.QuotaExecs), "executions that one caller may have under way or waiting, `N` (default 64)"},
		{"sessions", Count(&o.Sessions), "sessions in all, `N` (default 512)"},
		{"total_memory", Size(&o.TotalMemory), "sum of all sessions' memory limits, `SIZE` (default: three quarters of the machine's)"},
		{"starting", Count(&o.Starting), "cells that are built at once, `N` (default 2 for each CPU)"},
		{"start_wait", Duration(&o.StartWait), "`TIME` that a new session waits for its turn before it is refused (default 10s)"},
		{"queue", Count(&o.Queue), "executions that may wait in one session, `N` (default 64)"},
		{"idle", Duration(&o.Idle), "end a session that was not used for this `TIME` (default 30m)"},
		{"max_body", Size(&o.MaxBody), "largest request in JSON, `SIZE` (default 32M)"},
		{"connections", Count(&o.Connections), "connections at once, `N` (default 1024)"},
		{"keep_alive", Duration(&o.KeepAlive), "`TIME` after which a silent stream says that it lives (default 15s)"},
		{"drain", Duration(&o.Drain), "`TIME` that executions get to end when the service is told to (default 10s)"},
		{"log_level", String(&o.LogLevel), "`LEVEL` of what is logged: debug, info, warn, error (default info)"},
		{"log_format", String(&o.LogFormat), "text or json, `FORMAT` (default: json under systemd)"},
	}
}

// DefaultSocket is where a service listens that was told nothing, and where
// clients look for it.
func DefaultSocket() string { return filepath.Join(nsjail.RuntimeDir(), "cellblock.sock") }

// Executor is what sessions are made from.
func (o *Options) Executor() (executor.Config, error) {
	if o.Root != "" && (o.Python != "" || o.Venv != "" || len(o.With) > 0) {
		return executor.Config{}, Usagef("root names a root that is built already: it cannot go with python, with or venv")
	}
	if o.Memory > 0 && o.Memory < 1<<20 {
		return executor.Config{}, Usagef("memory: %d bytes are too few for a Python: write a unit, such as 512M", o.Memory)
	}
	return executor.Config{
		Timeout: o.Timeout, CPUTime: o.CPUTime, MaxMemoryMB: int(math.Ceil(float64(o.Memory) / (1 << 20))), CPUs: o.CPUs, CPUWeight: cellWeight, PIDs: o.PIDs,
		WorkspaceBytes: o.Workspace, WorkspaceFiles: int64(o.WorkspaceFiles), MaxOutput: o.MaxOutput,
		Preload: o.Preload, Template: o.Template,
		Root: o.Root, Python: o.Python, Packages: o.With, Venv: o.Venv, StateDir: o.StateDir, RuntimeDir: o.RuntimeDir,
		Env: o.Env, Without: o.Without, CgroupParent: o.CgroupParent, Scope: true,
	}, nil
}

// cellWeight is a cell's share of a CPU that others want as well; a service or warden,
// and the template from which it forks, have 100: it answers while all cells are busy.
const cellWeight = 10

// DrainTime is how long executions get to end.
func (o *Options) DrainTime() time.Duration {
	if o.Drain == 0 {
		return 10 * time.Second
	}
	return o.Drain
}

// Logger is what they ask for, written to w.
func (o *Options) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if o.LogLevel != "" {
		if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
			return nil, Usagef("log_level: %q is none of debug, info, warn, error", o.LogLevel)
		}
	}
	how := &slog.HandlerOptions{Level: level}
	format := o.LogFormat
	if format == "" && os.Getenv("JOURNAL_STREAM") != "" {
		format = "json"
	}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, how)), nil
	case "", "text":
		return slog.New(slog.NewTextHandler(w, how)), nil
	}
	return nil, Usagef("log_format: %q is neither text nor json", format)
}
