package api

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// BenchmarkExecute is one warm statement over the Unix socket.
func BenchmarkExecute(b *testing.B) {
	c := serve(b, Settings{})
	path := c.session(NewSession{}) + "/execute"
	c.ask("POST", path, Execution{Code: "x=0"}).want(200)
	for b.Loop() {
		r, err := http.NewRequest("POST", "http://cellblock"+path, bytes.NewReader([]byte(`{"code":"x+=1"}`)))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := c.http.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
