package cli

import "strings"

// inputState is what can be told of Python source by its shape alone. It need
// not be exact: what is sent too early is a syntax error, and an empty line
// ends any block.
type inputState struct {
	inside bool // a bracket, a triple-quoted string or a backslash is open
	block  bool // a compound statement, which an empty line ends
}

// compound are the words that begin a statement with a body.
var compound = map[string]bool{
	"if": true, "while": true, "for": true, "try": true, "with": true, "def": true, "class": true, "async": true,
}

// look reads source once, character by character.
func look(source string) inputState {
	var st inputState
	depth := 0
	lineStart := true // of a logical line
	last := byte(0)   // the last character of the logical line that is no space
	for i := 0; i < len(source); i++ {
		c := source[i]
		if lineStart && c != '\n' && c != ' ' && c != '\t' {
			lineStart = false
			st.block = st.block || c == '@' || compound[firstWord(source[i:])]
		}
		switch c {
		case '#':
			for i+1 < len(source) && source[i+1] != '\n' {
				i++
			}
			continue
		case '\'', '"':
			end, open := skipString(source, i)
			if open {
				return inputState{inside: true, block: st.block}
			}
			i = end
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth = max(depth-1, 0)
		case '\\':
			if strings.TrimLeft(source[i+1:], "\n") == "" && strings.Count(source[i+1:], "\n") < 2 {
				return inputState{inside: true, block: st.block}
			}
			i++ // the line goes on
			continue
		case '\n':
			if depth == 0 {
				st.block = st.block || last == ':'
				lineStart, last = true, 0
			}
			continue
		case ' ', '\t', '\r':
			continue
		}
		last = c
	}
	st.inside = depth > 0
	st.block = st.block || last == ':' && depth == 0
	return st
}

func firstWord(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end < 0 {
		return s
	}
	return s[:end]
}

// skipString returns where the string that begins at i ends, or that it is a
// triple-quoted one without an end. One that a line's end cuts off ends there:
// Python will say so.
func skipString(s string, i int) (end int, open bool) {
	quote := s[i : i+1]
	triple := strings.Repeat(quote, 3)
	isTriple := strings.HasPrefix(s[i:], triple)
	if isTriple {
		i += 2
	}
	for i++; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case isTriple && strings.HasPrefix(s[i:], triple):
			return i + 2, false
		case isTriple:
		case s[i] == quote[0], s[i] == '\n':
			if s[i] == '\n' {
				i--
			}
			return i, false
		}
	}
	return len(s), isTriple || strings.HasSuffix(s, "\\\n")
}

// isWhole says whether source, as typed so far, can be run: nothing is open,
// and a block has its empty line.
func isWhole(source string) bool {
	st := look(source)
	if st.inside {
		return false
	}
	if !st.block {
		return true
	}
	i := strings.LastIndexByte(source, '\n')
	return i >= 0 && strings.TrimSpace(source[i+1:]) == ""
}

// blocks cuts lines that come from a pipe into pieces to run. Beside an empty
// line, the next statement ends a block.
type blocks struct{ text string }

// add takes a line without its end, and returns the pieces that it completes.
func (b *blocks) add(line string) []string {
	var ready []string
	if b.text != "" && startsStatement(line) {
		if st := look(b.text); !st.inside && st.block && !endsWithDecorator(b.text) {
			ready = append(ready, b.flush())
		}
	}
	if b.text == "" && strings.TrimSpace(line) == "" {
		return ready
	}
	b.text += line + "\n"
	st := look(b.text)
	if !st.inside && (!st.block || strings.TrimSpace(line) == "") {
		ready = append(ready, b.flush())
	}
	return ready
}

// flush returns what is left.
func (b *blocks) flush() string {
	text := b.text
	b.text = ""
	return text
}

// startsStatement says whether line begins a new statement at the left margin.
func startsStatement(line string) bool {
	if line == "" || line[0] == ' ' || line[0] == '\t' || line[0] == '#' || line[0] == '\r' {
		return false
	}
	switch firstWord(line) {
	case "else", "elif", "except", "finally":
		return false
	}
	return true
}

// endsWithDecorator says whether the last line at the left margin is a
// decorator, which the line after it belongs to.
func endsWithDecorator(text string) bool {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if l := lines[i]; l != "" && l[0] != ' ' && l[0] != '\t' && l[0] != '#' {
			return l[0] == '@'
		}
	}
	return false
}
