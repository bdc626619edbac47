package service

import (
	"strings"
	"syscall"
	"testing"
)

// A service that is told to look at the host again gives new sessions another
// template, and those that live keep theirs.
func TestRenew(t *testing.T) {
	s := start(t, "--memory", "128M")
	s.want(201, "", "POST", "/v1/sessions", `{"id":"old"}`)
	s.want(200, "", "POST", "/v1/sessions/old/execute", code("x = 1"))
	before := s.identities()
	if len(before) == 0 {
		t.Fatal("a service with a session has no groups")
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.await(func() bool { return strings.Contains(s.log.String(), "renewed") })
	s.want(201, "", "POST", "/v1/sessions", `{"id":"new"}`)
	if _, text := s.ask("POST", "/v1/sessions/new/execute", code("print('x' in globals())")); !strings.Contains(text, `"False\n"`) {
		t.Errorf("the new session says %s", text)
	}
	if _, text := s.ask("POST", "/v1/sessions/old/execute", code("print(x)")); !strings.Contains(text, `"1\n"`) {
		t.Errorf("the session from before says %s", text)
	}
	s.want(204, "", "DELETE", "/v1/sessions/old", nil)
	// With it goes all that was there before: template, pool, parser.
	s.await(func() bool {
		for path, inode := range s.identities() {
			if before[path] == inode {
				return false
			}
		}
		return true
	})
}

// identities of the groups: a path can be used again.
func (s *service) identities() map[string]uint64 {
	all := map[string]uint64{}
	for _, g := range s.groups() {
		var st syscall.Stat_t
		if syscall.Stat(g, &st) == nil {
			all[g] = st.Ino
		}
	}
	return all
}
