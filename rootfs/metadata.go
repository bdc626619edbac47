package rootfs

import (
	"encoding/csv"
	"errors"
	"io"
	"path"
	"strings"
)

// A requirement is one Requires-Dist without its version.
type requirement struct {
	name        string // normalised
	conditional bool   // a marker other than extra stands on it
}

// metadata is what a METADATA or PKG-INFO file tells.
type metadata struct {
	name, version string
	requires      []requirement
}

// parseMetadata reads the header block of a METADATA file. Requirements of
// extras are left out; other markers are kept as "conditional", because a
// requirement that is installed does no harm when it is not needed.
func parseMetadata(data []byte) metadata {
	var m metadata
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break // the description begins
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue // a folded line
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "name":
			m.name = value
		case "version":
			m.version = value
		case "requires-dist":
			if r, ok := parseRequirement(value); ok {
				m.requires = append(m.requires, r)
			}
		}
	}
	return m
}

var requirementName = lazily(`^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)`)

// parseRequirement takes the name out of a PEP 508 requirement; ok is false
// for one that belongs to an extra.
func parseRequirement(s string) (r requirement, ok bool) {
	m := requirementName().FindStringSubmatch(s)
	if m == nil {
		return r, false
	}
	_, marker, has := strings.Cut(s, ";")
	if strings.Contains(marker, "extra") {
		return r, false
	}
	return requirement{name: normalName(m[1]), conditional: has}, true
}

// parseRequiresTxt reads the requires.txt of an egg-info. Debian empties the
// sections it has turned into package dependencies: then the file is empty or
// holds a section [:marker] with nothing below, neither of which setuptools
// writes, and stripped is true.
func parseRequiresTxt(data []byte) (reqs []requirement, stripped bool) {
	stripped = len(strings.TrimSpace(string(data))) == 0
	extra, conditional, open := false, false, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if section, ok := strings.CutPrefix(line, "["); ok {
			stripped = stripped || open
			section = strings.TrimSuffix(section, "]")
			name, _, marked := strings.Cut(section, ":")
			extra, conditional = name != "", marked
			open = !extra
			continue
		}
		open = false
		if extra {
			continue
		}
		if r, ok := parseRequirement(line); ok {
			r.conditional = r.conditional || conditional
			reqs = append(reqs, r)
		}
	}
	return reqs, stripped || open
}

// parseRecord returns the paths a RECORD lists that lie below its own
// site-packages: scripts and data elsewhere are not carried.
func parseRecord(data []byte) ([]string, error) {
	r := csv.NewReader(strings.NewReader(string(data)))
	r.FieldsPerRecord = -1
	r.LazyQuotes = true
	var paths []string
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return paths, nil
		}
		if err != nil {
			return paths, err
		}
		p := path.Clean(rec[0])
		if rec[0] == "" || p == "." || p == ".." || path.IsAbs(p) || strings.HasPrefix(p, "../") {
			continue
		}
		paths = append(paths, p)
	}
}

var nameSeparators = lazily(`[-_.]+`)

// normalName is PEP 503's form of a distribution's name.
func normalName(s string) string {
	return strings.ToLower(nameSeparators().ReplaceAllString(s, "-"))
}
