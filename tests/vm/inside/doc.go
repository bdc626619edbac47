// Package inside holds the tests that need a machine with systemd and a pure
// cgroup v2 tree, which they may treat as they like: cells below a delegated
// unit, from root's login shell, and by a user without rights. They are built
// with the tag `vm` only, and run by `make test-vm`.
//
// What they claim of a group they read from the kernel's files themselves, not
// through package cgroup.
package inside
