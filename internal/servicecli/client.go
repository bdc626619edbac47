package servicecli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/config"
)

// client asks a service.
type client struct {
	where string // for messages
	base  string
	token string
	http  *http.Client
}

// serviceFlags say which service a command asks.
type serviceFlags struct{ url string }

func (f *serviceFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.url, "url", "", "ask the service at `URL`: unix:///path/of.sock, http://host:port or https://host:port (default: CELLBLOCK_URL, or the socket CELLBLOCK_SOCKET, or this user's own service, or the machine's at "+systemSocket+"; CELLBLOCK_TOKEN goes with TCP)")
}

// connect finds the service that was named. One that is named and does not
// answer is an error, and never replaced.
func (f *serviceFlags) connect() (*client, error) {
	where := f.url
	if where == "" {
		where = os.Getenv("CELLBLOCK_URL")
	}
	if where == "" {
		socket := os.Getenv("CELLBLOCK_SOCKET")
		if socket == "" {
			socket = usualSocket()
		}
		where = "unix://" + socket
	}
	u, err := url.Parse(where)
	if err != nil {
		return nil, config.Usagef("%q is no address of a service: %v", where, err)
	}
	c := &client{where: where, token: os.Getenv("CELLBLOCK_TOKEN")}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		c.base = "http://cellblock"
		c.http = &http.Client{CheckRedirect: stay, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", u.Path)
		}}}
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.Trim(u.Path, "/") == "":
		c.base = u.Scheme + "://" + u.Host
		c.http = &http.Client{CheckRedirect: stay}
	default:
		return nil, config.Usagef("%q is no address of a service: write unix:///path/of.sock, http://host:port or https://host:port", where)
	}
	return c, nil
}

// systemSocket is where the machine's own service listens.
const systemSocket = "/run/cellblock/cellblock.sock"

// usualSocket is that of this user's own service, or else the machine's.
func usualSocket() string {
	own := config.DefaultSocket()
	if _, err := os.Stat(own); err != nil {
		return systemSocket
	}
	return own
}

// send sends a request and returns an answer that is no problem.
func (c *client) send(ctx context.Context, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unanswered(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 {
		return nil, fmt.Errorf("what answers at %s says that it is elsewhere (%s), which a service does not: is the address right?", c.where, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	p := &api.Problem{Status: resp.StatusCode, Detail: strings.TrimSpace(string(text))}
	_ = json.Unmarshal(text, p) // what is between here and the service may answer in other words
	if p.Kind == api.KindInvalid {
		return nil, &config.UsageError{Text: p.Detail}
	}
	if p.Kind == api.KindUnauthorized {
		p.Detail += " (this command takes it from CELLBLOCK_TOKEN)"
	}
	return nil, p
}

// unanswered explains why there is no answer, and what to do about that.
func (c *client) unanswered(err error) error {
	var op *net.OpError
	var link *url.Error
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &link) {
		err = link.Err // the address is named below
	}
	if errors.As(err, &op) {
		err = op
	}
	switch {
	case errors.As(err, &cert):
		return fmt.Errorf("the service at %s shows a certificate that this machine does not trust: %w: name the authority's with SSL_CERT_FILE", c.where, err)
	case errors.As(err, &record):
		return fmt.Errorf("what answers at %s speaks no TLS: %w: is it http://?", c.where, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not call the service at %s: %w: become a member of its group, as whom it lets in is named there (cellblock serve --group)", c.where, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("no service answers at %s: %w: start one with cellblock serve, or name another with --url or CELLBLOCK_URL", c.where, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("what listens at %s closed the connection without an answer: %w: is it https://, or did the service end?", c.where, err)
	}
	return fmt.Errorf("the service at %s could not be asked: %w", c.where, err)
}

// ask sends in (nil: nothing) and decodes the answer into out (nil: nothing).
func (c *client) ask(ctx context.Context, method, path string, in, out any, headers ...string) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, headers = bytes.NewReader(text), append(headers, "Content-Type", "application/json")
	}
	resp, err := c.send(ctx, method, path, body, headers...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the service at %s gave an answer that cannot be read: %w", c.where, err)
	}
	return nil
}

// stay follows nowhere: a token is for the service that was named, and a request that
// was sent on may have lost its body.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// segment is text as one part of a path, also where it is one that leads elsewhere.
func segment(text string) string {
	if text == "." || text == ".." {
		return strings.ReplaceAll(text, ".", "%2E")
	}
	return url.PathEscape(text)
}

// sessionPath is the path of a session's resource.
func sessionPath(id string, rest ...string) string {
	path := "/v1/sessions/" + segment(id)
	for _, part := range rest {
		path += "/" + part
	}
	return path
}
