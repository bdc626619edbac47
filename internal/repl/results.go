package repl

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The bounds of rich results. cellshow.py keeps to the same; here they hold.
const (
	maxForm        = 4 << 20 // bytes of one form
	maxResultBytes = 8 << 20 // of all together
	maxResults     = 64
	// Of JSON forms, which are passed on and not decoded here.
	maxFormValues = 1 << 20
	maxFormDepth  = 64
)

// Bundle is one rich result: the same thing in one or more forms.
type Bundle struct {
	// Kind is "value" (of a last expression), "display" or "figure".
	Kind string `json:"kind"`
	// Data holds the forms by MIME type, of which there are only those of
	// Forms: text, base64 of binary data, or JSON text.
	Data map[string]string `json:"data"`
	// Dropped names forms that were too large.
	Dropped []string `json:"dropped"`
}

// The kinds of results.
const (
	KindValue   = "value"
	KindDisplay = "display"
	KindFigure  = "figure"
)

// Form is what a MIME type's content has to be.
type Form int

// The forms.
const (
	FormText Form = iota + 1
	FormBinary
	FormJSON
)

// starts are the first bytes of binary forms.
var starts = map[string]string{
	"image/png":       "\x89PNG\r\n\x1a\n",
	"image/jpeg":      "\xff\xd8\xff",
	"image/gif":       "GIF8",
	"image/webp":      "RIFF",
	"application/pdf": "%PDF-",
}

// FormOf returns what a MIME type's content is, 0 for one that no result has.
func FormOf(mime string) Form {
	switch mime {
	case "text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml":
		return FormText
	case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf":
		return FormBinary
	case "application/json", "application/geo+json", "application/vnd.dataresource+json",
		"application/vnd.plotly.v1+json", "application/vnd.vega.v5+json",
		"application/vnd.vegalite.v4+json", "application/vnd.vegalite.v5+json":
		return FormJSON
	}
	return 0
}

// takeResults keeps of what a cell calls its results what may be one. A REPL
// that keeps to its program sends nothing else; what is too much, of another
// type, or not what its type says, is left out.
func (r *Reply) takeResults(claimed []Bundle) error {
	left := maxResultBytes
	for _, b := range claimed {
		if b.Kind != KindValue && b.Kind != KindDisplay && b.Kind != KindFigure {
			return fmt.Errorf("%w: a result of kind %.40q", ErrProtocol, b.Kind)
		}
		if len(r.Results) == maxResults {
			r.LeftOut = true
			break
		}
		kept := Bundle{Kind: b.Kind, Data: map[string]string{}}
		for mime, data := range b.Data {
			switch {
			case FormOf(mime) == 0 || !isForm(mime, data):
			case len(data) > maxForm || len(data) > left:
				kept.Dropped = append(kept.Dropped, mime)
			default:
				left -= len(data)
				kept.Data[mime] = data
			}
		}
		for _, mime := range b.Dropped {
			if FormOf(mime) != 0 && kept.Data[mime] == "" && !slices.Contains(kept.Dropped, mime) {
				kept.Dropped = append(kept.Dropped, mime)
			}
		}
		slices.Sort(kept.Dropped)
		r.LeftOut = r.LeftOut || len(kept.Dropped) > 0
		r.Results = append(r.Results, kept)
	}
	return nil
}

// isForm says whether data begins as its type does. Who shows it still shows
// what an attacker may have made.
func isForm(mime, data string) bool {
	switch FormOf(mime) {
	case FormBinary:
		content, err := base64.StdEncoding.DecodeString(data)
		return err == nil && strings.HasPrefix(string(content), starts[mime]) &&
			!strings.ContainsAny(data, "\r\n") // which the decoder skips
	case FormJSON:
		return checkBounds([]byte(data), maxFormValues, maxFormDepth) == nil && json.Valid([]byte(data))
	}
	return true
}
