package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// DefaultPath is read when there is one and none is named.
const DefaultPath = "/etc/cellblock/cellblock.toml"

// EnvPrefix begins the variable of a key: memory is CELLBLOCK_SERVE_MEMORY.
const EnvPrefix = "CELLBLOCK_SERVE_"

// Key is one thing that can be configured, under one name for the file (as it
// is), the flag (--tls-cert) and the environment (CELLBLOCK_SERVE_TLS_CERT).
type Key struct {
	Name  string
	Value pflag.Value
	Help  string
}

func (k Key) Flag() string     { return strings.ReplaceAll(k.Name, "_", "-") }
func (k Key) Variable() string { return EnvPrefix + strings.ToUpper(k.Name) }

// AddTo makes a flag of each key.
func AddTo(fs *pflag.FlagSet, keys []Key) {
	for _, k := range keys {
		f := fs.VarPF(k.Value, k.Flag(), "", k.Help)
		if _, ok := k.Value.(boolValue); ok {
			f.NoOptDefVal, f.DefValue = "true", "" // its help says the default
		}
	}
}

// Settle gives each key that no flag set the value of the environment, or else
// of the file. environ is what os.Environ gives.
func Settle(keys []Key, flags *pflag.FlagSet, path string, environ []string) error {
	file, err := readFile(path, keys)
	if err != nil {
		return err
	}
	env, err := variables(environ, keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if f := flags.Lookup(k.Flag()); f != nil && f.Changed {
			continue
		}
		values, where := file[k.Name], path+": "+k.Name
		if text, ok := env[k.Variable()]; ok {
			values, where = []string{text}, k.Variable()
		}
		for _, v := range values {
			if err := k.Value.Set(v); err != nil {
				return Usagef("%s: %q: %v", where, v, err)
			}
		}
	}
	return nil
}

// Looked says what Settle looks at, as a part of a sentence.
func Looked(path string, environ []string) string {
	var names []string
	for _, v := range environ {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, EnvPrefix) && name != EnvPrefix+"CONFIG" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	where := "no variable " + EnvPrefix + "…"
	if len(names) > 0 {
		where = strings.Join(names, ", ") + " in the environment"
	}
	if path == "" {
		if _, err := os.Stat(DefaultPath); errors.Is(err, fs.ErrNotExist) {
			return where + ", and no file: none was named, and there is none at " + DefaultPath
		}
		path = DefaultPath
	}
	return path + ", and " + where
}

// variables are those of the environment that begin as keys' do. One of no key is
// an error, as in a file.
func variables(environ []string, keys []Key) (map[string]string, error) {
	known := map[string]bool{EnvPrefix + "CONFIG": true}
	for _, k := range keys {
		known[k.Variable()] = true
	}
	values := map[string]string{}
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		if !known[name] {
			return nil, Usagef("the environment has %s, and there is no such key (see: cellblock config keys)", name)
		}
		values[name] = text
	}
	return values, nil
}

// readFile reads a configuration. A key that does not exist is an error, so
// that no limit is left out by a slip of the pen.
func readFile(path string, keys []Key) (map[string][]string, error) {
	must := path != ""
	if !must {
		path = DefaultPath
	}
	text, err := os.ReadFile(path)
	if !must && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Usagef("cannot read the configuration: %v", err)
	}
	var table map[string]any
	if _, err := toml.Decode(string(text), &table); err != nil {
		return nil, Usagef("%s: %v", path, err)
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k.Name] = true
	}
	values, unknown := map[string][]string{}, []string{}
	for name, v := range table {
		if !known[name] {
			unknown = append(unknown, name)
			continue
		}
		if values[name], err = texts(v); err != nil {
			return nil, Usagef("%s: %s: %v", path, name, err)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, Usagef("%s: there is no such key: %s (see: cellblock config keys)", path, strings.Join(unknown, ", "))
	}
	return values, nil
}

// texts is a value of the file as flags would have it.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case int64, float64, bool:
		return []string{fmt.Sprint(v)}, nil
	case []any:
		var list []string
		for _, e := range v {
			one, err := texts(e)
			if err != nil || len(one) != 1 {
				return nil, errors.New("a list holds strings")
			}
			list = append(list, one[0])
		}
		return list, nil
	}
	return nil, errors.New("it must be a string, a number, true, false, or a list of strings")
}
