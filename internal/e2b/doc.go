// Package e2b answers the protocol that E2B's published code-interpreter SDK
// speaks, so that the SDK, unmodified, runs its code in cells:
//
//	server := e2b.New(service, e2b.Settings{})
//	go service.ServeDoor(listener, server.Door(hosts))
//
// A sandbox is a session of package api and counts against the same quotas; its
// contexts are REPLs in one cell. Requests for all sandboxes come to one address
// and are told apart by the header E2b-Sandbox-Id. docs/e2b.md lists the calls.
//
// Who makes and ends sandboxes shows a token of the service as the API key. Who
// uses one shows the secret that the SDK was given when it was made.
package e2b
