// Package mcp serves Cellblock's sessions to language models, by the Model
// Context Protocol: tools that run Python, take, list and give files, and
// resources for what is too large to be said.
//
//	server := mcp.New(mcp.Options{Open: func(id string) mcp.Sandbox { … }})
//	defer server.Close()
//	err := server.ServeStdio(ctx, os.Stdin, os.Stdout)
//
// Each MCP session is a conversation with a Sandbox of its own, which makes a
// session of Cellblock when it is first needed. Who calls, and what they may
// have, is for whoever opens the sandboxes to say: the cellblock mcp command with
// an executor of its own, or package api with its owners and quotas.
//
// All that a cell printed or showed reaches the model, and is as untrusted as
// the code: package mcp bounds it, and decides nothing by it.
package mcp
