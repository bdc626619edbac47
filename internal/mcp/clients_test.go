package mcp

import "testing"

// Words survive a shell and TOML, whatever they hold.
func TestQuoting(t *testing.T) {
	for in, want := range map[string][2]string{
		"a-b/c.d": {"a-b/c.d", `"a-b/c.d"`},
		"a b":     {"'a b'", `"a b"`},
		"it's":    {`'it'\''s'`, `"it's"`},
		"":        {"''", `""`},
		`<"\>`:    {`'<"\>'`, `"<\"\\>"`},
		"$x;`y`":  {"'$x;`y`'", "\"$x;`y`\""},
	} {
		if quoted(in) != want[0] || inJSON(in) != want[1] {
			t.Errorf("%q: %s and %s", in, quoted(in), inJSON(in))
		}
	}
	if tomlKey("a_b-1") != "a_b-1" || tomlKey("a.b") != `"a.b"` || tomlKey("") != `""` {
		t.Error(tomlKey("a_b-1"), tomlKey("a.b"), tomlKey(""))
	}
}
