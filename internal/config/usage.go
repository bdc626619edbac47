package config

import "fmt"

// UsageError is a command line, or a configuration, that cannot be carried out.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// Usagef makes one.
func Usagef(format string, a ...any) error { return &UsageError{fmt.Sprintf(format, a...)} }
