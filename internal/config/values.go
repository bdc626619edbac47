package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"
)

// String is a text, kept in p.
func String(p *string) pflag.Value { return stringValue{p} }

// Bool is true or false, kept in p.
func Bool(p *bool) pflag.Value { return boolValue{p} }

// Size is a number of bytes, such as 512M, kept in p.
func Size(p *int64) pflag.Value { return sizeValue{p} }

// Duration is a time, such as 30s, kept in p.
func Duration(p *time.Duration) pflag.Value { return durationValue{p} }

// Count is a whole number above 0, kept in p.
func Count(p *int) pflag.Value { return countValue{p} }

// Number is a number above 0, kept in p.
func Number(p *float64) pflag.Value { return numberValue{p} }

// List is a list, with commas or given several times, kept in p.
func List(p *[]string) pflag.Value { return listValue{p} }

// Env is a variable, NAME=VALUE, given several times, kept in p.
func Env(p *map[string]string) pflag.Value { return envValue{p} }

type stringValue struct{ s *string }

func (v stringValue) Set(s string) error { *v.s = s; return nil }
func (v stringValue) Type() string       { return "TEXT" }
func (v stringValue) String() string {
	if v.s == nil {
		return ""
	}
	return *v.s
}

type boolValue struct{ b *bool }

func (v boolValue) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("it is neither true nor false")
	}
	*v.b = b
	return nil
}
func (v boolValue) Type() string { return "bool" }
func (v boolValue) String() string {
	if v.b == nil || !*v.b {
		return ""
	}
	return "true"
}

// IsBoolFlag tells pflag that the flag needs no value.
func (boolValue) IsBoolFlag() bool { return true }

type sizeValue struct{ n *int64 }

func (v sizeValue) Set(s string) error {
	n, err := units.RAMInBytes(strings.TrimSpace(s))
	if err != nil || n <= 0 || n > 1<<50 {
		return errors.New("it is no size: write a number with K, M or G, such as 512M")
	}
	*v.n = n
	return nil
}
func (v sizeValue) Type() string { return "SIZE" }
func (v sizeValue) String() string {
	if v.n == nil || *v.n == 0 {
		return ""
	}
	return strings.TrimSuffix(units.CustomSize("%.4g%s", float64(*v.n), 1024, []string{"", "K", "M", "G", "T", "P"}), "B")
}

type durationValue struct{ d *time.Duration }

func (v durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		seconds, nerr := strconv.ParseFloat(s, 64)
		if nerr != nil || !(seconds < 1e9) {
			return errors.New("it is no time: write a number with ms, s, m or h, such as 30s")
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return errors.New("it must be more than 0")
	}
	*v.d = d
	return nil
}
func (v durationValue) Type() string { return "TIME" }
func (v durationValue) String() string {
	if v.d == nil || *v.d == 0 {
		return ""
	}
	return v.d.String()
}

type countValue struct{ n *int }

func (v countValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 || n > math.MaxInt32 {
		return errors.New("it must be a whole number above 0")
	}
	*v.n = n
	return nil
}
func (v countValue) Type() string { return "N" }
func (v countValue) String() string {
	if v.n == nil || *v.n == 0 {
		return ""
	}
	return strconv.Itoa(*v.n)
}

type numberValue struct{ n *float64 }

func (v numberValue) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0 && n < 1e6) {
		return errors.New("it must be a number above 0")
	}
	*v.n = n
	return nil
}
func (v numberValue) Type() string { return "N" }
func (v numberValue) String() string {
	if v.n == nil || *v.n == 0 {
		return ""
	}
	return strconv.FormatFloat(*v.n, 'g', -1, 64)
}

// listValue may be given several times, and takes several with commas.
type listValue struct{ list *[]string }

func (v listValue) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*v.list = append(*v.list, part)
		}
	}
	return nil
}
func (v listValue) Type() string { return "LIST" }
func (v listValue) String() string {
	if v.list == nil {
		return ""
	}
	return strings.Join(*v.list, ",")
}

type envValue struct{ env *map[string]string }

func (v envValue) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("write it as NAME=VALUE")
	}
	if *v.env == nil {
		*v.env = map[string]string{}
	}
	(*v.env)[name] = value
	return nil
}
func (v envValue) Type() string   { return "NAME=VALUE" }
func (v envValue) String() string { return "" }
