package api

import "runtime"

func cpus() int { return runtime.NumCPU() }
