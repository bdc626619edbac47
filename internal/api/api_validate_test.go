package api

import (
	"context"
	"testing"
)

func TestValidate(t *testing.T) {
	c := serve(t, Settings{})
	c.ask("GET", "/readyz", nil).problem(KindUnavailable)
	if err := c.server.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.ask("GET", "/readyz", nil).want(200)
	if v := decode[Validation](c.ask("POST", "/v1/validate", Source{"x = 1"}).want(200)); !v.Valid || v.Issues == nil {
		t.Errorf("%+v", v)
	}
	v := decode[Validation](c.ask("POST", "/v1/validate", Source{"import socket"}).want(200))
	if v.Valid || len(v.Issues) != 1 || v.Issues[0].Message != "Blocked import detected: socket" || v.Issues[0].Line != 1 {
		t.Errorf("%+v", v)
	}
}
