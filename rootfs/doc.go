// Package rootfs makes the minimal read-only root of a cell: one Python, its
// standard library, the named packages and the shared libraries they need,
// and nothing else: no shell, no setuid file, no compiler, no package manager.
//
//	store, err := rootfs.Open("")
//	root, err := store.Ensure(ctx, rootfs.Spec{Packages: []string{"pandas"}}, nil)
//	release, err := root.Hold() // Remove refuses until release is called
//	defer release()
//	// bind root.Dir read-only, start root.Python with root.SysPath added
//
// Three steps are kept apart. Plan is pure: it reads the host's files through
// an fs.FS and says which of them go where. Building copies, byte-compiles and
// hashes what the plan names, in a temporary directory that is renamed into
// place. Find answers on every start from a small index, without running
// Python and without walking a tree.
//
// No code of a package is ever executed here: the only program that runs is
// the interpreter itself, started with -S, asked for its paths and used as a
// compiler.
//
// The package does not mount anything, does not start cells, and does not
// download or install packages: it copies what is installed on the host.
package rootfs
