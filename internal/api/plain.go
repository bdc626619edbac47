package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// plainBody is how long a body may be that is looked at here.
const plainBody = 64 << 10

// plainly handles a request whose body is a plain execution without what huma does
// for any body: to parse it twice, and to hold it against its schema, takes longer
// than most statements. What is not plain is huma's, mistakes above all.
func (s *Server) plainly(handler func(huma.Context)) func(huma.Context) {
	return func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		body, ok := s.plain(r)
		if !ok {
			handler(ctx)
			return
		}
		answer, err := s.executeNamed(r.Context(), r.PathValue("id"), body)
		if err != nil {
			writeProblem(w, r, problemOf(err))
			return
		}
		answer.Body(ctx)
	}
}

// plain reads the body of a request if it can be a plain execution. Where it is none
// the request has the body that it had.
func (s *Server) plain(r *http.Request) (Execution, bool) {
	if r.ContentLength <= 0 || r.ContentLength > plainBody || r.URL.RawQuery != "" {
		return Execution{}, false
	}
	text := make([]byte, r.ContentLength+1)
	n, err := io.ReadFull(r.Body, text) // the end is to be seen, too
	if err == io.ErrUnexpectedEOF && int64(n) == r.ContentLength {
		if e, ok := plainExecution(text[:n]); ok {
			return e, true
		}
	}
	// The body itself says again how it ended.
	r.Body = readAgain{io.MultiReader(bytes.NewReader(text[:n]), r.Body), r.Body}
	return Execution{}, false
}

// readAgain is a body of which the beginning was read.
type readAgain struct {
	io.Reader
	io.Closer
}

// plainExecution reads an object of code and what often goes with it, each field once
// and by its very name. Whatever it takes huma takes as well, and as the same.
func plainExecution(text []byte) (e Execution, ok bool) {
	p := scanner{text}
	if !p.next('{') {
		return e, false
	}
	var seen []string
	for {
		name, ok := p.text()
		if !ok || slices.Contains(seen, name) || !p.next(':') {
			return e, false
		}
		seen = append(seen, name)
		switch name {
		case "code":
			e.Code, ok = p.text()
		case "timeout":
			e.Timeout, ok = p.number()
		case "fresh_namespace":
			e.FreshNamespace, ok = p.truth()
		case "validate":
			e.Validate, ok = p.truth()
		case "keep_running":
			e.KeepRunning, ok = p.truth()
		default:
			return e, false
		}
		switch {
		case !ok:
			return e, false
		case p.next(','):
		case p.next('}'):
			p.space()
			return e, slices.Contains(seen, "code") && len(p.left) == 0
		default:
			return e, false
		}
	}
}

// scanner takes JSON apart, as far as it is plain.
type scanner struct{ left []byte }

func (p *scanner) space() { p.left = bytes.TrimLeft(p.left, " \t\r\n") }

// next takes one character.
func (p *scanner) next(c byte) bool {
	p.space()
	if len(p.left) == 0 || p.left[0] != c {
		return false
	}
	p.left = p.left[1:]
	return true
}

// text takes a string, whose escapes package json knows.
func (p *scanner) text() (text string, ok bool) {
	p.space()
	if len(p.left) < 2 || p.left[0] != '"' {
		return "", false
	}
	for i := 1; i < len(p.left); i++ {
		switch p.left[i] {
		case '\\':
			i++
		case '"':
			err := json.Unmarshal(p.left[:i+1], &text)
			p.left = p.left[i+1:]
			return text, err == nil
		}
	}
	return "", false
}

// number takes one that is not negative.
func (p *scanner) number() (n float64, ok bool) {
	p.space()
	i := bytes.IndexAny(p.left, ",} \t\r\n")
	if i <= 0 || p.left[0] < '0' || p.left[0] > '9' {
		return 0, false
	}
	err := json.Unmarshal(p.left[:i], &n)
	p.left = p.left[i:]
	return n, err == nil
}

func (p *scanner) truth() (truth, ok bool) {
	p.space()
	left, truth := bytes.CutPrefix(p.left, []byte("true"))
	if !truth {
		if left, ok = bytes.CutPrefix(p.left, []byte("false")); !ok {
			return false, false
		}
	}
	p.left = left
	return truth, true
}
