package mcp

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// What a model is shown of the texts of one execution, in bytes. The rest can
// be read as a resource.
const (
	headBytes      = 12 << 10 // of stdout, and
	tailBytes      = 8 << 10  // its end
	stderrBytes    = 6 << 10
	formBytes      = 12 << 10 // of one result
	formsBytes     = 24 << 10 // of all of them
	tracebackBytes = 6 << 10
	shortBytes     = 1 << 10 // of names and messages
)

// trim shows the beginning and the end of a text, and says how much is missing
// in between.
func trim(text string, head, tail int) (shown string, cut int) {
	if len(text) <= head+tail {
		return text, 0
	}
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	end := len(text) - tail
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	cut = end - head
	return fmt.Sprintf("%s\n[… %d bytes left out …]\n%s", text[:head], cut, text[end:]), cut
}

// shorten is trim for what should be one line or little more.
func shorten(text string) string {
	shown, _ := trim(text, shortBytes*3/4, shortBytes/4)
	return shown
}

// trimTraceback keeps the frames of the user's own code, and says where the
// others are. A traceback is what the cell says, and may be any text.
func trimTraceback(text string) string {
	var out strings.Builder
	var left []string // files of frames that are left out
	flush := func() {
		if len(left) > 0 {
			fmt.Fprintf(&out, "  [… %d frame(s) of libraries, the last in %s …]\n", len(left), left[len(left)-1])
			left = nil
		}
	}
	skipping := false
	for line := range strings.Lines(text) {
		place, frame := strings.CutPrefix(line, `  File "`)
		switch {
		case frame:
			file, rest, _ := strings.Cut(place, `"`)
			if skipping = isLibrary(file); skipping {
				number, _, _ := strings.Cut(strings.TrimPrefix(rest, ", line "), ",")
				left = append(left, file+":"+strings.TrimSpace(number))
				continue
			}
			flush()
		case skipping && strings.HasPrefix(line, "    "):
			continue // the source of that frame
		case skipping && strings.HasPrefix(line, "  [Previous line repeated"):
			continue
		default:
			skipping = false
			flush()
		}
		out.WriteString(line)
	}
	flush()
	shown, _ := trim(out.String(), tracebackBytes/2, tracebackBytes/2)
	return strings.TrimRight(shown, "\n")
}

// isLibrary says whether a frame's file is none of the user's: those have
// names without a directory, or lie in the workspace or /tmp.
func isLibrary(file string) bool {
	return strings.HasPrefix(file, "<frozen ") ||
		strings.HasPrefix(file, "/") && !strings.HasPrefix(file, "/workspace/") && !strings.HasPrefix(file, "/tmp/")
}
