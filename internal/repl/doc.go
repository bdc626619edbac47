// Package repl is the Python REPL that runs in a cell, and the host's side of
// its control channel.
//
//	conn, _ := repl.FromFile(control)
//	hello, _ := conn.Ready(ctx)
//	reply, err := conn.Exec(ctx, repl.Request{Code: "x = 1\nx"})
//	if err == nil && reply.Status == repl.StatusOK {
//		fmt.Println(*reply.Value) // what the cell says: 1
//	}
//
// The package starts no process and decides nothing about one: whether code
// timed out, was killed or ran out of memory is for the host to observe. What
// arrives here is only what the cell claims, and all of it is hostile input.
package repl
