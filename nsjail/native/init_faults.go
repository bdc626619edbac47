//go:build cellblock_faults

package native

import _ "embed"

//go:embed faulty/init
var faulty []byte

// Init is the init of a test build, one of whose system calls fails on demand
// (src/faults.h).
func Init() ([]byte, error) { return faulty, nil }
