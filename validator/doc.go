// Package validator looks at Python source before it runs and says what a
// reader would want to be asked about: blocked imports, calls of eval and its
// like, syntax errors.
//
//	v := validator.New(validator.NewResident(start))
//	valid, issues, err := v.Validate(ctx, []byte("import socket\n"))
//	for _, i := range issues {
//		fmt.Printf("%d:%d: %s\n", i.Line, i.Column, i.Message)
//	}
//
// It is a lint and never the boundary. Python has more ways to reach a module
// than any reader of source can list, so code that passes is as untrusted as
// code that does not; what holds it is the cell (package nsjail).
//
// The facts come from CPython's own syntax tree, read by facts.py: a resident
// process in a cell of its own that executes nothing. So they are exact for the
// Python that will run the code (coding cookies, lone carriage returns, NFKC
// names), provided that the code is then compiled from the same bytes. Hostile
// source can crash or fool that process and nothing else; a crash is "not
// valid". The policy (Judge) is pure Go. The package starts no process and
// opens no file itself: a Source is handed to it.
package validator
