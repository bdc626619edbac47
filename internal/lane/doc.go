// Package lane answers the short requests of connections to a Unix socket, and
// leaves all others to package http.
//
// Package http reads every request with two goroutines: one runs the handler, the
// other waits for a client that goes away. To start the second, and to end it again,
// threads are woken, which costs more than a short request itself. In a lane one
// goroutine reads, runs the handler and answers; that a client went away is looked
// for only when a request takes long.
//
//	lanes := lane.New(lane.Config{Handler: h, Short: isShort, …})
//	server.Serve(lanes.Listen(l)) // an http.Server with the same handler
//	lanes.Shutdown(ctx)           // beside server.Shutdown(ctx)
//
// A request is short when its head is there at once, its body comes soon after, both
// fit into a buffer, and its answer is one piece as a rule: Config.Short says that of
// it. One that gets large is sent in chunks.
// Package http parses it here as well; but what is odd in any way (another version
// of HTTP, a transfer encoding, an expectation, a header that is not plain, a
// mistake) is not judged here: the connection goes to the http.Server for good, with
// every byte of that request, and it answers. So it has no limits, no mistakes to
// answer and no streams of its own.
package lane
