package sys

import "syscall"

const (
	sysNewfstatat    = syscall.SYS_NEWFSTATAT
	sysCopyFileRange = 326
)
