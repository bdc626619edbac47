package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// sizeValue is a flag that takes a size such as 512M.
type sizeValue struct {
	bytes *int64
	least int64
}

func (v sizeValue) Set(s string) error {
	n, err := units.RAMInBytes(strings.TrimSpace(s))
	if err != nil || n < 0 || n > 1<<50 {
		return fmt.Errorf("it is no size: write a number with K, M or G, such as 512M")
	}
	if n < v.least && n < 1024 && n*1024*1024 >= v.least {
		return fmt.Errorf("it is %s, and must be at least %s: write %dM for MiB", sizeText(n), sizeText(v.least), n)
	}
	if n < v.least {
		return fmt.Errorf("it is %s, and must be at least %s", sizeText(n), sizeText(v.least))
	}
	*v.bytes = n
	return nil
}

func (v sizeValue) String() string {
	if v.bytes == nil {
		return ""
	}
	return sizeText(*v.bytes)
}

func (sizeValue) Type() string { return "SIZE" }

// sizeText writes a size in the form in which flags take it.
func sizeText(n int64) string {
	for i, unit := range []string{"G", "M", "K"} {
		one := int64(1) << (30 - 10*i)
		if n >= one && n%one == 0 {
			return strconv.FormatInt(n/one, 10) + unit
		}
	}
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return units.BytesSize(float64(n))
}

// durationValue is a flag that takes a positive time such as 30s, 1m30s, or a
// number of seconds.
type durationValue struct{ d *time.Duration }

func (v durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		seconds, numErr := strconv.ParseFloat(s, 64)
		if numErr != nil || !(seconds < 1e9) { // also false for NaN
			return fmt.Errorf("it is no time: write a number with ms, s, m or h, such as 30s")
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d <= 0 {
		return fmt.Errorf("it must be more than 0")
	}
	*v.d = d
	return nil
}

func (v durationValue) String() string {
	if v.d == nil || *v.d == 0 {
		return ""
	}
	s := v.d.String() // 10m0s
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func (durationValue) Type() string { return "TIME" }

// listValue is a flag that may be repeated, and takes several names with
// commas between them.
type listValue struct{ list *[]string }

func (v listValue) Set(s string) error {
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*v.list = append(*v.list, name)
		}
	}
	return nil
}

func (v listValue) String() string {
	if v.list == nil {
		return ""
	}
	return strings.Join(*v.list, ",")
}

func (listValue) Type() string { return "NAMES" }

// envValue is a flag that takes K=V.
type envValue struct{ env *map[string]string }

func (v envValue) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("write it as NAME=VALUE: nothing is taken from the environment of cellblock")
	}
	if !isName(name) {
		return fmt.Errorf("%q is no name of an environment variable", name)
	}
	if *v.env == nil {
		*v.env = map[string]string{}
	}
	(*v.env)[name] = value
	return nil
}

func (envValue) String() string { return "" }
func (envValue) Type() string   { return "NAME=VALUE" }

// isName says whether s is a letter or underscore, followed by those and digits.
func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// numberValue is a flag that takes a number with a smallest value.
type numberValue struct {
	n     *float64
	least float64
	whole bool
}

func (v numberValue) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(n < 1e6) || v.whole && n != float64(int(n)):
		kind := "number"
		if v.whole {
			kind = "whole number"
		}
		return fmt.Errorf("it is no %s", kind)
	case n < v.least:
		return fmt.Errorf("it must be at least %g", v.least)
	}
	*v.n = n
	return nil
}

func (v numberValue) String() string {
	if v.n == nil {
		return ""
	}
	return strconv.FormatFloat(*v.n, 'g', -1, 64)
}

func (numberValue) Type() string { return "N" }
