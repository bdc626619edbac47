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
