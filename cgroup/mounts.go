package cgroup

import (
	"path"
	"slices"
	"strings"
)

// A mount is one line of /proc/self/mountinfo that shows a cgroup hierarchy.
type mount struct {
	id, parent string
	root       string // the group that the mount point shows, as seen from the cgroup namespace
	point      string
	v2         bool
	readOnly   bool
	options    []string // of the file system: on v1 these name the controllers
}

// parseMounts returns the cgroup mounts of a mountinfo text, without those
// that lie under another mount. Lines it does not understand are not cgroups.
// Format: Documentation/filesystems/proc.rst, section 3.5.
func parseMounts(text string) []mount {
	var found []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		if !ok {
			continue
		}
		f, tail := strings.Fields(before), strings.Fields(after)
		if len(f) < 6 || len(tail) < 1 {
			continue
		}
		// A mount on the root of another one has the same point and hides it.
		found = slices.DeleteFunc(found, func(m mount) bool { return m.id == f[1] && m.point == unescape(f[4]) })
		if tail[0] != "cgroup" && tail[0] != "cgroup2" || len(tail) < 3 || !strings.HasPrefix(f[4], "/") {
			continue
		}
		options := strings.Split(tail[2], ",")
		found = append(found, mount{
			id:       f[0],
			parent:   f[1],
			root:     unescape(f[3]),
			point:    unescape(f[4]),
			v2:       tail[0] == "cgroup2",
			readOnly: slices.Contains(strings.Split(f[5], ","), "ro") || slices.Contains(options, "ro"),
			options:  options,
		})
	}
	return found
}

// unescape undoes the kernel's \ooo for blank, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// parseOwn reads /proc/self/cgroup into controller → own group; the group in
// the v2 tree has the name "".
func parseOwn(text string) map[string]string {
	own := make(map[string]string)
	for line := range strings.Lines(text) {
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		names, group, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(group, "/") {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			own[name] = group
		}
	}
	return own
}

// below returns the directory of a group under a mount. The group and the root
// of the mount are both named as seen from the cgroup namespace, so what the
// mount shows of the group is what remains after its root. It fails when the
// mount does not show the group, or shows it from above the namespace, where
// its name is not known.
func (m mount) below(group string) (dir string, ok bool) {
	rest, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	if slices.Contains(strings.Split(rest, "/"), "..") {
		return "", false
	}
	return path.Join(m.point, rest), true
}

// choose takes, of the mounts that show the group, one that can be written to
// if there is one.
func choose(mounts []mount, group string) (chosen mount, dir string, ok bool) {
	for _, m := range mounts {
		d, shows := m.below(group)
		if !shows || ok && (m.readOnly || !chosen.readOnly) {
			continue
		}
		chosen, dir, ok = m, d, true
	}
	return chosen, dir, ok
}
