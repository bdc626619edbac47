package validator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(line, column int) []Place { return []Place{{line, column}} }

func TestMessages(t *testing.T) {
	facts := Facts{
		Imports: []Import{
			{Module: "socket", Line: 1, Column: 1},
			{Module: "os", Name: "system", Line: 2, Column: 1},
			{Module: "shutil", As: "s", Line: 3, Column: 1},
		},
		Uses: []Use{
			{Name: "s.rmtree", Call: true, Places: at(5, 9)},
			{Name: "eval", Call: true, Places: []Place{{5, 3}, {4, 1}}},
			{Name: "exec", Places: at(6, 1)},
		},
	}
	var got []string
	for _, i := range Judge(facts, DefaultBlocked) {
		got = append(got, fmt.Sprintf("%d:%d %s [%s %s]", i.Line, i.Column, i.Message, i.Kind, i.Name))
	}
	want := []string{
		"1:1 Blocked import detected: socket [import socket]",
		"2:1 Blocked import detected: os.system [import os.system]",
		"4:1 Dangerous function call detected: eval [call eval]",
		"5:3 Dangerous function call detected: eval [call eval]",
		"5:9 Dangerous function call detected: shutil.rmtree [call shutil.rmtree]",
		"6:1 Dangerous function call detected: exec [reference exec]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestErrorsOfTheParser(t *testing.T) {
	for _, c := range []struct {
		err  ParseError
		want Issue
	}{
		{ParseError{"SyntaxError", "invalid syntax", 3, 7}, Issue{"Syntax error: invalid syntax", 3, 7, KindSyntax, ""}},
		{
			ParseError{"ValueError", "source code string cannot contain null bytes", 0, 0},
			Issue{"Syntax error: source code string cannot contain null bytes", 0, 0, KindSyntax, ""},
		},
		{
			ParseError{"RecursionError", "maximum recursion depth exceeded", 0, 0},
			Issue{"Cannot be parsed: RecursionError: maximum recursion depth exceeded", 0, 0, KindUnparsable, ""},
		},
		{ParseError{"MemoryError", "", 0, 0}, Issue{"Cannot be parsed: MemoryError", 0, 0, KindUnparsable, ""}},
	} {
		got := Judge(Facts{Error: &c.err}, nil)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
	if got := Judge(Facts{Truncated: true}, nil); len(got) != 1 || got[0].Kind != KindUnparsable {
		t.Errorf("truncated facts: %v", got)
	}
}

func TestDuplicatesAreMerged(t *testing.T) {
	facts := Facts{
		Imports: []Import{
			{Module: "os", Name: "system", Line: 1, Column: 1},
			{Module: "os", Name: "system", As: "b", Line: 1, Column: 1},
		},
		Uses: []Use{
			{Name: "eval", Call: true, Places: []Place{{2, 1}, {2, 1}}},
			{Name: "eval", Places: at(2, 1)},
			{Name: "exec", Places: at(2, 1)},
		},
	}
	if got := short(Judge(facts, DefaultBlocked)); got != "1:1 import os.system, 2:1 call eval, 2:1 reference exec" {
		t.Error(got)
	}
}

func TestIssueJSON(t *testing.T) {
	got, err := json.Marshal(Issue{"m", 1, 2, KindCall, "eval"})
	if want := `{"message":"m","line":1,"column":2,"kind":"call","name":"eval"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// TestAliasesEnd: many names for many things in a ring take no time to speak of.
func TestAliasesEnd(t *testing.T) {
	var f Facts
	f.Imports = []Import{{Module: "os", Line: 1}, {Module: "shutil", Line: 1}, {Module: "builtins", Line: 1}}
	const n = maxFacts - 10
	for i := range n {
		f.Aliases = append(f.Aliases, Alias{Name: fmt.Sprintf("a%d", i), Source: fmt.Sprintf("a%d", (i+1)%n)})
	}
	for _, m := range []string{"os", "shutil", "builtins", "eval", "exec"} {
		f.Aliases = append(f.Aliases, Alias{Name: "a7", Source: m})
	}
	f.Uses = []Use{{Name: "a8.system", Call: true, Places: at(9, 9)}, {Name: "a8", Call: true, Places: at(9, 8)}}
	begun := time.Now()
	got := short(Judge(f, DefaultBlocked))
	if took := time.Since(begun); took > time.Second {
		t.Errorf("took %v", took)
	}
	if want := "9:8 call eval, 9:8 call exec, 9:9 call eval, 9:9 call exec, 9:9 call os.system"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestColumnsInCharacters(t *testing.T) {
	code := []byte("\ufeffä = 1; x\r日本 = 2\r\n# \x0c\u2028\né; x\nplain")
	issues := []Issue{
		{Line: 1, Column: 9, Kind: KindCall},
		{Line: 2, Column: 7, Kind: KindCall},
		{Line: 4, Column: 5, Kind: KindCall},
		{Line: 4, Column: 5, Kind: KindSyntax},
		{Line: 5, Column: 3, Kind: KindCall},
		{Line: 5, Column: 99, Kind: KindCall},
		{Line: 99, Column: 2, Kind: KindCall},
	}
	inCharacters(code, issues)
	var got []int
	for _, i := range issues {
		got = append(got, i.Column)
	}
	if want := []int{8, 3, 4, 5, 3, 99, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
