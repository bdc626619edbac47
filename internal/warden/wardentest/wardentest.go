// Package wardentest gives tests of a service its Engine: in their own process, or
// with the flag -warden behind a socket.
//
//	go test ./internal/api -warden
package wardentest

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

var behind = flag.Bool("warden", false, "let a warden behind a socket keep the sessions")

// Engine makes one whose sessions are of cfg, which must name a RuntimeDir. At the
// end of the test nothing of them may be left.
func Engine(t testing.TB, cfg executor.Config) warden.Engine {
	t.Helper()
	local, err := warden.NewLocal(warden.Options{Executor: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(filepath.Join(cfg.RuntimeDir, "cells")); len(left) > 0 {
			t.Errorf("%d records of cells are left", len(left))
		}
	})
	if !*behind {
		return local
	}
	client, err := warden.Dial(context.Background(), Serve(t, local))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Serve lets processes of this user ask an engine at the socket whose path it
// returns, until the end of the test, which ends the engine as well.
func Serve(t testing.TB, local *warden.Local) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cb") // short: the path of a socket is
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "w"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server := warden.NewServer(local, []int{os.Geteuid()}, "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(l); err != nil {
			t.Errorf("the warden's end: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("the warden: %v", err)
		}
		os.RemoveAll(dir)
	})
	if err := server.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
