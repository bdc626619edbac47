package cgroup

import (
	"errors"
	"fmt"
)

// ErrDestroyed is returned by the methods of a Group after Destroy was called.
var ErrDestroyed = errors.New("the group is destroyed")

// MissingError says that a controller a cell needs cannot be used here.
type MissingError struct {
	Controller string // memory, pids or cpu
	Why        string // what is in the way
	Mend       string // what the operator can do about it
}

func (e *MissingError) Error() string {
	s := fmt.Sprintf("no usable %s controller: %s", e.Controller, e.Why)
	if e.Mend != "" {
		s += " (to mend it: " + e.Mend + ")"
	}
	return s
}

// The ways out that are offered more than once.
const (
	mendDelegate = "run it as `systemd-run --scope -p Delegate=yes cellblock …`, or name a group with --cgroup-parent"
	mendMount    = "mount the cgroup file systems, or start the container with them (writable)"
	mendWritable = "run it as root, in a group delegated to this user (`systemd-run --user --scope -p Delegate=yes cellblock …`), or name a writable group with --cgroup-parent"
)

// mendReadOnly is for a tree that a container was given to read only.
func mendReadOnly(dir string) string {
	return fmt.Sprintf("make it writable, by `mount -o remount,rw %s` with CAP_SYS_ADMIN, or as the container is started: podman's --security-opt unmask=/sys/fs/cgroup, or --privileged, which gives more than is needed", dir)
}

// mendCrowded says how a group gets rid of the processes that keep it from
// handing controllers down: by systemd, or where there is none, as in most
// containers, by hand.
func mendCrowded(dir string, systemd bool) string {
	if systemd {
		return mendDelegate
	}
	return fmt.Sprintf("start cellblock as the only process of its group (`exec cellblock …` in a container's command), or first move the others into a leaf: `mkdir -p %[1]s/%[2]s; for p in $(cat %[1]s/cgroup.procs); do echo $p >%[1]s/%[2]s/cgroup.procs; done`", dir, selfLeaf)
}

// mendHandDown is for a group that was not given a controller.
func mendHandDown(systemd bool) string {
	if systemd {
		return mendDelegate
	}
	return "start the container in a group that has the memory, pids and cpu controllers, or name another group with --cgroup-parent"
}
