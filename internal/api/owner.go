package api

import (
	"context"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/internal/sys"
)

// peer is who is at the other end of a Unix socket, by the kernel's word.
type peer struct {
	uid    int
	groups []int
	err    error
}

type peerKey struct{}

// withPeer asks the kernel, once for each connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn }) // a *tls.Conn, a *counted
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	var p peer
	raw, err := socket.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { p.uid, p.groups, err = sys.Peer(int(fd)) })
		if err == nil {
			err = cerr
		}
	}
	p.err = err
	return context.WithValue(ctx, peerKey{}, p)
}

// identify says whose request this is, or why it is nobody's.
func (s *Server) identify(r *http.Request) (name string, err error) {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		if p.err != nil {
			return "", p.err
		}
		if p.uid == 0 || p.uid == os.Geteuid() || slices.ContainsFunc(s.settings.Groups, func(g int) bool { return slices.Contains(p.groups, g) }) {
			return "uid:" + strconv.Itoa(p.uid), nil
		}
		return "", problem(KindForbidden, "uid %d may not use this service: it is for root and for members of its group", p.uid)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", problem(KindUnauthorized, "a token is needed: Authorization: Bearer …")
	}
	name, ok = s.settings.Tokens.find(token)
	if !ok {
		return "", problem(KindUnauthorized, "the token is not known")
	}
	if !s.allowedHost(r) {
		return "", problem(KindForbidden, "this service does not go by the name %q", shorten(r.Host))
	}
	return "token:" + name, nil
}
