package sys

// Mount API (linux/mount.h, since Linux 5.2; mount_setattr since 5.12).
const (
	OpenTreeClone   = 1
	OpenTreeCloexec = 0o2000000
	AtFDCWD         = -0x64
	AtEmptyPath     = 0x1000

	MoveMountFEmptyPath = 0x4

	MountAttrReadOnly = 0x1
	MountAttrNoSuid   = 0x2
	MountAttrNoDev    = 0x4
	MountAttrNoExec   = 0x8

	fsopenCloexec     = 1
	fsmountCloexec    = 1
	fsconfigSetString = 1
	fsconfigSetFD     = 5
	fsconfigCreate    = 6
)

// prctl options (linux/prctl.h).
const (
	PrCapbsetDrop    = 24
	PrSetSecurebits  = 28
	PrSetNoNewPrivs  = 38
	SecbitNoRoot     = 1 << 0
	SecbitNoRootLock = 1 << 1
	SecbitKeepLock   = 1 << 5
	SecbitNoRaise    = 1 << 6
	SecbitNoRaiseLk  = 1 << 7
)

// Capabilities that the init keeps (linux/capability.h).
const (
	CapKill     = 5
	CapSetgid   = 6
	CapSetuid   = 7
	CapSysAdmin = 21
)

// Resource limits (asm-generic/resource.h).
const (
	RlimitCPU        = 0
	RlimitFsize      = 1
	RlimitData       = 2
	RlimitStack      = 3
	RlimitCore       = 4
	RlimitNofile     = 7
	RlimitMemlock    = 8
	RlimitSigpending = 11
	RlimitMsgqueue   = 12
	RlimitNice       = 13
	RlimitRtprio     = 14
	RlimInfinity     = ^uint64(0)
)

// memfd and its seals (linux/memfd.h, linux/fcntl.h).
const (
	memfdCloexec      = 1
	memfdAllowSealing = 2
	fAddSeals         = 1033
	fGetSeals         = 1034
	sealAll           = 1 | 2 | 4 | 8 // SEAL, SHRINK, GROW, WRITE
)
