package nsjail

// ProcByHelperOnly makes masked proc go the way of kernels before 6.17.
func ProcByHelperOnly(on bool) { noProcByName = on }
