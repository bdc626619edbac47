package executor

import (
	"bytes"
	"encoding/json"

	"github.com/cellblock/cellblock/internal/repl"
)

// Bundle is one thing that code showed, as notebooks do: the same content in
// one or more forms.
//
// All of it is what the cell says, and may be an attack on whoever shows it:
// HTML and SVG can hold scripts, a picture can be made for a decoder's hole.
// Show HTML and SVG in a sandboxed frame without an origin of its own, or not
// at all; prefer image/png and text/plain.
type Bundle struct {
	// Kind is "value" (of the last expression), "display" (of display()), or
	// "figure" (of matplotlib, open at the end or shown with pyplot.show).
	Kind string `json:"kind"`
	// Data holds the forms.
	Data MIMEData `json:"data"`
	// Dropped are the MIME types of forms that were too large: more than
	// 4 MiB each, or 8 MiB in all results of an execution.
	Dropped []string `json:"dropped,omitempty"`
}

// MIMEData holds forms by MIME type: text, base64 (image/png, image/jpeg,
// image/gif, image/webp, application/pdf), or the text of a JSON value
// (application/json and what ends in +json). In JSON the last are values and
// not strings. There is no other type than those of docs/api.md.
type MIMEData map[string]string

// MarshalJSON writes a JSON form as the value that it is.
func (d MIMEData) MarshalJSON() ([]byte, error) {
	object := make(map[string]any, len(d))
	for mime, form := range d {
		if repl.FormOf(mime) == repl.FormJSON {
			object[mime] = json.RawMessage(form)
		} else {
			object[mime] = form
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // that is for the encoder around this one to say
	err := enc.Encode(object)
	return b.Bytes(), err
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *MIMEData) UnmarshalJSON(data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	*d = make(MIMEData, len(object))
	for mime, form := range object {
		text := string(form)
		if repl.FormOf(mime) != repl.FormJSON {
			if err := json.Unmarshal(form, &text); err != nil {
				return err
			}
		}
		(*d)[mime] = text
	}
	return nil
}

// bundles are the results of a reply. The value of the last expression is one
// of them, with its text, whether or not it has other forms.
func bundles(reply *repl.Reply) []Bundle {
	list := make([]Bundle, 0, len(reply.Results)+1)
	value := reply.Value
	for _, b := range reply.Results {
		if b.Kind == repl.KindValue && value != nil {
			b.Data["text/plain"], value = *value, nil
		}
		list = append(list, Bundle{Kind: b.Kind, Data: b.Data, Dropped: b.Dropped})
	}
	if value != nil {
		list = append(list, Bundle{Kind: repl.KindValue, Data: MIMEData{"text/plain": *value}})
	}
	return list
}
