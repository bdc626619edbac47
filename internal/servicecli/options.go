package servicecli

import (
	"context"
	"fmt"
	"log/slog"
	"os/user"
	"strconv"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/config"
	"github.com/cellblock/cellblock/internal/warden"
)

// options are what a service is started with.
type options struct{ config.Options }

func newOptions() options { return options{config.New()} }

// settings checks the options, and makes of them what package api takes.
func (o *options) settings(log *slog.Logger) (api.Settings, error) {
	if err := o.checkE2B(); err != nil {
		return api.Settings{}, err
	}
	cfg, err := o.Executor()
	if err != nil {
		return api.Settings{}, err
	}
	if err := cfg.Check(); err != nil {
		return api.Settings{}, config.Usagef("%v", err)
	}
	s := api.Settings{
		Defaults: cfg.SessionLimits(),
		Version:  version, Log: log, Hosts: o.Hosts,
		Quota:    api.Quota{Sessions: o.QuotaSessions, MemoryBytes: o.QuotaMemory, Executions: o.QuotaExecs},
		Sessions: o.Sessions, MemoryBytes: o.TotalMemory, Starting: o.Starting, StartWait: o.StartWait, Queue: o.Queue,
		Idle: o.Idle, MaxTimeout: o.MaxTimeout, MaxBody: o.MaxBody, KeepAlive: o.KeepAlive, Spool: o.Spool, SpoolBytes: o.SpoolSize, Connections: o.Connections,
	}
	if o.Group != "" {
		gid, err := groupID(o.Group)
		if err != nil {
			return api.Settings{}, err
		}
		s.Groups = []int{gid}
	}
	if o.Tokens != "" {
		if s.Tokens, err = api.LoadTokens(o.Tokens); err != nil {
			return api.Settings{}, config.Usagef("%v", err)
		}
	}
	return s, o.checkListen()
}

// engine is what keeps the sessions: this process, or a warden.
func (o *options) engine(ctx context.Context) (warden.Engine, error) {
	if o.Warden != "" {
		return warden.Dial(ctx, o.Warden)
	}
	cfg, err := o.Executor()
	if err != nil {
		return nil, err
	}
	return warden.NewLocal(warden.Options{Executor: cfg})
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if n, nerr := strconv.Atoi(name); nerr == nil {
			return n, nil
		}
		return 0, config.Usagef("group %q cannot be found: %v: make it with groupadd, or name another", name, err)
	}
	n, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("group %q has the id %q: %w", name, g.Gid, err)
	}
	return n, nil
}
