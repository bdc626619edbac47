//go:build !cellblock_weaken

package escape

import (
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// otherRoot is for mutants whose root is not the usual one.
func otherRoot(*testing.T) *executor.Config { return nil }
