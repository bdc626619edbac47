package warden_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// What is kept of a session is bounded, and however much they have, they can be
// found by the next service.
func TestWhatIsKeptIsBounded(t *testing.T) {
	socket := start(t, warden.Options{})
	c := dial(t, socket)
	long := strings.Repeat("x", 1<<10)
	for name, spec := range map[string]warden.Spec{
		"owner":       {Owner: long},
		"kind":        {Kind: long},
		"module":      {Preload: []string{long}},
		"modules":     {Preload: slices.Repeat([]string{"json"}, 1000)},
		"environment": {Env: map[string]string{"A": strings.Repeat(long, 1<<10)}},
		"output":      {Limits: executor.Limits{MaxOutput: 1 << 40}},
	} {
		var invalid *executor.InvalidError
		if _, err := c.NewSession(t.Context(), spec); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := session(t, c, warden.Spec{ID: "s", Env: map[string]string{"A": strings.Repeat("<", 200<<10)}})
	var invalid *executor.InvalidError
	if _, err := s.NewContext(t.Context(), executor.ContextOptions{Env: map[string]string{"A": strings.Repeat(long, 1<<10)}}); !errors.As(err, &invalid) {
		t.Errorf("a context's environment: %v", err)
	}
	c.Close()
	found, err := dial(t, socket).Found(t.Context())
	if err != nil || len(found) != 1 || found[0].Spec.Env != nil {
		t.Errorf("%d sessions were found, with an environment of %d variables: %v", len(found), len(found[0].Spec.Env), err)
	}
}

// A module for which one session has no room is in others.
func TestModulesOfOthers(t *testing.T) {
	c := dial(t, start(t, warden.Options{}))
	large := []string{ // far more than there is room for: how much that is depends on whom the kernel charges
		"asyncio", "multiprocessing.managers", "unittest.mock", "xmlrpc.server", "pydoc", "email.mime.text", "http.server", "sqlite3",
		"ctypes", "decimal", "xml.dom.minidom", "logging.config", "doctest", "pdb", "imaplib", "smtplib", "tarfile", "zipfile",
		"statistics", "ipaddress", "typing", "dataclasses", "csv", "configparser",
	}
	small := session(t, c, warden.Spec{Preload: large, Limits: executor.Limits{MaxMemoryMB: executor.MinMemoryMB}})
	if slices.Equal(small.Preload(), large) {
		t.Fatalf("a session of %d MB has room for %v: this test sees nothing", executor.MinMemoryMB, large)
	}
	if other := session(t, c, warden.Spec{Preload: append(large, "no_such_module")}); !slices.Equal(other.Preload(), large) {
		t.Errorf("another session has %v", other.Preload())
	}
}
