// Package config is what a service, and a warden, are configured by: one list of
// keys, for a TOML file, flags and the environment; and what systemd hands to them.
//
//	o := config.New()
//	keys := o.Keys()
//	config.AddTo(flags, keys)
//	err := config.Settle(keys, flags, path, os.Environ())
//	cfg, err := o.Executor()
//
// It decides nothing about who may call, and knows no HTTP.
package config
