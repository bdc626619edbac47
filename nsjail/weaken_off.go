//go:build !cellblock_weaken

package nsjail

// What these do in a test build (weaken.go), they do not do here: nothing can
// leave a layer out but Spec.Without.

func weakenSpec(*Spec, *layout)                       {}
func weakenMount(_ string, attr uint64) uint64        { return attr }
func weakenTmpfs(options [][2]string) [][2]string     { return options }
func weakenSteps(list []step) []step                  { return list }
func weakenFork(list []forkStep) []forkStep           { return list }
func weakenCalls(*program)                            {}
func (c *Cell) weakenCode() int                       { return c.host.code }
func weakenPosture(findings []string) (left []string) { return findings }

func weakenProc(options [][2]string, attr uint64) ([][2]string, uint64) { return options, attr }
