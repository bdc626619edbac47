package sys

import "syscall"

const (
	sysNewfstatat    = syscall.SYS_FSTATAT
	sysCopyFileRange = 285
	sysPwritev2      = 287
)
