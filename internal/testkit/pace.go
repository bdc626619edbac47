package testkit

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// PaceEnv names the variable by which a slow machine says how many times longer
// than a usual one it takes: 5, say, for one under emulation. It is at least 1.
const PaceEnv = "CELLBLOCK_TEST_PACE"

// Pace is the number in PaceEnv, 1 without it.
var Pace = sync.OnceValue(func() float64 {
	pace, err := parsePace(os.Getenv(PaceEnv))
	if err != nil {
		panic(err)
	}
	return pace
})

// Paced is how long this machine may take for what takes a usual one less than
// d. It is for the time limits of tests and of the code they run, and only for
// those: what must come of a test is the same at any pace.
func Paced(d time.Duration) time.Duration { return time.Duration(float64(d) * Pace()) }

func parsePace(text string) (float64, error) {
	if text == "" {
		return 1, nil
	}
	pace, err := strconv.ParseFloat(text, 64)
	if err != nil || !(pace >= 1 && pace <= 100) {
		return 0, fmt.Errorf("%s is %q, want a number from 1 to 100", PaceEnv, text)
	}
	return pace, nil
}
