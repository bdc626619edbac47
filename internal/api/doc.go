// Package api is Cellblock's service: sessions and executions over HTTP, on a
// Unix socket or on TCP.
//
//	server, err := api.New(ctx, settings)
//	…
//	go server.Serve(listener)
//	…
//	server.Shutdown(ctx)
//
// It speaks for callers that it has identified, each of whom sees sessions of its
// own only, and it bounds what all of them take together. It decides nothing about
// cells: package executor does, and its Result is the answer to an execution.
//
// Each endpoint has a file, api_*.go, with its test. openapi.json beside them is
// generated from the types in wire.go and compared by a test.
package api
