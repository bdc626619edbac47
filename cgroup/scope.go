package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"

	"github.com/cellblock/cellblock/internal/sys"
)

// Where systemd runs, a group belongs to it, unless it has handed the group
// over: below others nobody but systemd may make groups
// (https://systemd.io/CGROUP_DELEGATION). A login shell is in such a group. A
// scope is a unit around a process that was started by somebody else, and a
// delegated one is a group of that process's own.

// NeedsScope says that groups should be made below a scope, because this
// process's own group is systemd's, or not to be written to, or shared with
// processes that keep it from handing controllers down. It is false on v1,
// where systemd does not mind, and where systemd does not run.
func (h *Host) NeedsScope() bool {
	t := h.of[memory]
	if t == nil || t.cannot != nil || t.layout != V2 || !systemdRuns() {
		return false
	}
	dir := t.ownBase()
	if !t.delegated(dir) || syscall.Access(dir, writeAndEnter) != nil {
		return true
	}
	want, _, err := handedDown(t, dir)
	if err != nil || len(want) == 0 || t.isRoot(dir) {
		return false
	}
	others, err := othersIn(dir)
	return err == nil && others > 0
}

// systemdRuns is sd_booted(3).
func systemdRuns() bool {
	var st syscall.Stat_t
	return syscall.Lstat("/run/systemd/system", &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR
}

// delegated says whether the unit that a group is or belongs to was handed
// over. systemd marks such a unit's group with an attribute; what is below it
// has no name of a unit.
func (t *tree) delegated(dir string) bool {
	for ; strings.HasPrefix(dir, t.mount.point); dir = path.Dir(dir) {
		var value [8]byte
		n, err := syscall.Getxattr(dir, "user.delegate", value[:])
		if err == nil && string(value[:n]) == "1" {
			return true
		}
		if isUnit(dir) {
			return false
		}
	}
	return false
}

// isUnit says that a group is a unit's, by its name: cellblock-warden.service
// begins as the group of a cell does.
func isUnit(dir string) bool {
	switch path.Ext(dir) {
	case ".service", ".scope", ".slice":
		return true
	}
	return false
}

// TakeScope asks systemd for a scope with this process in it: root its system
// manager, any other user their own. When it returns without an error, the
// process is alone in the group of the scope, may make groups there, and needs
// a new Host. The scope ends with the last process in it.
func TakeScope(ctx context.Context) error {
	var errs []error
	for _, m := range managers(os.Geteuid()) {
		err := m.startScope(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.address, err))
	}
	return fmt.Errorf("cannot get a scope from systemd: %w", errors.Join(errs...))
}

// A manager is a way to one of systemd's managers.
type manager struct {
	address string
	bus     bool // a broker is in between, which wants a greeting and to be told what to pass on
}

// managers lists the ways, as systemd-run takes them: directly first, which
// needs no D-Bus broker (a user may have none).
func managers(uid int) []manager {
	if uid == 0 {
		return []manager{{"unix:path=/run/systemd/private", false}, {"unix:path=/run/dbus/system_bus_socket", true}}
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" { // a shell that was not started by a login, as by su
		dir = "/run/user/" + strconv.Itoa(uid)
	}
	dir = dbus.EscapeBusAddressValue(dir)
	return []manager{{"unix:path=" + dir + "/systemd/private", false}, {"unix:path=" + dir + "/bus", true}}
}

const (
	managerName   = "org.freedesktop.systemd1"
	managerObject = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerIface  = managerName + ".Manager"
)

// property and auxiliary are what StartTransientUnit takes (org.freedesktop.systemd1(5)).
type property struct {
	Name  string
	Value dbus.Variant
}

type auxiliary struct {
	Name       string
	Properties []property
}

func (m manager) startScope(ctx context.Context) error {
	conn, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Before the call, or the end of its job could pass unseen.
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	pid := os.Getpid()
	name := fmt.Sprintf("run-cellblock-%d-%08x.scope", pid, rand.Uint32())
	var job dbus.ObjectPath
	err = conn.Object(managerName, managerObject).CallWithContext(ctx, managerIface+".StartTransientUnit", 0,
		name, "fail", []property{
			{"Description", dbus.MakeVariant("Cells of process " + strconv.Itoa(pid))},
			{"Delegate", dbus.MakeVariant(true)},
			{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
			{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		}, []auxiliary{}).Store(&job)
	if err != nil {
		return err
	}
	if err := awaitJob(ctx, signals, job); err != nil {
		return err
	}
	own, err := sys.ReadControl("/proc/self/cgroup")
	if err != nil {
		return err
	}
	if path.Base(parseOwn(own)[""]) != name {
		return fmt.Errorf("this process is not in %s, but in %q", name, parseOwn(own)[""])
	}
	return nil
}

func (m manager) dial(ctx context.Context) (_ *dbus.Conn, err error) {
	conn, err := dbus.Dial(m.address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return nil, err
	}
	if !m.bus {
		return conn, nil
	}
	if err := conn.Hello(); err != nil {
		return nil, err
	}
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerIface), dbus.WithMatchMember("JobRemoved")); err != nil {
		return nil, err
	}
	return conn, conn.Object(managerName, managerObject).CallWithContext(ctx, managerIface+".Subscribe", 0).Err
}

// awaitJob waits until systemd has done what was asked for.
func awaitJob(ctx context.Context, signals <-chan *dbus.Signal, job dbus.ObjectPath) error {
	for {
		select {
		case s, open := <-signals:
			if !open {
				return errors.New("systemd closed the connection")
			}
			if s.Name != managerIface+".JobRemoved" || len(s.Body) < 4 || s.Body[1] != job {
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("the job ended as %v", s.Body[3])
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
