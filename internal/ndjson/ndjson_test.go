package ndjson

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTextIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want []string
	}{
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"\xc3", "\xbc"}, []string{"ü"}},
		{[]string{"x\xf0\x9f", "\x90", "\x8dy"}, []string{"x", "🐍y"}},
		{[]string{"\xff\xc3"}, []string{"\uFFFD", "\uFFFD"}},
		{[]string{"\xc3", "a"}, []string{"\uFFFDa"}},
	} {
		var got []string
		x := Text{To: func(s string) { got = append(got, s) }}
		for _, piece := range c.in {
			x.Take([]byte(piece))
		}
		x.End()
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%q is %q, not %q", c.in, got, c.want)
		}
	}
}

func TestStream(t *testing.T) {
	r := httptest.NewRecorder()
	s := Start(r, time.Hour, "alive", func(error) { t.Error("cancelled") })
	s.Send(map[string]int{"a": 1})
	s.Send([]string{"b"})
	s.End()
	if got := r.Body.String(); got != "{\"a\":1}\n[\"b\"]\n" || r.Header().Get("Content-Type") != Type || !r.Flushed {
		t.Errorf("%q, %v", got, r.Header())
	}
}

// broken is the answer to somebody who reads no more.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }
func (broken) Flush()                    {}

func TestNobodyReads(t *testing.T) {
	var cause error
	s := Start(broken{httptest.NewRecorder()}, time.Hour, "alive", func(err error) { cause = err })
	s.Send(1)
	s.Send(2)
	s.End()
	if !errors.Is(cause, context.Canceled) {
		t.Errorf("the reason is %v", cause)
	}
}
