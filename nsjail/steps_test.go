package nsjail

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The plan of a cell, call by call, for every kind of host: what is done as
// root of the machine, rootless, and where /proc is masked.
func TestPlanGolden(t *testing.T) {
	s := Spec{Root: "/roots/0123/tree", Python: "/usr/bin/python3", Inputs: []Input{{Stage: "/inputs/4567", Name: "data"}, {Stage: "/inputs/89ab/content", Name: "one", File: true}}}.withDefaults()
	for name, l := range map[string]layout{
		"root":     {mknod: true, landlock: 7, lastCap: 40, code: codeID},
		"rootless": {rootless: true, landlock: 4, lastCap: 40, code: initID},
		"masked":   {procMasked: true, landlock: 1, lastCap: 40, code: codeID},
	} {
		p, err := lowerInto(&program{text: &strings.Builder{}}, steps(s, l, func(string) int { return 99 }))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := p.encode(make([]byte, 16)); err != nil || len(b) != 16+8+len(p.insns)*int(unsafe.Sizeof(insn{}))+len(p.data) {
			t.Errorf("%s: the message has %d bytes: %v", name, len(b), err)
		}
		golden := filepath.Join("testdata", "plan_"+name+".txt")
		got := p.text.String()
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("the plan %q changed; look at it and run go test ./nsjail -update\n%s", name, got)
		}
		if !strings.Contains(got, "capabilities") || strings.LastIndex(got, " capabilities") < strings.LastIndex(got, " landlock") {
			t.Errorf("%s: capabilities are not given up last", name)
		}
	}
}

func TestProgramBounds(t *testing.T) {
	p := &program{}
	for range maxSlots + 1 {
		p.receive()
	}
	if _, err := lower([]step{{"too many", func(p *program) {
		for range maxSlots + 1 {
			p.receive()
		}
	}}}); err == nil {
		t.Error("more slots than the init has were taken")
	}
	p = &program{}
	p.bytes(make([]byte, maxProgram))
	if _, err := p.encode(nil); err == nil {
		t.Error("a program larger than the init's buffer was taken")
	}
}
