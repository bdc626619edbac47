package executor

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/internal/trace"
)

// Defaults of a zero Config.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultMemoryMB       = 512
	DefaultBaseDir        = "./data/scratch"
	DefaultPIDs           = 64
	DefaultCPUs           = 1.0
	DefaultWorkspaceBytes = 256 << 20
	DefaultWorkspaceFiles = 16384
	DefaultMaxOutput      = 8 << 20
)

// Config says how an Executor runs code. The zero value means the defaults
// named beside each field. It is read once, by New.
type Config struct {
	// Timeout is the wall-clock limit of one execution; 0 means 30 s.
	Timeout time.Duration
	// MaxMemoryMB limits the memory of one session in MiB (processes,
	// workspace pages and kernel objects together); 0 means 512.
	MaxMemoryMB int
	// ExecutionBaseDir is the folder below which every session has its own;
	// "" means ./data/scratch.
	ExecutionBaseDir string
	// OneShot gives every execution a fresh cell, even with a session id
	// (use_persistent_repl=False of the original system).
	OneShot bool

	// CPUTime limits the CPU time of one execution; 0 means no limit of its own.
	CPUTime time.Duration
	// CPUs is the CPU quota in cores; 0 means 1.
	CPUs float64
	// CPUWeight is what a cell gets of a CPU that others want as well, from 1 to 10000:
	// this process, what else runs in its group, and each other cell without a weight
	// have 100, which is what 0 means too. One that has to answer while its cells are
	// busy gives them less.
	CPUWeight int
	// PIDs limits processes and threads; 0 means 64.
	PIDs int
	// WorkspaceBytes and WorkspaceFiles limit the workspace; 0 means 256 MiB
	// and 16,384 inodes.
	WorkspaceBytes int64
	WorkspaceFiles int64
	// MaxOutput is how many bytes of each stream a Result keeps; 0 means 8 MiB,
	// negative means none.
	MaxOutput int64

	// Root is the name or digest of a prepared root; "" means one built on
	// demand from Python, Packages and Venv.
	Root     string
	Python   string   // path of the interpreter; "" means /usr/bin/python3
	Packages []string // packages the root must hold, e.g. "numpy", "pandas"
	Venv     string   // a virtual environment whose packages the root holds
	StateDir string   // prepared roots; "" means the default of the rootfs package

	// Preload lists modules that every session has imported before its code
	// runs, as "numpy" or "numpy as np". Their names are not in a Result's
	// Namespace. The root must hold them (Packages).
	Preload []string
	// Template keeps a Python with those modules imported, from which the
	// sessions' REPLs are forked: each then starts faster than Python itself.
	// Without it every REPL imports them anew. It needs root.
	Template bool
	// Pool says how many cells stand ahead of need, with Template.
	Pool PoolOptions

	// Env is added to the environment of the code (K=V is Env["K"]="V").
	Env map[string]string
	// Without names layers that may be missing ("cgroup", "landlock", …).
	// A layer that is missing and not named is an error.
	Without []string
	// CgroupParent is the group below which cells are made; "" means the
	// caller's own.
	CgroupParent string
	// Scope lets this process move itself into a scope of systemd, where its own
	// group belongs to systemd or to others as well (a login shell's does). For
	// programs that run cells and nothing else, such as the cellblock command.
	Scope bool

	// DetectErrorsInOutput turns the original system's "enhanced error
	// detection" on.
	DetectErrorsInOutput bool
	// Progress, when set, is told how far the building of a root is.
	Progress func(stage string, done, total int64)
	// Trace, when set, records where the time goes.
	Trace *trace.Trace
	// RuntimeDir holds the records of living cells; "" means the default of
	// package nsjail.
	RuntimeDir string
}

// PoolOptions say how many cells are built ahead of need. Each serves one
// session.
type PoolOptions = template.PoolOptions

// PreloadError is a module of Config.Preload that cannot be imported.
type PreloadError = template.PreloadError

// SupportedFileTypes are the endings an input file may have.
var SupportedFileTypes = []string{
	".txt", ".md", ".log", ".rtf", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml",
	".xlsx", ".xls", ".xlsm", ".docx", ".doc", ".pdf", ".dat", ".h5", ".hdf5", ".nc",
	".parquet", ".feather", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tiff", ".svg",
	".zip", ".tar", ".gz", ".bz2", ".7z",
}

// IsFileTypeSupported says whether name ends in one of SupportedFileTypes,
// in any case.
func (c Config) IsFileTypeSupported(name string) bool {
	return slices.Contains(SupportedFileTypes, strings.ToLower(filepath.Ext(name)))
}

// GetExecutionDir is the folder of a session on the host.
func (c Config) GetExecutionDir(sessionID string) string {
	return filepath.Join(c.withDefaults().ExecutionBaseDir, sessionID)
}

// ToDict has the keys of the original system's SandboxConfig.to_dict.
func (c Config) ToDict() map[string]any {
	d := c.withDefaults()
	return map[string]any{
		"timeout":                    d.Timeout.Seconds(),
		"max_memory_mb":              d.MaxMemoryMB,
		"execution_base_dir":         d.ExecutionBaseDir,
		"use_persistent_repl":        !d.OneShot,
		"blocked_imports":            BlockedImports(),
		"supported_file_types_count": len(SupportedFileTypes),
	}
}

// MarshalJSON writes what ToDict holds.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.ToDict()) }

func (c Config) withDefaults() Config {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxMemoryMB == 0 {
		c.MaxMemoryMB = DefaultMemoryMB
	}
	if c.ExecutionBaseDir == "" {
		c.ExecutionBaseDir = DefaultBaseDir
	}
	if c.CPUs == 0 {
		c.CPUs = DefaultCPUs
	}
	if c.PIDs == 0 {
		c.PIDs = DefaultPIDs
	}
	def(&c.WorkspaceBytes, DefaultWorkspaceBytes)
	def(&c.WorkspaceFiles, DefaultWorkspaceFiles)
	def(&c.MaxOutput, DefaultMaxOutput)
	return c
}
