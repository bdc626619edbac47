package sys

const (
	SysSetns       = 308
	sysMemfdCreate = 319
	sysExecveat    = 322
	sysKeyctl      = 250
)
