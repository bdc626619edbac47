package testkit

import (
	"fmt"
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
	return besideLeaf(own[""]), true
}

// besideLeaf is where a process makes groups on v2: below its own, or, when it
// sits in the leaf that keeps the own group free of processes, beside the leaf.
func besideLeaf(own string) string {
	if path.Base(own) == "cellblock.self" {
		return path.Dir(own)
	}
	return own
}

// cellGroups lists the directories called cellblock-* below the own groups, but
// for those that another live process has: machines are shared.
func cellGroups() []string {
	var found []string
	for name, top := range ownGroups() {
		if strings.HasPrefix(name, "name=") {
			continue
		}
		if name == "" {
			top = besideLeaf(top)
		}
		filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fs.SkipDir // gone meanwhile
			case !d.IsDir() || p == top:
				return nil
			case strings.HasPrefix(d.Name(), "cellblock-"):
				if !namedByOther(d.Name()) && !ownedByOther(p) {
					found = append(found, p)
				}
				return fs.SkipDir
			}
			return nil
		})
	}
	return found
}

// namedByOther says that a name (cellblock-PID-…) tells of another live process.
func namedByOther(group string) bool {
	number, _, ok := strings.Cut(strings.TrimPrefix(group, "cellblock-"), "-")
	pid, err := strconv.Atoi(number)
	if !ok || err != nil || pid == os.Getpid() {
		return false
	}
	_, err = os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// ownedByOther says that what runs in a group was started by another live
// process. What has lost its parent is nobody's, and so is left behind.
func ownedByOther(dir string) bool {
	inside := make(map[int]bool)
	text, _ := os.ReadFile(dir + "/cgroup.procs")
	pid := 0
	for f := range strings.FieldsSeq(string(text)) {
		pid, _ = strconv.Atoi(f)
		inside[pid] = true
	}
	for inside[pid] {
		pid = parentOf(pid)
	}
	if pid <= 1 {
		return false
	}
	for pid > 1 && pid != os.Getpid() {
		pid = parentOf(pid)
	}
	return pid != os.Getpid()
}

// parentOf returns a process's parent, 0 when it has ended.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(f[1])
	return parent
}
