package workspace

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 255  // NAME_MAX
	maxPath = 4095 // PATH_MAX without its zero byte

	// tempPrefix begins the name of a file that is being written on the host.
	tempPrefix = ".cellblock-partial-"
)

// PathError is a path that cannot name a file of a workspace.
type PathError struct {
	Path string
	Why  string
}

func (e *PathError) Error() string {
	return fmt.Sprintf("bad path %s: %s", Quote(shorten(e.Path)), e.Why)
}

// CheckPath checks a path that an API user gave for a file of a workspace and
// returns it without "." elements. It must be relative, at most 4095 bytes, each
// element 1 to 255 bytes, with no "..", no zero byte and no empty element.
// Percent-encoded and backslashed forms of ".." are refused too: a proxy or a
// client may decode them later.
func CheckPath(p string) (clean string, err error) {
	bad := func(why string) (string, error) { return "", &PathError{p, why} }
	switch {
	case p == "":
		return bad("it is empty")
	case strings.HasPrefix(p, "/"):
		return bad("it must be relative to the workspace")
	case len(p) > maxPath:
		return bad(fmt.Sprintf("longer than %d bytes", maxPath))
	}
	var keep []string
	for _, name := range strings.Split(p, "/") {
		if name == "." {
			continue
		}
		if why := badName(name); why != "" {
			return bad(why)
		}
		if why := hiddenStep(name); why != "" {
			return bad(why)
		}
		if strings.HasPrefix(name, tempPrefix) {
			return bad("names that begin with " + tempPrefix + " are reserved")
		}
		keep = append(keep, name)
	}
	if len(keep) == 0 {
		return bad("it names the workspace itself")
	}
	return strings.Join(keep, "/"), nil
}

// badName says why name cannot be an element of a path, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "it has an empty element"
	case name == "." || name == "..":
		return "it has a " + strconv.Quote(name) + " element"
	case len(name) > maxName:
		return fmt.Sprintf("an element is longer than %d bytes", maxName)
	case strings.IndexByte(name, 0) >= 0:
		return "it holds a zero byte"
	case strings.IndexByte(name, '/') >= 0:
		return "an element holds a slash"
	}
	return ""
}

// hiddenStep finds a "..", a slash or a zero byte that shows after decoding.
func hiddenStep(name string) string {
	for range 4 { // nobody decodes more often
		for _, part := range strings.Split(name, `\`) {
			if part == ".." {
				return `it has a ".." element in disguise`
			}
		}
		next, err := url.PathUnescape(name)
		if err != nil || next == name {
			return ""
		}
		if next == "." || next == ".." || strings.ContainsAny(next, "/\x00") {
			return "it hides a path step behind percent signs"
		}
		name = next
	}
	return "it is percent-encoded too often"
}

// checkRaw is the check for paths that the kernel listed: any bytes, but
// nothing that leads elsewhere.
func checkRaw(p string) error {
	if len(p) > maxPath {
		return &PathError{p, fmt.Sprintf("longer than %d bytes", maxPath)}
	}
	for rest, more := p, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if why := badName(name); why != "" {
			return &PathError{p, why}
		}
	}
	return nil
}

// isReserved says whether the last element of p is a name of ours.
func isReserved(p string) bool {
	_, name := split(p)
	return strings.HasPrefix(name, tempPrefix)
}

// split cuts p into the path of its directory ("" for the top) and its name.
func split(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// IsScript says whether path, relative to a workspace, is a file that holds the
// code of an execution: script*.py at the top level.
func IsScript(path string) bool {
	return strings.HasPrefix(path, "script") && strings.HasSuffix(path, ".py") && !strings.Contains(path, "/")
}

// Display is path as JSON can hold it: bytes that are not UTF-8 become U+FFFD.
// Two paths can have the same Display; the path itself is what opens a file.
func Display(path string) string { return strings.ToValidUTF8(path, "\uFFFD") }

// Quote is path for a terminal or a log: as it is where every character is
// printable, otherwise quoted, so that a name can hold no escape code.
func Quote(path string) string {
	plain := path != "" && utf8.ValidString(path)
	for _, r := range path {
		plain = plain && unicode.IsPrint(r) && r != '"' && r != '\\'
	}
	if plain && !strings.ContainsRune(path, ' ') {
		return path
	}
	return strconv.Quote(path)
}

// shorten keeps an error message within a line or two.
func shorten(p string) string {
	const most = 200
	if len(p) <= most {
		return p
	}
	return p[:most] + "…"
}
