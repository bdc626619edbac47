package e2b

import (
	"path"
	"strings"
)

// home is what the SDK takes for the place of a user's files, and here is a name
// of the workspace.
const home = "/home/user"

// roots are the names of the workspace; a relative path begins there as well.
var roots = []string{home, "/workspace", "~"}

// inside is a path as the workspace has it; "" is the workspace itself. What is
// elsewhere is refused: nothing else of a cell is read or written from here. The
// names in it are checked by package workspace, ".." among them.
func inside(p string) (string, error) {
	if strings.ContainsRune(p, 0) {
		return "", invalid("the path holds a zero byte")
	}
	rest, absolute := p, strings.HasPrefix(p, "/") || p == "~" || strings.HasPrefix(p, "~/")
	if absolute {
		found := false
		for _, root := range roots {
			if below, ok := strings.CutPrefix(p, root); ok && (below == "" || below[0] == '/') {
				rest, found = below, true
				break
			}
		}
		if !found {
			return "", invalid("%q is outside of %s, which is all that can be reached from here", shorten(p), home)
		}
	}
	var keep []string
	for _, name := range strings.Split(rest, "/") {
		switch name {
		case "", ".":
		case "..":
			return "", invalid("%q has a \"..\" in it", shorten(p))
		default:
			keep = append(keep, name)
		}
	}
	return strings.Join(keep, "/"), nil
}

// below is inside for what must not be the workspace itself.
func below(p string) (string, error) {
	rest, err := inside(p)
	if err == nil && rest == "" {
		err = invalid("%q is the workspace itself", shorten(p))
	}
	return rest, err
}

// shown is a path of the workspace as the SDK has it.
func shown(p string) string { return path.Join(home, p) }
