package sys

const (
	SysSetns       = 268
	sysMemfdCreate = 279
	sysExecveat    = 281
	sysKeyctl      = 219
)
