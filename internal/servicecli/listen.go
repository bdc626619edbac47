package servicecli

import (
	"crypto/tls"
	"errors"
	"fmt"
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
	l, err := config.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	if o.Group == "" {
		return l, nil
	}
	gid, err := groupID(o.Group)
	if err == nil {
		err = reachable(filepath.Dir(path), gid)
	}
	if err == nil {
		err = errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o660))
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot give the socket to group %q: %w", o.Group, err)
	}
	return l, nil
}

// reachable says whether members of a group get through a directory.
func reachable(dir string, gid int) error {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return err
	}
	if st.Mode&0o001 == 0 && (int(st.Gid) != gid || st.Mode&0o010 == 0) {
		return fmt.Errorf("its members cannot enter %s: chmod a+x %s, or name a socket elsewhere", dir, dir)
	}
	return nil
}

// checkListen says what is wrong with the addresses, without listening on one.
func (o *options) checkListen() error {
	for key, path := range map[string]string{"socket": o.Socket, "warden": o.Warden} {
		if len(path) > 107 {
			return config.Usagef("%s: %q is longer than the 107 bytes that the kernel takes", key, path)
		}
	}
	if o.Listen != "" && o.Tokens == "" {
		return config.Usagef("listen: TCP needs tokens: name their file with tokens")
	}
	for key, address := range map[string]string{"listen": o.Listen, "e2b": o.E2B} {
		if address == "" {
			continue
		}
		if _, err := o.checkTCP(key, address); err != nil {
			return err
		}
	}
	return nil
}

// checkTCP says how an address is served, nil for in clear. No token crosses a
// network in clear. key is what names the address.
func (o *options) checkTCP(key, address string) (*tls.Config, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, config.Usagef("%s: %v", key, err)
	}
	switch {
	case (o.TLSCert == "") != (o.TLSKey == ""):
		return nil, config.Usagef("tls_cert and tls_key go together")
	case o.TLSCert == "" && isLoopback(address):
		return nil, nil
	case o.TLSCert == "":
		return nil, config.Usagef("%s: %s is no loopback address, and tokens must not cross a network in clear: name tls_cert and tls_key", key, address)
	}
	pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, config.Usagef("tls: %v", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
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

// listenTCP listens on an address, and says by which names it may be called.
func (o *options) listenTCP(key, address string) (net.Listener, []string, error) {
	secure, err := o.checkTCP(key, address)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen: %w", err)
	}
	host, _, _ := net.SplitHostPort(address)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	names := []string{strings.ToLower(net.JoinHostPort(host, port))}
	if isLoopback(address) {
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
