// Package warden keeps the sessions of a service: in this process, or in one of
// its own that outlives the one which speaks HTTP.
//
//	engine, err := warden.NewLocal(warden.Options{Executor: cfg})  // here
//	engine, err := warden.Dial(ctx, "/run/cellblock-warden/warden.sock")
//	s, err := engine.NewSession(ctx, warden.Spec{Owner: "uid:0", ID: "a"})
//	r, err := s.Execute(ctx, executor.Request{Code: "print(6*7)"})
//
// The process of its own, the warden, is privileged; it has no network and speaks
// no HTTP. Whoever asks it is not trusted with more than sessions: no path of the
// host crosses the socket, files do so as descriptors that the asker has opened
// itself, and the warden's own bounds hold beside the asker's.
//
// It knows neither quotas nor callers (package api).
package warden
