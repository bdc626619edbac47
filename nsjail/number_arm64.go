package nsjail

import "syscall"

const sysUmount = syscall.SYS_UMOUNT2
