package sys

import "syscall"

const (
	sysNewfstatat    = syscall.SYS_FSTATAT
	sysCopyFileRange = 285
)
