//go:build !cellblock_weaken

package nsjail

// What these do in a test build (weaken.go), they do not do here: nothing can
// leave a layer out but Spec.Without.

func weakenSpec(*Spec, *layout)                       {}
func weakenProgram(_ string, b []byte) []byte         { return b }
func weakenMount(_ string, attr uint64) uint64        { return attr }
func weakenSteps(list []step) []step                  { return list }
func weakenFork(list []forkStep) []forkStep           { return list }
func weakenProc(options [][2]string) [][2]string      { return options }
func weakenPosture(findings []string) (left []string) { return findings }
