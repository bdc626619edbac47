package api

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// bodies are those of executions, and whether they are plain.
var bodies = map[string]bool{
	`{"code":"print(1)"}`:      true,
	" {\t\"code\" : \"1\" }\n": true,
	`{"code":"1","timeout":1.5,"validate":false,"fresh_namespace":true,"keep_running":true}`: true,
	`{"timeout":1e1,"code":"\u0061='\\n\"ä'\n# \ud83d\ude00 \ud800"}`:                        true,
	"{\"code\":\"'\xff'\"}":         true,
	`{"c\u006fde":"1"}`:             true,
	`{"code":""}`:                   true,
	`{"code":"1","timeout":100000}`: true,
	`{}`:                            false,
	``:                              false,
	`[]`:                            false,
	`{"code":1}`:                    false,
	`{"code":null}`:                 false,
	`{"Code":"1"}`:                  false,
	`{"code":"1","code":"2"}`:       false,
	`{"code":"1","other":2}`:        false,
	`{"code":"1","timeout":-1}`:     false,
	`{"code":"1","timeout":"1"}`:    false,
	`{"code":"1","timeout":01}`:     false,
	`{"code":"1","timeout":1e999}`:  false,
	`{"code":"1","timeout":null}`:   false,
	`{"code":"1","validate":1}`:     false,
	`{"code":"1","validate":truee}`: false,
	`{"code":"1"}x`:                 false,
	`{"code":"1"} {}`:               false,
	`{"code":"1",}`:                 false,
	`{"code":"1"`:                   false,
	`{"code":"1`:                    false,
	`{"code":"\`:                    false,
	`{"code":"\x"}`:                 false,
	"{\"code\":\"\n\"}":             false,
	`{"code":"1","stage_name":"a"}`: false,
	`{"code":"1","input_files":[{"name":"a","content_base64":"YQ=="}]}`: false,
}

func TestPlainExecution(t *testing.T) {
	for text, plain := range bodies {
		e, ok := plainExecution([]byte(text))
		if ok != plain {
			t.Errorf("%s: plain is %v", text, ok)
		}
		checkPlain(t, text, e, ok)
	}
}

// checkPlain compares what was read with what package json reads.
func checkPlain(t *testing.T, text string, e Execution, ok bool) {
	t.Helper()
	if !ok {
		return
	}
	var want Execution
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil || d.More() || !reflect.DeepEqual(e, want) || e.Timeout < 0 {
		t.Errorf("%q was read as %+v, and is %+v (%v)", text, e, want, err)
	}
}

func FuzzPlainExecution(f *testing.F) {
	for text := range bodies {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := plainExecution([]byte(text))
		checkPlain(t, text, e, ok)
	})
}

// Whatever body is sent, the answer is the same where it is not looked at before huma
// sees it: a body of unknown length is not.
func TestPlainBodiesAsAnyOther(t *testing.T) {
	c := serve(t, Settings{})
	here, nowhere := c.session(NewSession{})+"/execute", "/v1/sessions/nowhere/execute"
	varies := regexp.MustCompile(`"(execution_time|wall_s|cpu_s|memory_peak_bytes|processes_peak|execution)":[-+.e0-9]+|urn:cellblock:request:\w+`)
	for text := range bodies {
		for _, path := range []string{here, nowhere, here + "?a=b"} {
			for _, body := range []string{text, text + strings.Repeat(" ", plainBody)} {
				known := c.ask("POST", path, bytes.NewReader([]byte(body)), "Content-Type", "application/json")
				unknown := c.ask("POST", path, struct{ io.Reader }{strings.NewReader(body)}, "Content-Type", "application/json")
				a, b := varies.ReplaceAllString(string(known.body), ""), varies.ReplaceAllString(string(unknown.body), "")
				for _, h := range []string{"Date", "X-Request-Id", "Content-Length"} {
					known.header.Del(h)
					unknown.header.Del(h)
				}
				if known.status != unknown.status || a != b || !reflect.DeepEqual(known.header, unknown.header) {
					t.Errorf("%s %.80q is answered with %d %v %s\nand with %d %v %s", path, body, known.status, known.header, a, unknown.status, unknown.header, b)
				}
			}
		}
	}
}
