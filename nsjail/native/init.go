//go:build !cellblock_faults

package native

// Init is the static program that builds a cell from inside and stays its PID 1.
func Init() ([]byte, error) { return file("init") }
