package seccomp

// Commands of fcntl, from the kernel's headers.
const (
	fDupfd         = 0
	fGetfd         = 1
	fSetfd         = 2
	fGetfl         = 3
	fSetfl         = 4
	fGetlk         = 5
	fSetlk         = 6
	fSetlkw        = 7
	fGetown        = 9
	fGetsig        = 11
	fGetownEx      = 16
	fOfdGetlk      = 36
	fOfdSetlk      = 37
	fOfdSetlkw     = 38
	fGetlease      = 1025
	fDupfdQuery    = 1027
	fCreatedQuery  = 1028
	fDupfdCloexec  = 1030
	fSetpipeSize   = 1031
	fGetpipeSize   = 1032
	fAddSeals      = 1033
	fGetSeals      = 1034
	fGetRwHint     = 1035
	fGetFileRwHint = 1037
)

// Requests of ioctl.
const (
	tcgets     = 0x5401
	tiocgpgrp  = 0x540f
	tiocoutq   = 0x5411
	tiocgwinsz = 0x5413
	fionread   = 0x541b
	fionbio    = 0x5421
	fionclex   = 0x5450
	fioclex    = 0x5451
	fioqsize   = 0x5460
	tcgets2    = 0x802c542a
	ficlone    = 0x40049409
)

// descriptors are the calls that work on an open descriptor of any kind.
func descriptors() []Row {
	return []Row{
		{Calls: "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek", Do: Allow, Why: "reading and writing what is open"},
		{Calls: "close close_range dup dup3 pipe2", Do: Allow, Why: "descriptors and pipes"},
		{Calls: "dup2 pipe", Do: Allow, Missing: "arm64", Why: "older forms of dup3 and pipe2"},
		{Calls: "splice", Do: Allow, Why: "os.splice"},
		{Calls: "ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2", Do: Allow, Why: "asyncio, selectors, time.sleep"},
		{Calls: "poll select epoll_create epoll_wait", Do: Allow, Missing: "arm64", Why: "older forms of the same"},
		{Calls: "eventfd2 signalfd4 timerfd_create timerfd_settime timerfd_gettime", Do: Allow, Why: "event sources for a loop"},
		{Calls: "eventfd signalfd", Do: Allow, Missing: "arm64", Why: "older forms of the same"},
		{
			Calls: "fcntl", Do: Allow, Else: Invalid,
			When: oneOf(1, fDupfd, fGetfd, fSetfd, fGetfl, fSetfl, fGetlk, fGetown, fGetsig, fGetownEx,
				fOfdGetlk, fGetlease, fDupfdQuery, fCreatedQuery, fDupfdCloexec,
				fSetpipeSize, fGetpipeSize, fAddSeals, fGetSeals, fGetRwHint, fGetFileRwHint),
			Feign: oneOf(1, fSetlk, fSetlkw, fOfdSetlk, fOfdSetlkw),
			Why:   "flags, seals; record locks (sqlite) succeed and do nothing, for the kernel charges them to nobody (CVE-2022-0480) and a file can have any number, while flock has one for an open file; no lease (it makes an opener on the host wait), no dnotify, no signal owner",
		},
		{
			Calls: "ioctl", Do: Allow, Else: NoTerminal,
			When: oneOf(1, tcgets, tcgets2, tiocgpgrp, tiocoutq, tiocgwinsz, fionread, fionbio, fionclex, fioclex, fioqsize, ficlone),
			Why:  "isatty, terminal size, blocking and close-on-exec flags, and FICLONE, whose EOPNOTSUPP pathlib wants to see; nothing that writes to a terminal (TIOCSTI, TIOCLINUX, TIOCSETD) or reaches a driver",
		},
	}
}
