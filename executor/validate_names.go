package executor

import (
	"slices"

	"github.com/cellblock/cellblock/validator"
)

// Issue is a finding of the validator.
type Issue = validator.Issue

// BlockedImports returns the names that the validator blocks by default.
func BlockedImports() []string { return slices.Clone(validator.DefaultBlocked) }
