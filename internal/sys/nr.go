package sys

// Numbers that are the same on every architecture (Linux 5.1 and later).
const (
	SysPidfdSendSignal  = 424
	SysOpenTree         = 428
	SysMoveMount        = 429
	SysFsopen           = 430
	SysFsconfig         = 431
	SysFsmount          = 432
	SysCloseRange       = 436
	SysMountSetattr     = 442
	SysLandlockCreate   = 444
	SysLandlockAdd      = 445
	SysLandlockRestrict = 446
)
