package validator

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// row is a piece of code and the issues it must have, as "line:column kind
// name", separated by ", ". "" is valid.
type row struct {
	Code  string `json:"code"`
	Bytes []byte `json:"base64"` // instead of Code, where that is not UTF-8
	Want  string `json:"want"`
	From  int    `json:"from"` // lowest 3.x that has the syntax
}

// cases are shared with the tests of the Python package, whose validator must
// judge the same. Those "known to pass" are evasions that a lint does not find;
// the cell is the boundary.
//
//go:embed testdata/cases.json
var cases []byte

func table(t *testing.T) []row {
	t.Helper()
	var sections []struct{ Cases []row }
	if err := json.Unmarshal(cases, &sections); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, s := range sections {
		rows = append(rows, s.Cases...)
	}
	if len(rows) < 126 {
		t.Fatalf("only %d rows", len(rows))
	}
	for i := range rows {
		if rows[i].Bytes == nil {
			rows[i].Bytes = []byte(rows[i].Code)
		}
	}
	return rows
}

// TestTable runs the table on every Python here.
func TestTable(t *testing.T) {
	rows := table(t)
	for _, p := range pythons(t) {
		t.Run(p.String(), func(t *testing.T) {
			r, starts := resident(t, p, 8192)
			v := New(r)
			for _, row := range rows {
				if p.minor < row.From {
					continue
				}
				valid, issues, err := v.Validate(context.Background(), row.Bytes)
				if err != nil {
					t.Fatalf("%q: %v", row.Bytes, err)
				}
				if got := short(issues); got != row.Want {
					t.Errorf("%q:\n got %s\nwant %s", row.Bytes, got, row.Want)
				}
				if valid != (row.Want == "") {
					t.Errorf("%q: valid is %v", row.Bytes, valid)
				}
			}
			if *starts != 1 {
				t.Errorf("%d processes for one table", *starts)
			}
		})
	}
}

func short(issues []Issue) string {
	var s []string
	for _, i := range issues {
		switch i.Kind {
		case KindSyntax, KindUnparsable:
			s = append(s, i.Kind) // messages and positions differ between versions
		default:
			s = append(s, strings.TrimSpace(fmt.Sprintf("%d:%d %s %s", i.Line, i.Column, i.Kind, i.Name)))
		}
	}
	return strings.Join(s, ", ")
}
