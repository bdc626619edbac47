package mcp

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/executor"
)

// What of pictures and files is shown of one execution. More is linked.
const (
	mostImages      = 6
	imageBytes      = 768 << 10 // of one; about 1 MiB in base64
	imagesBytes     = 2 << 20   // of all
	mostFiles       = 50
	mostResultLinks = 8 // resource links beside the pictures
)

// show makes an answer of what came of an execution: a text for the model,
// pictures, links to what is larger or meant for people, and the same as
// structured content.
func show(o outcome, l Limits) (*sdk.CallToolResult, *RunOutput) {
	w := &showing{o: o, out: &RunOutput{
		Success: o.Success, Verdict: string(o.Verdict), Execution: o.number, ReturnCode: o.ReturnCode,
		VariablesLost: o.Session.Lost || o.renewed, FilesLost: o.renewed,
		Seconds: o.Usage.WallSeconds, CPUSeconds: o.Usage.CPUSeconds, MemoryPeak: o.Usage.MemoryPeakBytes,
	}}
	w.streams()
	w.results()
	w.failure(l)
	w.files()
	w.endings()
	content := append([]sdk.Content{&sdk.TextContent{Text: w.text()}}, w.images...)
	return &sdk.CallToolResult{Content: append(content, w.links...), IsError: !o.Success}, w.out
}

// showing is an answer that grows.
type showing struct {
	o      outcome
	out    *RunOutput
	lines  []string
	images []sdk.Content
	links  []sdk.Content

	imageBytes, formBytes int
}

func (w *showing) say(format string, a ...any) { w.lines = append(w.lines, fmt.Sprintf(format, a...)) }

func (w *showing) text() string {
	if len(w.lines) == 0 {
		return "(no output)"
	}
	return strings.Join(w.lines, "\n")
}

func (w *showing) truncated(format string, a ...any) {
	w.out.Truncated = append(w.out.Truncated, fmt.Sprintf(format, a...))
}

// link offers a resource, once.
func (w *showing) link(uri, name, mime, description string, size int) {
	if len(w.links) < mostResultLinks {
		n := int64(size)
		w.links = append(w.links, &sdk.ResourceLink{URI: uri, Name: name, MIMEType: mime, Description: description, Size: &n})
	}
}

func (w *showing) streams() {
	w.out.Stdout = w.stream("stdout", w.o.Output, headBytes, tailBytes, w.o.Truncated.Output)
	w.out.Stderr = w.stream("stderr", w.o.Stderr, stderrBytes/2, stderrBytes/2, w.o.Truncated.Stderr)
	if w.out.Stdout != "" {
		w.say("%s", strings.TrimSuffix(w.out.Stdout, "\n"))
	}
	if w.out.Stderr != "" {
		w.say("stderr:\n%s", strings.TrimSuffix(w.out.Stderr, "\n"))
	}
}

func (w *showing) stream(name, text string, head, tail int, lost bool) string {
	shown, cut := trim(text, head, tail)
	if cut > 0 {
		uri := streamURI(w.o.number, name)
		w.truncated("%s: %d of %d bytes are left out in the middle; all are in %s", name, cut, len(text), uri)
		w.link(uri, name+".txt", "text/plain", "the whole "+name+" of this call", len(text))
	}
	if lost {
		w.truncated("%s: more was printed than the %d bytes that were kept; write to a file what you need whole", name, len(text))
	}
	return shown
}

// results are the value, displays and figures.
func (w *showing) results() {
	if w.o.Value != nil {
		w.out.Value, _ = trim(*w.o.Value, formBytes*2/3, formBytes/3)
	}
	figures := 0
	for i, b := range w.o.Results {
		shown := ShownResult{Kind: b.Kind, Links: map[string]string{}}
		text := b.Data["text/plain"]
		for _, mime := range []string{"text/markdown", "text/latex", "application/json"} {
			if text == "" {
				text = b.Data[mime]
			}
		}
		pictured := w.picture(i, b)
		for mime := range b.Data {
			if mime != "text/plain" {
				shown.Links[mime] = resultURI(w.o.number, i, mime)
			}
		}
		room := max(min(formBytes, formsBytes-w.formBytes), 0)
		var cut int
		if shown.Text, cut = trim(text, room*2/3, room/3); cut > 0 {
			uri := resultURI(w.o.number, i, "text/plain")
			shown.Links["text/plain"] = uri
			w.truncated("result %d: %d of %d bytes of its text are left out; all are in %s", i+1, cut, len(text), uri)
		}
		w.formBytes += len(shown.Text)
		switch {
		case pictured:
			figures++
			if b.Kind != "figure" && shown.Text != "" {
				w.say("%s", shown.Text)
			}
			w.say("[%s: image %d, below]", b.Kind, figures)
		case b.Kind == "value":
			w.say("%s", shown.Text)
		case shown.Text != "":
			w.say("%s", shown.Text)
		default:
			w.say("[%s without a text: its forms are linked]", b.Kind)
		}
		for _, mime := range b.Dropped {
			w.truncated("result %d: its form %s was too large and is lost", i+1, shorten(mime))
		}
		w.out.Results = append(w.out.Results, shown)
	}
	if w.o.Truncated.Results {
		w.truncated("results: more was shown than is kept (64 results, 4 MiB each, 8 MiB in all)")
	}
}

// picture shows a result as an image, or links what is too large for one, and
// its other forms for people.
func (w *showing) picture(i int, b executor.Bundle) (shown bool) {
	mimes := make([]string, 0, len(b.Data))
	for mime := range b.Data {
		mimes = append(mimes, mime)
	}
	slices.Sort(mimes)
	for _, mime := range mimes {
		form, uri := b.Data[mime], resultURI(w.o.number, i, mime)
		if !isImage(mime) {
			if mime != "text/plain" {
				w.link(uri, fmt.Sprintf("result-%d", i+1), mime, "a form of result "+fmt.Sprint(i+1), len(form))
			}
			continue
		}
		data, err := base64.StdEncoding.DecodeString(form)
		if err != nil {
			continue
		}
		if shown {
			continue
		}
		if len(data) > imageBytes || len(w.images) >= mostImages || w.imageBytes+len(data) > imagesBytes {
			w.link(uri, fmt.Sprintf("result-%d", i+1), mime, "a picture that is too large, or one too many, to be shown", len(data))
			w.truncated("result %d: its picture (%d bytes) is not shown: read %s, or make it smaller (figsize, dpi)", i+1, len(data), uri)
			continue
		}
		w.images = append(w.images, &sdk.ImageContent{Data: data, MIMEType: mime})
		w.imageBytes += len(data)
		shown = true
	}
	return shown
}

// isImage says whether models are shown pictures of that type.
func isImage(mime string) bool {
	return slices.Contains([]string{"image/png", "image/jpeg", "image/gif", "image/webp"}, mime)
}

// failure is why it did not end well, and what can be done.
func (w *showing) failure(l Limits) {
	o := w.o
	if e := o.Exception; e != nil && (o.Verdict == executor.VerdictError || o.Verdict == executor.VerdictSyntaxError || o.interrupted) {
		w.out.Exception = &RunException{Name: shorten(e.Name), Message: shorten(e.Value), Line: e.Line, Traceback: trimTraceback(e.Traceback)}
	}
	switch {
	case o.Success:
		return
	case o.interrupted:
		if e := w.out.Exception; e != nil {
			w.say("%s", e.Traceback)
		}
		w.say("Interrupted: the code was stopped by another call.")
		return
	case w.out.Exception != nil:
		w.say("%s", w.out.Exception.Traceback)
	case o.Verdict == executor.VerdictTimeout, o.Verdict == executor.VerdictCPUTime, o.Verdict == executor.VerdictOutOfMemory, o.Verdict == executor.VerdictOutputLimit:
		w.out.Limit = *o.Error
		w.say("Limit reached: %s", *o.Error)
	case o.Error != nil:
		w.say("%s", shorten(*o.Error))
	}
	if w.out.Hint = hint(o.Result, l); w.out.Hint != "" {
		w.say("Hint: %s", w.out.Hint)
	}
}

// files are those of the workspace that it touched.
func (w *showing) files() {
	var names []string
	for _, f := range w.o.Files {
		if len(w.out.Files) == mostFiles {
			w.truncated("files: %d more were touched: list_files has them", len(w.o.Files)-mostFiles)
			break
		}
		w.out.Files = append(w.out.Files, FileChange{Path: shorten(f.Path), Size: f.Size, Change: f.Change})
		if f.Change == "deleted" {
			names = append(names, shorten(f.Path)+" (deleted)")
		} else {
			names = append(names, fmt.Sprintf("%s (%s, %d bytes)", shorten(f.Path), f.Change, f.Size))
		}
	}
	if len(names) > 0 {
		shown, _ := trim(strings.Join(names, ", "), formBytes/4, 0)
		w.say("Files: %s", shown)
	}
}

// endings are what the model has to know for its next call.
func (w *showing) endings() {
	for _, text := range w.out.Truncated {
		w.say("[%s]", text)
	}
	switch {
	case w.o.renewed:
		w.say("Note: this is a new session. The one before had ended (idle for too long, or ended from outside): its variables and files are gone.")
	case w.o.Session.Lost:
		w.say("Note: Python was restarted. Variables and imports of earlier calls are gone; files are kept.")
	}
}
