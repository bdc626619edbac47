package nsjail

import "testing"

func TestIDsInUserNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		uids, gids string
		want       idRange
	}{
		"the host":                     {"         0          0 4294967295\n", "0 0 4294967295\n", idRange{idBase, slots}},
		"a rootless container":         {"0 1000 1\n1 100000 65536\n", "0 1000 1\n1 100000 65536\n", idRange{32769, 8192}},
		"a container of 65536 ids":     {"0 100000 65536\n", "0 100000 65536\n", idRange{32768, 8192}},
		"a wide one without the range": {"0 100000 1000000000\n", "0 100000 1000000000\n", idRange{500000000, slots}},
		"one id":                       {"0 1000 1\n", "0 1000 1\n", idRange{}},
		"other groups":                 {"0 100000 65536\n", "0 100000 1\n", idRange{}},
		"nothing":                      {"", "", idRange{}},
	} {
		if got := idsIn(c.uids, c.gids); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
