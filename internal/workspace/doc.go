// Package workspace is how the host reads a cell's workspace and mirrors it
// with a folder of its own.
//
//	work, err := workspace.Open(fd)                    // the cell's tmpfs
//	folder, err := workspace.OpenFolder("data/demo")   // the host's side
//	m, err := workspace.NewMirror(work, folder, workspace.Limits{})
//	ups, err := m.Push(ctx, writer)                    // host → cell, before an execution
//	changes, err := m.Pull(ctx)                        // cell → host, after it
//
// The code in the cell is hostile and may be running while the host reads: a
// directory becomes a symbolic link between two calls, a file grows for ever, a
// name is a FIFO. So every file is reached from a directory descriptor through
// openat2 with RESOLVE_BENEATH, NO_SYMLINKS, NO_MAGICLINKS and NO_XDEV, opened
// with O_NONBLOCK and O_NOFOLLOW, and taken only when fstat says that it is a
// regular file; sizes, counts, depth and time are bounded; nothing is mapped
// into memory; no owner and no mode is changed by path. The folder on the host
// gets the same treatment, because what is in it came from a cell. Symbolic
// links are never created there. This is the class of CVE-2018-15664 (docker
// cp), CVE-2019-18466 (podman cp) and CVE-2021-30465 (runc).
//
// What the package does not do: it never writes into the workspace (what the
// host writes is not charged to the cell, so the cell's init does that, through
// Writer), it does not look into files, and it does not make a mirrored folder
// safe to *use*: a Makefile or .git/hooks in it are the cell's words.
package workspace
