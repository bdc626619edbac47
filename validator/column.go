package validator

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// inCharacters turns the byte columns of issues, which are sorted by line, into
// columns in characters, where the source is UTF-8. A source that a coding
// cookie gives another encoding keeps the parser's bytes.
func inCharacters(code []byte, issues []Issue) {
	if !slices.ContainsFunc(code, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return
	}
	code = bytes.TrimPrefix(code, []byte("\xef\xbb\xbf")) // CPython does not count it
	if !utf8.Valid(code) {
		return
	}
	rest, number := code, 0
	var line []byte
	for i := range issues {
		issue := &issues[i]
		if issue.Kind == KindSyntax || issue.Kind == KindUnparsable {
			continue // already in characters, or without a position
		}
		for number < issue.Line && (number == 0 || len(rest) > 0) {
			line, rest = cutLine(rest)
			number++
		}
		if offset := issue.Column - 1; number == issue.Line && 0 < offset && offset <= len(line) {
			issue.Column = 1 + utf8.RuneCount(line[:offset])
		}
	}
}

// cutLine takes the first line off, as CPython's tokenizer ends lines: at \n,
// \r\n or a lone \r.
func cutLine(code []byte) (line, rest []byte) {
	i := bytes.IndexAny(code, "\r\n")
	switch {
	case i < 0:
		return code, nil
	case bytes.HasPrefix(code[i:], []byte("\r\n")):
		return code[:i], code[i+2:]
	}
	return code[:i], code[i+1:]
}
