package api

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asUser runs the test binary as another user, who asks the socket once.
const asUser = "CELLBLOCK_TEST_ASK"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asUser); socket != "" {
		askOnce(socket)
		return
	}
	os.Exit(m.Run())
}

func askOnce(socket string) {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err := c.Get("http://cellblock/v1/stats")
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return
	}
	defer r.Body.Close()
	var s struct {
		Stats
		Kind Kind `json:"kind"`
	}
	_ = json.NewDecoder(r.Body).Decode(&s)
	os.Stdout.WriteString(r.Status + " " + s.Owner + string(s.Kind))
}

func (c *client) asks(uid, gid uint32, groups ...uint32) string {
	c.t.Helper()
	// The test binary may lie where others cannot reach it.
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		c.t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ask")
	if err != nil {
		c.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	program := filepath.Join(dir, "ask")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{asUser + "=" + c.socket}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// The kernel says who calls: root and members of the group may, each as an
// owner of its own; anybody else may not, whatever the socket's mode lets in.
func TestPeers(t *testing.T) {
	const group = 54321
	c := serve(t, Settings{Groups: []int{group}})
	os.Chmod(filepath.Dir(c.socket), 0o755)
	os.Chmod(c.socket, 0o666)
	for _, row := range []struct {
		uid, gid uint32
		groups   []uint32
		want     string
	}{
		{0, 0, nil, "200 OK uid:0"},
		{65534, 65534, nil, "403 Forbidden forbidden"},
		{65534, 65534, []uint32{1, group}, "200 OK uid:65534"},
		{65533, group, nil, "200 OK uid:65533"},
	} {
		if got := c.asks(row.uid, row.gid, row.groups...); got != row.want {
			t.Errorf("uid %d, gid %d, groups %v: %q", row.uid, row.gid, row.groups, got)
		}
	}
	os.Chmod(c.socket, 0o600)
	if got := c.asks(65534, 65534); !strings.Contains(got, "permission denied") {
		t.Errorf("a closed socket: %q", got)
	}
}

// tcp serves on loopback as well, and returns how a token's client asks.
func (c *client) tcp(tokens ...string) (address string, as func(secret string) *client) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.server.settings.Hosts = []string{l.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(l) }()
	c.t.Cleanup(func() { l.Close(); <-served })
	return l.Addr().String(), func(secret string) *client {
		one := *c
		one.http = &http.Client{Transport: bearer{secret, l.Addr().String()}}
		return &one
	}
}

// bearer sends every request to one address, with a token.
type bearer struct{ secret, address string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = b.address
	if r.Host == "cellblock" {
		r.Host = b.address
	}
	if b.secret != "" {
		r.Header.Set("Authorization", "Bearer "+b.secret)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func tokens(t *testing.T, names ...string) (*Tokens, []string) {
	t.Helper()
	text, secrets := "# who may call\n\n", []string{}
	for _, name := range names {
		secret, line := NewToken(name)
		text += line + "\n"
		secrets = append(secrets, secret)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return loaded, secrets
}

// Over TCP nothing answers without a token, and each token is an owner that
// sees its own sessions only.
func TestTokens(t *testing.T) {
	loaded, secrets := tokens(t, "a", "b")
	c := serve(t, Settings{Tokens: loaded})
	_, as := c.tcp()
	for _, path := range []string{"/v1/sessions", "/healthz", "/metrics", "/openapi.json", "/nothing"} {
		for _, secret := range []string{"", "wrong", secrets[0] + "x"} {
			if r := as(secret).ask("GET", path, nil).want(401); r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %v", path, r.header)
			}
		}
	}
	a, b := as(secrets[0]), as(secrets[1])
	path := a.session(NewSession{ID: "s"})
	b.ask("GET", path, nil).problem(KindNotFound)
	b.ask("POST", path+"/execute", Execution{Code: "1"}).problem(KindNotFound)
	b.ask("POST", path+"/interrupt", nil).problem(KindNotFound)
	b.ask("GET", path+"/files/x", nil).problem(KindNotFound)
	b.ask("DELETE", path, nil).want(204)
	if list := decode[SessionList](b.ask("GET", "/v1/sessions", nil)); len(list.Sessions) != 0 {
		t.Errorf("%+v", list)
	}
	b.session(NewSession{ID: "s"}) // ids are each owner's own
	a.run(path, "x = 'of a'")
	if r := b.run(path, "print('x' in dir())"); r.Output != "False\n" {
		t.Errorf("%q", r.Output)
	}
	if r := a.run(path, "print(x)"); r.Output != "of a\n" {
		t.Errorf("%q", r.Output)
	}
}

// A page in somebody's browser can do nothing, not even with the token.
func TestBrowsers(t *testing.T) {
	loaded, secrets := tokens(t, "a")
	c := serve(t, Settings{Tokens: loaded})
	address, as := c.tcp()
	a := as(secrets[0])
	for _, row := range []struct {
		headers []string
		status  int
	}{
		{nil, 200},
		{[]string{"Host", "evil.example"}, 403},
		{[]string{"Host", "evil.example:80", "Origin", "http://evil.example:80"}, 403},
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://" + address}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		r := a.ask("GET", "/v1/stats", nil, row.headers...).want(row.status)
		if row.status == 403 {
			r.problem(KindForbidden)
		}
		if h := r.header.Get("Access-Control-Allow-Origin"); h != "" {
			t.Errorf("%v: %q", row.headers, h)
		}
	}
	a.ask("POST", "/v1/execute", strings.NewReader(`{"code":"1"}`), "Content-Type", "text/plain").want(415)
	a.ask("OPTIONS", "/v1/execute", nil, "Origin", "http://evil.example").problem(KindForbidden)
}

func TestTokenFiles(t *testing.T) {
	_, line := NewToken("a")
	for _, row := range []struct {
		text string
		mode os.FileMode
	}{
		{"a", 0o600}, {"a sha256:00", 0o600}, {"a md5:00", 0o600}, {"a b " + line, 0o600}, {line, 0o666}, {line, 0o620},
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(row.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, row.mode)
		if _, err := LoadTokens(path); err == nil {
			t.Errorf("%q with mode %o was taken", row.text, row.mode)
		}
	}
}
