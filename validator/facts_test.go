package validator

import (
	"strings"
	"testing"
)

var replies = []string{
	`{"done":true,"imports":[{"module":"os","name":"system","as":"s","level":0,"line":1,"col":1}],` +
		`"uses":[{"name":"os.system","call":true,"at":[1,2,3,4]}],"aliases":[{"name":"a","source":"os.b","line":1,"col":1}]}`,
	`{"done":true,"imports":[],"uses":[],"aliases":[]}`,
	`{"truncated":true}`,
	`{"error":{"kind":"SyntaxError","message":"invalid syntax","line":1,"col":2}}`,
	`{"done":true,"imports":[{"module":"","name":"*","as":"","level":2,"line":1,"col":1}],"uses":[],"aliases":[]}`,
	`{"done":true,"imports":[],"uses":[{"name":"\u00e9\ud835\udcee","call":false,"at":[1,1]}],"aliases":[]}`,
}

var badReplies = map[string]string{
	"nothing":           ``,
	"no outcome":        `{}`,
	"null":              `null`,
	"a list":            `[]`,
	"two outcomes":      `{"done":true,"truncated":true}`,
	"two values":        replies[1] + replies[1],
	"facts and error":   `{"error":{"kind":"SyntaxError","message":"","line":0,"col":0},"uses":[{"name":"x","call":true,"at":[1,1]}]}`,
	"unknown field":     `{"done":true,"more":1}`,
	"cut":               replies[0][:50],
	"no place":          `{"done":true,"uses":[{"name":"x","call":true,"at":[]}]}`,
	"odd place":         `{"done":true,"uses":[{"name":"x","call":true,"at":[1]}]}`,
	"negative place":    `{"done":true,"uses":[{"name":"x","call":true,"at":[1,-1]}]}`,
	"huge place":        `{"done":true,"uses":[{"name":"x","call":true,"at":[1,99999999]}]}`,
	"float place":       `{"done":true,"uses":[{"name":"x","call":true,"at":[1,1.5]}]}`,
	"too many places":   `{"done":true,"uses":[{"name":"x","call":true,"at":[1` + strings.Repeat(",1", 2*maxPlaces+1) + `]}]}`,
	"empty name":        `{"done":true,"uses":[{"name":"","call":true,"at":[1,1]}]}`,
	"empty part":        `{"done":true,"uses":[{"name":"a..b","call":true,"at":[1,1]}]}`,
	"space in a name":   `{"done":true,"uses":[{"name":"a b","call":true,"at":[1,1]}]}`,
	"escape in a name":  `{"done":true,"uses":[{"name":"a\u001b[0m","call":true,"at":[1,1]}]}`,
	"C1 in a name":      `{"done":true,"uses":[{"name":"a\u009b","call":true,"at":[1,1]}]}`,
	"no module":         `{"done":true,"imports":[{"module":"","name":"x","as":"","level":0,"line":1,"col":1}]}`,
	"negative level":    `{"done":true,"imports":[{"module":"a","name":"x","as":"","level":-1,"line":1,"col":1}]}`,
	"alias of nothing":  `{"done":true,"aliases":[{"name":"x","source":"","line":1,"col":1}]}`,
	"error of no kind":  `{"error":{"kind":"","message":"x","line":1,"col":1}}`,
	"long error":        `{"error":{"kind":"SyntaxError","message":"` + strings.Repeat("x", maxMessage+1) + `","line":1,"col":1}}`,
	"too many facts":    `{"done":true,"uses":[` + strings.Repeat(`{"name":"x","call":true,"at":[1,1]},`, maxFacts) + `{"name":"x","call":true,"at":[1,1]}]}`,
	"too large":         `{"done":true}` + strings.Repeat(" ", MaxReply),
	"nested far":        strings.Repeat(`[`, 100000),
	"wrong type inside": `{"done":1}`,
}

func TestDecodeFacts(t *testing.T) {
	for _, r := range replies {
		if _, err := DecodeFacts([]byte(r)); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
	f, err := DecodeFacts([]byte(replies[0]))
	if err != nil || f.Imports[0].As != "s" || f.Uses[0].Places[1] != (Place{3, 4}) || f.Aliases[0].Source != "os.b" {
		t.Errorf("%+v, %v", f, err)
	}
	for name, r := range badReplies {
		if f, err := DecodeFacts([]byte(r)); err == nil {
			t.Errorf("%s: accepted: %+v", name, f)
		}
	}
}

func TestControlCharactersOfAMessage(t *testing.T) {
	f, err := DecodeFacts([]byte(`{"error":{"kind":"SyntaxError","message":"a\u001b[31m\u009bb\u202e","line":1,"col":1}}`))
	if err != nil || f.Error.Message != "a\ufffd[31m\ufffdb\ufffd" {
		t.Errorf("%+v, %v", f.Error, err)
	}
}

// FuzzDecodeFacts: whatever a process sends, decoding and judging it neither
// panics nor says more than the limits allow.
func FuzzDecodeFacts(f *testing.F) {
	for _, r := range replies {
		f.Add([]byte(r))
	}
	for _, r := range badReplies {
		if len(r) < 1000 {
			f.Add([]byte(r))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := DecodeFacts(data)
		if err != nil {
			return
		}
		if n := len(facts.Imports) + len(facts.Uses) + len(facts.Aliases); n > maxFacts {
			t.Fatalf("%d facts", n)
		}
		issues := Judge(facts, DefaultBlocked)
		inCharacters(data, issues)
		for _, i := range issues {
			if i.Line < 0 || i.Column < 0 || strings.ContainsAny(i.Message, "\x00\x1b\n\r") {
				t.Fatalf("%+v", i)
			}
		}
	})
}
