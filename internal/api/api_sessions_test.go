package api

import "testing"

func TestSessions(t *testing.T) {
	c := serve(t, Settings{})
	info := decode[SessionInfo](c.ask("POST", "/v1/sessions", NewSession{ID: "b", Creation: Creation{Limits: Limits{Memory: 64 << 20, Timeout: 3}}}).want(201))
	if info.ID != "b" || info.State != StateIdle || info.Limits.MemoryBytes != 64<<20 || info.Limits.Timeout != 3 || info.Usage.Processes == 0 || info.Expires == nil {
		t.Errorf("%+v", info)
	}
	c.ask("POST", "/v1/sessions", NewSession{ID: "b"}).problem(KindBusy)
	c.ask("POST", "/v1/sessions", NewSession{ID: "../../x"}).problem(KindInvalid)
	c.session(NewSession{ID: "a"})
	list := decode[SessionList](c.ask("GET", "/v1/sessions", nil).want(200))
	if len(list.Sessions) != 2 || list.Sessions[0].ID != "a" || list.Sessions[1].ID != "b" {
		t.Errorf("%+v", list)
	}
}
