package mcp

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cellblock/cellblock/executor"
)

// What is kept of results, to be read as resources: the last ones of each
// conversation, up to a size, and of all conversations of a server together.
const (
	mostKept       = 32
	mostKeptBytes  = 16 << 20
	mostKeptOfAll  = 64 << 20
	mostReadAtOnce = 4 // resources, which travel whole
)

// keptResults are the streams and forms of the last executions, by their URI.
type keptResults struct {
	list  []keptResult // the oldest first
	bytes int
	all   *atomic.Int64 // of all conversations
}

type keptResult struct {
	number int
	parts  map[string]part
	bytes  int
}

// part is one thing that can be read.
type part struct {
	mime string
	text string
	data []byte // instead of text
}

func (p part) size() int { return len(p.text) + len(p.data) }

// add keeps what is larger, or other, than what the answer to a call shows.
func (k *keptResults) add(number int, r executor.Result) {
	kept := keptResult{number: number, parts: map[string]part{}}
	put := func(uri string, p part) {
		if k.room(kept.bytes + p.size()) {
			kept.parts[uri] = p
			kept.bytes += p.size()
		}
	}
	for i, b := range r.Results {
		for mime, form := range b.Data {
			put(resultURI(number, i, mime), formPart(mime, form))
		}
	}
	if len(r.Output) > headBytes+tailBytes {
		put(streamURI(number, "stdout"), part{mime: "text/plain", text: r.Output})
	}
	if len(r.Stderr) > stderrBytes {
		put(streamURI(number, "stderr"), part{mime: "text/plain", text: r.Stderr})
	}
	k.list = append(k.list, kept)
	k.count(kept.bytes)
	if len(k.list) > mostKept {
		k.drop()
	}
}

// room makes room for n bytes at the cost of older results, if there can be.
func (k *keptResults) room(n int) bool {
	for n > mostKeptBytes-k.bytes || int64(n) > mostKeptOfAll-k.all.Load() {
		if len(k.list) == 0 {
			return false
		}
		k.drop()
	}
	return true
}

func (k *keptResults) count(n int) {
	k.bytes += n
	k.all.Add(int64(n))
}

// drop forgets the oldest.
func (k *keptResults) drop() {
	k.count(-k.list[0].bytes)
	k.list = k.list[1:]
}

// clear forgets all.
func (k *keptResults) clear() {
	for len(k.list) > 0 {
		k.drop()
	}
}

func (k *keptResults) find(uri string) (part, bool) {
	for _, r := range k.list {
		if p, ok := r.parts[uri]; ok {
			return p, true
		}
	}
	return part{}, false
}

// formPart is one form of a bundle: bytes where it is base64 of some.
func formPart(mime, form string) part {
	if isBase64(mime) {
		if data, err := base64.StdEncoding.DecodeString(form); err == nil {
			return part{mime: mime, data: data}
		}
	}
	return part{mime: mime, text: form}
}

// isBase64: see executor.MIMEData.
func isBase64(mime string) bool {
	return mime == "application/pdf" || strings.HasPrefix(mime, "image/") && mime != "image/svg+xml"
}

func resultURI(number, i int, mime string) string {
	return fmt.Sprintf("%sresults/%d/%d/%s", scheme, number, i, mime)
}

func streamURI(number int, name string) string {
	return fmt.Sprintf("%sresults/%d/%s", scheme, number, name)
}
