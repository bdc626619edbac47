package sys

const (
	sysSetns       = 308
	sysMemfdCreate = 319
	sysExecveat    = 322
	sysKeyctl      = 250
)
