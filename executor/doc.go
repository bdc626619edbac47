// Package executor runs Python that nobody trusts in persistent sessions,
// each locked in a cell of its own.
//
//	ex, err := executor.New(executor.Config{})
//	if err != nil { … }
//	defer ex.Close()
//	res, err := ex.Execute(ctx, executor.Request{Code: "print(1+1)", SessionID: "demo"})
//	fmt.Print(res.Output)
//
// It does not decide what code may do: the cell (package nsjail) does. The
// validator is a lint and never the boundary.
package executor
