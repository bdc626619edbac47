package servicecli

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
)

// options are what a service is started with.
type options struct {
	socket, group, listen, e2b   string
	e2bOpen                      bool
	tlsCert, tlsKey, tokens      string
	hosts                        []string
	root, python, venv, state    string
	runtime, spool, cgroupParent string
	with, without, preload       []string
	template                     bool
	env                          map[string]string
	timeout, cpuTime             time.Duration
	memory, workspace, maxOutput int64
	cpus                         float64
	pids, workspaceFiles         int
	quotaSessions, quotaExecs    int
	quotaMemory, totalMemory     int64
	sessions, starting, queue    int
	startWait, idle, maxTimeout  time.Duration
	maxBody, spoolSize           int64
	connections                  int
	drain, keepAlive             time.Duration
	logLevel, logFormat          string
}

// newOptions has the defaults that are not left to others.
func newOptions() options { return options{template: os.Geteuid() == 0 && !filtered()} }

// filtered says whether this process runs under a filter of system calls, of
// systemd or a container: the lock in a root takes a Python with one for a
// cell's, and lets no template be.
func filtered() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err == nil && !strings.Contains(string(status), "\nSeccomp:\t0\n")
}

// keys are all that can be configured, each with its default in words.
func (o *options) keys() []key {
	return []key{
		{"socket", stringValue{&o.socket}, "listen on this Unix `PATH` (default " + defaultSocket() + "; \"none\": on no socket)"},
		{"group", stringValue{&o.group}, "let members of this `GROUP` call, beside root and the service's own user"},
		{"listen", stringValue{&o.listen}, "listen on this TCP `ADDRESS` as well, such as 10.0.0.5:8443; needs tokens, and TLS unless it is a loopback one"},
		{"e2b", stringValue{&o.e2b}, "answer E2B's code-interpreter SDK on this TCP `ADDRESS`, such as 127.0.0.1:3000; its API keys are the tokens"},
		{"e2b_open", boolValue{&o.e2bOpen}, "take any API key there: for a loopback address, where there are no tokens"},
		{"tls_cert", stringValue{&o.tlsCert}, "`FILE` with the certificate for TCP"},
		{"tls_key", stringValue{&o.tlsKey}, "`FILE` with its key"},
		{"tokens", stringValue{&o.tokens}, "`FILE` with the tokens for TCP, by their hashes (see: cellblock config token)"},
		{"hosts", listValue{&o.hosts}, "`NAMES` by which requests over TCP may call this service, beside the address itself"},
		{"root", stringValue{&o.root}, "use the prepared root of this `NAME` or digest (see: cellblock rootfs list)"},
		{"python", stringValue{&o.python}, "build the root from the Python at `PATH` (default /usr/bin/python3)"},
		{"with", listValue{&o.with}, "put `PACKAGES` into the root, as installed on this host: numpy,pandas"},
		{"venv", stringValue{&o.venv}, "put the packages of the virtual environment `DIR` into the root"},
		{"preload", listValue{&o.preload}, "import `MODULES` of the root for sessions that name none: pandas as pd, numpy"},
		{"template", boolValue{&o.template}, "fork sessions from a Python that has them imported, instead of starting one each (default: true as root, where no filter of system calls is inherited)"},
		{"state_dir", stringValue{&o.state}, "`DIR` of prepared roots"},
		{"runtime_dir", stringValue{&o.runtime}, "`DIR` of the records of living cells"},
		{"spool", stringValue{&o.spool}, "`DIR` for uploads on their way (default: the system's for temporary files)"},
		{"spool_size", sizeValue{&o.spoolSize}, "what they may take there together, `SIZE`; one caller may have a quarter of it (default 2G, or 8 workspaces)"},
		{"cgroup_parent", stringValue{&o.cgroupParent}, "make cells' cgroups below `GROUP` (default: the service's own)"},
		{"without", listValue{&o.without}, "do without a `LAYER` that this host lacks: cgroup, landlock, two-ids"},
		{"env", envValue{&o.env}, "set an environment variable of all code, `NAME=VALUE`; may be repeated"},
		{"timeout", durationValue{&o.timeout}, "`TIME` by the clock of an execution that names none (default 30s)"},
		{"max_timeout", durationValue{&o.maxTimeout}, "longest `TIME` that one may ask for (default 1h)"},
		{"cpu_time", durationValue{&o.cpuTime}, "CPU `TIME` of an execution (default: no limit of its own)"},
		{"memory", sizeValue{&o.memory}, "memory of a session that names none, `SIZE` (default 512M)"},
		{"cpus", numberValue{&o.cpus}, "speed of a session in cores, `N` (default 1)"},
		{"pids", countValue{&o.pids}, "processes and threads of a session, `N` (default 64)"},
		{"workspace_size", sizeValue{&o.workspace}, "files of a session, `SIZE` (default 256M)"},
		{"workspace_files", countValue{&o.workspaceFiles}, "number of files of a session, `N` (default 16384)"},
		{"max_output", sizeValue{&o.maxOutput}, "what a result keeps of each stream, `SIZE` (default 8M)"},
		{"quota_sessions", countValue{&o.quotaSessions}, "sessions that one caller may have, `N` (default 64)"},
		{"quota_memory", sizeValue{&o.quotaMemory}, "sum of memory limits that one caller may have, `SIZE` (default: all)"},
		{"quota_executions", countValue{&o.quotaExecs}, "executions that one caller may have under way or waiting, `N` (default 64)"},
		{"sessions", countValue{&o.sessions}, "sessions in all, `N` (default 512)"},
		{"total_memory", sizeValue{&o.totalMemory}, "sum of all sessions' memory limits, `SIZE` (default: three quarters of the machine's)"},
		{"starting", countValue{&o.starting}, "cells that are built at once, `N` (default 2 for each CPU)"},
		{"start_wait", durationValue{&o.startWait}, "`TIME` that a new session waits for its turn before it is refused (default 10s)"},
		{"queue", countValue{&o.queue}, "executions that may wait in one session, `N` (default 64)"},
		{"idle", durationValue{&o.idle}, "end a session that was not used for this `TIME` (default 30m)"},
		{"max_body", sizeValue{&o.maxBody}, "largest request in JSON, `SIZE` (default 32M)"},
		{"connections", countValue{&o.connections}, "connections at once, `N` (default 1024)"},
		{"keep_alive", durationValue{&o.keepAlive}, "`TIME` after which a silent stream says that it lives (default 15s)"},
		{"drain", durationValue{&o.drain}, "`TIME` that executions get to end when the service is told to (default 10s)"},
		{"log_level", stringValue{&o.logLevel}, "`LEVEL` of what is logged: debug, info, warn, error (default info)"},
		{"log_format", stringValue{&o.logFormat}, "text or json, `FORMAT` (default: json under systemd)"},
	}
}

// settings checks the options, and makes of them what package api takes.
func (o *options) settings(log *slog.Logger) (api.Settings, error) {
	if o.root != "" && (o.python != "" || o.venv != "" || len(o.with) > 0) {
		return api.Settings{}, usagef("root names a root that is built already: it cannot go with python, with or venv")
	}
	if err := o.checkE2B(); err != nil {
		return api.Settings{}, err
	}
	s := api.Settings{
		Executor: executor.Config{
			Timeout: o.timeout, CPUTime: o.cpuTime, MaxMemoryMB: int(math.Ceil(float64(o.memory) / (1 << 20))), CPUs: o.cpus, PIDs: o.pids,
			WorkspaceBytes: o.workspace, WorkspaceFiles: int64(o.workspaceFiles), MaxOutput: o.maxOutput,
			Preload: o.preload, Template: o.template,
			Root: o.root, Python: o.python, Packages: o.with, Venv: o.venv, StateDir: o.state, RuntimeDir: o.runtime,
			Env: o.env, Without: o.without, CgroupParent: o.cgroupParent, Scope: true,
		},
		Version: version, Log: log, Hosts: o.hosts,
		Quota:    api.Quota{Sessions: o.quotaSessions, MemoryBytes: o.quotaMemory, Executions: o.quotaExecs},
		Sessions: o.sessions, MemoryBytes: o.totalMemory, Starting: o.starting, StartWait: o.startWait, Queue: o.queue,
		Idle: o.idle, MaxTimeout: o.maxTimeout, MaxBody: o.maxBody, KeepAlive: o.keepAlive, Spool: o.spool, SpoolBytes: o.spoolSize, Connections: o.connections,
	}
	if o.group != "" {
		gid, err := groupID(o.group)
		if err != nil {
			return api.Settings{}, err
		}
		s.Groups = []int{gid}
	}
	if o.tokens != "" {
		var err error
		if s.Tokens, err = api.LoadTokens(o.tokens); err != nil {
			return api.Settings{}, usagef("%v", err)
		}
	}
	return s, nil
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if n, nerr := strconv.Atoi(name); nerr == nil {
			return n, nil
		}
		return 0, usagef("group: %v", err)
	}
	n, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("group %q has the id %q: %w", name, g.Gid, err)
	}
	return n, nil
}
