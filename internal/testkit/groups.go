package testkit

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Package cgroup reads these files properly. Here the plain case is enough, and
// importing that package would keep its own tests from using this one.

// ownGroups returns the directories of this process's own groups, by
// controller; that of the v2 tree has the name "".
func ownGroups() map[string]string {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	dirs := make(map[string]string)
	for line := range strings.Lines(string(self)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for name := range strings.SplitSeq(f[1], ",") {
			if dir := shownAt(string(mounts), name, f[2]); dir != "" {
				dirs[name] = dir
			}
		}
	}
	return dirs
}

// shownAt finds the directory of a group; "" when no mount shows it.
func shownAt(mountinfo, controller, group string) (dir string) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, tail := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(tail) < 3 {
			continue
		}
		if controller == "" && tail[0] != "cgroup2" ||
			controller != "" && (tail[0] != "cgroup" || !slices.Contains(strings.Split(tail[2], ","), controller)) {
			continue
		}
		rest, ok := strings.CutPrefix(group, strings.TrimSuffix(f[3], "/"))
		if ok && (rest == "" || rest[0] == '/') {
			dir = path.Join(f[4], rest)
		}
	}
	return dir
}

func ownMemoryGroup() (dir string, v2 bool) {
	own := ownGroups()
	if dir := own["memory"]; dir != "" {
		return dir, false
	}
	return own[""], true
}

// cellGroups lists the directories called cellblock-* below the own groups. One
// in which another process's children live is left out: machines are shared.
func cellGroups() []string {
	var found []string
	for name, top := range ownGroups() {
		if strings.HasPrefix(name, "name=") {
			continue
		}
		filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fs.SkipDir // gone meanwhile
			case !d.IsDir() || p == top:
				return nil
			case strings.HasPrefix(d.Name(), "cellblock-"):
				if !madeByOther(p) {
					found = append(found, p)
				}
				return fs.SkipDir
			}
			return nil
		})
	}
	return found
}

// madeByOther looks at who lives in a group: a cell's first process is the child
// of the process that made it.
func madeByOther(dir string) bool {
	text, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return false
	}
	parents := make(map[string]string)
	for _, pid := range strings.Fields(string(text)) {
		for p := pid; p != "" && p != "0" && p != "1" && parents[p] == ""; p = parents[p] {
			if p == strconv.Itoa(os.Getpid()) {
				return false
			}
			parents[p] = parentOf(p)
		}
	}
	return len(parents) > 0
}

func parentOf(pid string) string {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	// The name in parentheses may itself hold blanks and parentheses.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 2 {
		return ""
	}
	return f[1]
}
