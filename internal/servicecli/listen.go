package servicecli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/config"
)

// open makes the listeners, or takes those that systemd passed. hosts are the
// names by which TCP may be called.
func (o *options) open() (listeners []net.Listener, hosts []string, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	listeners, err = config.PassedSockets()
	if err != nil {
		return listeners, nil, err
	}
	if o.Socket == "" && len(listeners) == 0 {
		o.Socket = config.DefaultSocket()
	}
	if o.Socket != "" && o.Socket != "none" {
		l, err := o.listenUnix()
		if err != nil {
			return listeners, nil, err
		}
		listeners = append(listeners, l)
	}
	if o.Listen != "" {
		if o.Tokens == "" {
			return listeners, nil, config.Usagef("listen: TCP needs tokens: name their file with tokens")
		}
		l, names, err := o.listenTCP("listen", o.Listen)
		if err != nil {
			return listeners, nil, err
		}
		listeners, hosts = append(listeners, l), names
	}
	if len(listeners) == 0 && o.E2B == "" {
		return nil, nil, config.Usagef("there is nothing to listen on: socket is none, and listen names no address")
	}
	return listeners, hosts, nil
}

// listenUnix makes the socket. One that a dead service left is replaced; one
// that answers is in use.
func (o *options) listenUnix() (net.Listener, error) {
	path := o.Socket
	if len(path) > 107 {
		return nil, config.Usagef("socket: %q is longer than the 107 bytes that the kernel takes", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the socket's directory: %w", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("a service listens on %q already", path)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		st, err := os.Lstat(path)
		if err == nil && st.Mode().Type() == fs.ModeSocket {
			os.Remove(path)
		}
	}
	// Nobody else may connect before the group is set.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	if o.Group == "" {
		return l, nil
	}
	gid, err := groupID(o.Group)
	if err == nil {
		err = errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o660))
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot give the socket to group %q: %w", o.Group, err)
	}
	return l, nil
}

// checkE2B says whether E2B's SDK may be answered as it is asked for.
func (o *options) checkE2B() error {
	switch {
	case o.E2B == "" && o.E2BOpen:
		return config.Usagef("e2b_open: there is no address to be open: name it with e2b")
	case o.E2B == "":
		return nil
	case o.E2BOpen && o.Tokens != "":
		return config.Usagef("e2b_open: there are tokens, which are its API keys: leave one of the two out")
	case o.Tokens == "" && !o.E2BOpen:
		return config.Usagef("e2b: its API keys are tokens: name their file with tokens, or let everybody on this machine in with e2b_open")
	case o.E2BOpen && !isLoopback(o.E2B):
		return config.Usagef("e2b_open: %s is no loopback address", o.E2B)
	}
	return nil
}

// openE2B makes the listener for E2B's SDK; nil where none is asked for.
func (o *options) openE2B() (net.Listener, []string, error) {
	if o.E2B == "" {
		return nil, nil, nil
	}
	return o.listenTCP("e2b", o.E2B)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// listenTCP never lets a token cross a network in clear. key is what names the
// address.
func (o *options) listenTCP(key, address string) (net.Listener, []string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, config.Usagef("%s: %v", key, err)
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return nil, nil, config.Usagef("tls_cert and tls_key go together")
	}
	loopback := isLoopback(address)
	if o.TLSCert == "" && !loopback {
		return nil, nil, config.Usagef("%s: %s is no loopback address, and tokens must not cross a network in clear: name tls_cert and tls_key", key, address)
	}
	var secure *tls.Config
	if o.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
		if err != nil {
			return nil, nil, config.Usagef("tls: %v", err)
		}
		secure = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen: %w", err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	names := []string{strings.ToLower(net.JoinHostPort(host, port))}
	if loopback {
		for _, h := range []string{"localhost", "127.0.0.1", "::1"} {
			names = append(names, net.JoinHostPort(h, port))
		}
	}
	for _, h := range o.Hosts {
		names = append(names, strings.ToLower(net.JoinHostPort(h, port)))
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	return l, names, nil
}
