package template

import (
	"os"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// trigger fires when tasks of this machine waited for memory for a tenth of the
// last second. Where the kernel keeps no such figures, pools do not shrink by it.
const trigger = "some 100000 1000000"

// calm is how long after the last such event no cell is built ahead.
const calm = 10 * time.Second

// watchPressure calls pressed for each event until stop is closed.
func watchPressure(stop *os.File, pressed func()) {
	defer stop.Close()
	f, err := os.OpenFile("/proc/pressure/memory", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteString(trigger + "\x00"); err != nil {
		return
	}
	for {
		if more, err := sys.AwaitPressure(int(f.Fd()), int(stop.Fd())); err != nil || !more {
			return
		}
		pressed()
	}
}
