package executor

import "strings"

// errorSigns are what the original system's "enhanced error detection" looked
// for in the output, in any case.
var errorSigns = []string{
	"error:", "failed:", "exception:", "traceback (most recent call last):", "not found",
	"does not contain", "does not exist", "no valid", "invalid",
}

// detectErrors makes a failure of a success whose output reads like one, and
// puts the output into a failure that has no text.
func detectErrors(r *Result) {
	lower := strings.ToLower(r.Output)
	found := false
	for _, sign := range errorSigns {
		if strings.Contains(lower, sign) {
			found = true
			break
		}
	}
	if !found {
		return
	}
	var message string
	switch {
	case r.ReturnCode == 0:
		message = "Error detected in output (code exited with 0 but printed error):\n" + r.Output
	case r.Error == nil || *r.Error == "":
		message = "Error detected in output (stderr was empty):\n" + r.Output
	default:
		return
	}
	r.Success, r.Error = false, &message
}
