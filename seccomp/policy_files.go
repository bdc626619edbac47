package seccomp

// Modes of mknod, from the kernel's headers.
const (
	sIFMT  = 0o170000
	sIFIFO = 0o010000
	sIFREG = 0o100000
)

// files are the calls that name a path or work on a file's content.
//
// What may be read and written is the mount table's business: the root is
// read-only, and all that can be written is memory of the cell.
func files() []Row {
	return []Row{
		{Calls: "openat openat2", Do: Allow, Why: "opening files; mounts and modes decide which"},
		{Calls: "open creat", Do: Allow, Missing: "arm64", Why: "older forms of openat"},
		{Calls: "newfstatat statx fstat statfs fstatfs", Do: Allow, Why: "facts about files"},
		{Calls: "stat lstat", Do: Allow, Missing: "arm64", Why: "older forms of newfstatat"},
		{Calls: "faccessat faccessat2", Do: Allow, Why: "os.access, pathlib, ld.so"},
		{Calls: "access", Do: Allow, Missing: "arm64", Why: "older form of faccessat"},
		{Calls: "getdents64", Do: Allow, Why: "os.scandir, imports"},
		{Calls: "getdents", Do: Allow, Missing: "arm64", Why: "older form of getdents64"},
		{Calls: "readlinkat", Do: Allow, Why: "os.path.realpath, ld.so"},
		{Calls: "readlink", Do: Allow, Missing: "arm64", Why: "older form of readlinkat"},
		{Calls: "getcwd chdir fchdir umask", Do: Allow, Why: "the working directory and the mask of new files; chroot is refused, so ends at the root"},
		{Calls: "mkdirat unlinkat renameat renameat2 linkat symlinkat", Do: Allow, Why: "making and removing entries of the workspace; the host never follows a link made here"},
		{Calls: "mkdir rmdir unlink rename link symlink", Do: Allow, Missing: "arm64", Why: "older forms of the at-calls"},
		{Calls: "fchmod fchmodat fchmodat2 fchown fchownat", Do: Allow, Why: "shutil and tarfile set them; without a capability only the owner's own files, and nosuid mounts ignore the set-id bits"},
		{Calls: "chmod chown lchown", Do: Allow, Missing: "arm64", Why: "older forms of fchmodat and fchownat"},
		{Calls: "utimensat", Do: Allow, Why: "shutil.copystat, os.utime"},
		{Calls: "utime utimes futimesat", Do: Allow, Missing: "arm64", Why: "older forms of utimensat"},
		{Calls: "truncate ftruncate fallocate", Do: Allow, Why: "file sizes; the tmpfs and RLIMIT_FSIZE limit them"},
		{Calls: "flock", Do: Allow, Why: "lock files; also possible on files of the shared root, where the host takes no locks and cells can see each other's"},
		{Calls: "copy_file_range sendfile", Do: Allow, Why: "shutil.copyfile"},
		{
			Calls: "mknodat", Do: Allow, Else: NotPermitted, Why: "os.mkfifo and plain files; no devices, no sockets",
			When: []Match{{{2, sIFMT, sIFIFO}}, {{2, sIFMT, sIFREG}}, {{2, sIFMT, 0}}},
		},
		{
			Calls: "mknod", Do: Allow, Else: NotPermitted, Missing: "arm64", Why: "older form of mknodat",
			When: []Match{{{1, sIFMT, sIFIFO}}, {{1, sIFMT, sIFREG}}, {{1, sIFMT, 0}}},
		},
		{
			Calls: "inotify_init1 inotify_add_watch inotify_rm_watch", Do: NoCall,
			Why: "instances and watches are charged to whoever made the cell's user namespace, too: one cell could take all of the host's root; and the root's inodes are shared, so that watches would tell what other cells open",
		},
		{Calls: "inotify_init", Do: NoCall, Missing: "arm64", Why: "older form of inotify_init1"},
		{
			Calls: "sync syncfs fsync fdatasync sync_file_range", Do: Pretend,
			Why: "everything writable is memory, so there is nothing to write back; done for real on a file of the root, it would flush the host's disk at the cell's will",
		},
		{Calls: "readahead fadvise64", Do: Pretend, Why: "advice; done for real it would drop pages of the root that other cells share"},
		{
			Calls: "setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr setxattrat getxattrat listxattrat removexattrat",
			Do:    NotSupported, Why: "extended attributes: shutil ignores ENOTSUP; kernel memory and file capabilities that nobody needs here",
		},
	}
}
