package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/rootfs"
)

func TestRootfsOfAnEmptyStore(t *testing.T) {
	t.Setenv("CELLBLOCK_STATE_DIR", t.TempDir())
	tests := []struct {
		args   string
		status int
		want   string
	}{
		{"list", 0, "there is no root yet"},
		{"list --json", 0, "[]\n"},
		{"verify", 0, ""},
		{"verify nope", 125, `no such root: "nope"`},
		{"remove nope", 125, `no such root: "nope"`},
		{"build --with a/b", 2, `"a/b" is not the name of a package`},
		{"build --python /nonexistent/python3", 125, `there is no Python at "/nonexistent/python3"`},
	}
	for _, tt := range tests {
		status, out, _, err := runWith(t, "", append([]string{"rootfs"}, strings.Fields(tt.args)...)...)
		if err != nil {
			out += err.Error()
		}
		if status != tt.status || !strings.Contains(out, tt.want) {
			t.Errorf("rootfs %s: status %d, %q; wanted %d and %q", tt.args, status, out, tt.status, tt.want)
		}
	}
}

func TestPrintRoots(t *testing.T) {
	var b bytes.Buffer
	printRoots(&b, []rootfs.Info{
		{
			Root:  rootfs.Root{Digest: "0123456789abcdef0123456789abcdef", Version: [3]int{3, 11, 2}, Packages: map[string]string{"numpy": "1", "six": "2"}},
			Names: []string{"a", "b"}, Created: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), Bytes: 47 << 20, InUse: true,
			Host: rootfs.Origin{Packages: []string{"numpy"}},
		},
		{Root: rootfs.Root{Digest: "fedcba9876543210fedcba9876543210"}},
	})
	for _, want := range []string{"0123456789ab  3.11.2", "47MiB", "yes  a,b", "numpy (2 in all)\n", "fedcba987654  unreadable"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestPrintVerification(t *testing.T) {
	var b bytes.Buffer
	printVerification(&b, &rootfs.Report{Digest: "abc", Changed: []string{"usr/x\x1b"}, Missing: []string{"y"}})
	want := "root abc: 1 changed (/usr/x\\x1b), 1 missing (/y)\n  changed  /usr/x\\x1b\n  missing  /y\n"
	if b.String() != want {
		t.Errorf("printed %q, wanted %q", b.String(), want)
	}
}
