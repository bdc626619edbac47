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

	"github.com/cellblock/cellblock/nsjail"
)

// defaultSocket is where a service listens that was told nothing, and where
// clients look for it.
func defaultSocket() string { return filepath.Join(nsjail.RuntimeDir(), "cellblock.sock") }

// open makes the listeners, or takes those that systemd passed. hosts are the
// names by which TCP may be called.
func (o *options) open() (listeners []net.Listener, hosts []string, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	listeners, err = passedSockets()
	if err != nil {
		return listeners, nil, err
	}
	if o.socket == "" && len(listeners) == 0 {
		o.socket = defaultSocket()
	}
	if o.socket != "" && o.socket != "none" {
		l, err := o.listenUnix()
		if err != nil {
			return listeners, nil, err
		}
		listeners = append(listeners, l)
	}
	if o.listen != "" {
		l, names, err := o.listenTCP()
		if err != nil {
			return listeners, nil, err
		}
		listeners, hosts = append(listeners, l), names
	}
	if len(listeners) == 0 {
		return nil, nil, usagef("there is nothing to listen on: socket is none, and listen names no address")
	}
	return listeners, hosts, nil
}

// listenUnix makes the socket. One that a dead service left is replaced; one
// that answers is in use.
func (o *options) listenUnix() (net.Listener, error) {
	path := o.socket
	if len(path) > 107 {
		return nil, usagef("socket: %q is longer than the 107 bytes that the kernel takes", path)
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
	if o.group == "" {
		return l, nil
	}
	gid, err := groupID(o.group)
	if err == nil {
		err = errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o660))
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot give the socket to group %q: %w", o.group, err)
	}
	return l, nil
}

// listenTCP never lets a token cross a network in clear.
func (o *options) listenTCP() (net.Listener, []string, error) {
	if o.tokens == "" {
		return nil, nil, usagef("listen: TCP needs tokens: name their file with tokens")
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, nil, usagef("listen: %v", err)
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return nil, nil, usagef("tls_cert and tls_key go together")
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if o.tlsCert == "" && !loopback {
		return nil, nil, usagef("listen: %s is no loopback address, and tokens must not cross a network in clear: name tls_cert and tls_key", o.listen)
	}
	var config *tls.Config
	if o.tlsCert != "" {
		pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
		if err != nil {
			return nil, nil, usagef("tls: %v", err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	l, err := net.Listen("tcp", o.listen)
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
	for _, h := range o.hosts {
		names = append(names, strings.ToLower(net.JoinHostPort(h, port)))
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, names, nil
}
