package sys

// Numbers that are the same on every architecture (Linux 5.1 and later).
const (
	sysPidfdSendSignal  = 424
	sysOpenTree         = 428
	sysMoveMount        = 429
	sysFsopen           = 430
	sysFsconfig         = 431
	sysFsmount          = 432
	sysCloseRange       = 436
	sysMountSetattr     = 442
	sysLandlockCreate   = 444
	sysLandlockAdd      = 445
	sysLandlockRestrict = 446
)
