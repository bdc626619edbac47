package mcp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/executor"
)

// What of files is shown.
const (
	mostListed    = 500
	readBytes     = 32 << 10 // of a text that names no length
	mostReadBytes = 256 << 10
)

const (
	uploadDescription = `Write a file into the sandbox's workspace, where run_python finds it by the same path. Directories above it are made; a file that is there is replaced. Give the content as text, or as base64 for anything that is no text.`
	listDescription   = `List the files of the sandbox's workspace: those that were uploaded and those that code wrote.`
	readDescription   = `Read a file of the sandbox's workspace. Pictures (PNG, JPEG, GIF, WebP) come as images, text as text, in pieces when it is long (offset, length); anything else, and pictures that are too large, as a link to a resource that clients can fetch.`
)

type uploadInput struct {
	Path   string  `json:"path" jsonschema:"where in the workspace, relative to it, such as data/sales.csv"`
	Text   *string `json:"text,omitempty" jsonschema:"the content, if it is text"`
	Base64 *string `json:"base64,omitempty" jsonschema:"the content in base64, if it is not"`
}

// UploadOutput is the structured content of upload_file.
type UploadOutput struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	URI  string `json:"uri"`
}

type listInput struct {
	Directory string `json:"directory,omitempty" jsonschema:"only files below this directory of the workspace"`
}

// ListOutput is the structured content of list_files.
type ListOutput struct {
	Files []ListedFile `json:"files"`
	Whole bool         `json:"whole" jsonschema:"false when there are more files than are listed"`
	Total int          `json:"total" jsonschema:"how many there are, as far as they were counted"`
}

// ListedFile is a file of the workspace.
type ListedFile struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	Modified string `json:"modified"`
	URI      string `json:"uri"`
}

type readInput struct {
	Path   string `json:"path" jsonschema:"the file, relative to the workspace"`
	Offset int64  `json:"offset,omitempty" jsonschema:"the first byte of a text to read"`
	Length int64  `json:"length,omitempty" jsonschema:"how many bytes of a text to read"`
}

// ReadOutput is the structured content of read_file.
type ReadOutput struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"`
	MIMEType   string `json:"mime_type"`
	Kind       string `json:"kind" jsonschema:"text, image, or link: what the content is"`
	Offset     int64  `json:"offset"`
	NextOffset int64  `json:"next_offset,omitempty" jsonschema:"where the text goes on, when it does"`
	URI        string `json:"uri"`
}

func (s *Server) addFiles() {
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "upload_file", Title: "Upload a file", Description: uploadDescription,
		Annotations:  annotations{contained: true, again: true}.of(),
		OutputSchema: outputSchema[UploadOutput](),
	}, s.upload)
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "list_files", Title: "List files", Description: listDescription,
		Annotations:  annotations{readOnly: true}.of(),
		OutputSchema: outputSchema[ListOutput](),
	}, s.list)
	sdk.AddTool(s.sdk, &sdk.Tool{
		Name: "read_file", Title: "Read a file", Description: readDescription,
		Annotations:  annotations{readOnly: true}.of(),
		OutputSchema: outputSchema[ReadOutput](),
		InputSchema: inputSchema[readInput](func(p properties) {
			p.bounded("offset", 0, 1<<50)
			p.bounded("length", 0, mostReadBytes)
		}),
	}, s.read)
}

func (s *Server) upload(ctx context.Context, req *sdk.CallToolRequest, in uploadInput) (*sdk.CallToolResult, *UploadOutput, error) {
	var content []byte
	switch {
	case (in.Text == nil) == (in.Base64 == nil):
		return nil, nil, errors.New("give the content as text or as base64: one of the two")
	case in.Text != nil:
		content = []byte(*in.Text)
	default:
		var err error
		if content, err = decode(*in.Base64); err != nil {
			return nil, nil, fmt.Errorf("base64: %w", err)
		}
	}
	if most := s.options.Limits.UploadBytes; int64(len(content)) > most {
		return nil, nil, fmt.Errorf("the file has %d bytes, and one upload may have %d: upload it in pieces and join them with run_python", len(content), most)
	}
	name := inWorkspace(in.Path)
	if err := s.conversation(req.Session).box.PutFile(ctx, name, content); err != nil {
		return nil, nil, err
	}
	out := &UploadOutput{Path: name, Size: int64(len(content)), URI: fileURI(name)}
	return said("%s has been written (%d bytes).", name, out.Size), out, nil
}

// decode takes base64 with or without padding and line breaks.
func decode(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' || r == '=' {
			return -1
		}
		return r
	}, text)
	return base64.RawStdEncoding.DecodeString(text)
}

func (s *Server) list(ctx context.Context, req *sdk.CallToolRequest, in listInput) (*sdk.CallToolResult, *ListOutput, error) {
	files, whole, err := s.conversation(req.Session).box.Files(ctx)
	if err != nil {
		return nil, nil, err
	}
	if dir := inWorkspace(in.Directory); dir != "" && dir != "." {
		files = slices.DeleteFunc(files, func(f executor.FileInfo) bool { return !strings.HasPrefix(f.Path, dir+"/") })
	}
	out := &ListOutput{Files: []ListedFile{}, Whole: whole && len(files) <= mostListed, Total: len(files)}
	var lines []string
	for _, f := range files[:min(len(files), mostListed)] {
		name := shorten(f.Path)
		out.Files = append(out.Files, ListedFile{name, f.Size, f.Modified.Format(time.RFC3339), fileURI(f.Path)})
		lines = append(lines, fmt.Sprintf("%s (%d bytes)", name, f.Size))
	}
	if len(lines) == 0 {
		lines = []string{"There are no files."}
	}
	if !out.Whole {
		lines = append(lines, fmt.Sprintf("[not all are listed, of %d or more: name a directory]", len(files)))
	}
	text, _ := trim(strings.Join(lines, "\n"), headBytes, tailBytes)
	return said("%s", text), out, nil
}

func (s *Server) read(ctx context.Context, req *sdk.CallToolRequest, in readInput) (*sdk.CallToolResult, *ReadOutput, error) {
	name := inWorkspace(in.Path)
	f, err := s.conversation(req.Session).box.OpenFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("there is no file %q in the workspace: list_files lists those there are", shorten(name))
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	out := &ReadOutput{Path: name, Size: f.Size, Offset: in.Offset, URI: fileURI(name)}
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, err
	}
	out.MIMEType = mimeOf(name, head[:n])
	if isImage(out.MIMEType) && f.Size <= imageBytes {
		data, err := readPart(f, 0, f.Size)
		if err != nil {
			return nil, nil, err
		}
		out.Kind = "image"
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.ImageContent{Data: data, MIMEType: out.MIMEType}}}, out, nil
	}
	if isImage(out.MIMEType) || !isText(head[:n], int64(n) == f.Size) {
		return linked(out), out, nil
	}
	return readText(f, in, out)
}

// readText gives a piece of a text, cut between characters.
func readText(f *executor.File, in readInput, out *ReadOutput) (*sdk.CallToolResult, *ReadOutput, error) {
	if in.Offset > f.Size {
		return nil, nil, fmt.Errorf("offset %d is beyond the end: the file has %d bytes", in.Offset, f.Size)
	}
	length := in.Length
	if length == 0 {
		length = readBytes
	}
	data, err := readPart(f, in.Offset, min(length, f.Size-in.Offset))
	if err != nil {
		return nil, nil, err
	}
	if end := in.Offset + int64(len(data)); end < f.Size {
		for cut := 1; cut < utf8.UTFMax && cut < len(data); cut++ {
			if c := data[len(data)-cut]; utf8.RuneStart(c) {
				if !utf8.FullRune(data[len(data)-cut:]) {
					data = data[:len(data)-cut]
				}
				break
			}
		}
		out.NextOffset = in.Offset + int64(len(data))
	}
	out.Kind = "text"
	content := []sdk.Content{&sdk.TextContent{Text: strings.ToValidUTF8(string(data), "\uFFFD")}}
	if out.NextOffset > 0 {
		content = append(content, &sdk.TextContent{Text: fmt.Sprintf("[bytes %d to %d of %d: read on with offset %d, or look for what you need with run_python]",
			in.Offset, out.NextOffset, f.Size, out.NextOffset)}, fileLink(out))
	}
	return &sdk.CallToolResult{Content: content}, out, nil
}

// linked is the answer for what no model is shown.
func linked(out *ReadOutput) *sdk.CallToolResult {
	out.Kind = "link"
	return &sdk.CallToolResult{Content: []sdk.Content{
		&sdk.TextContent{Text: fmt.Sprintf("%s has %d bytes of type %s, which are not shown here: they can be read as the resource %s, or looked into with run_python.",
			out.Path, out.Size, out.MIMEType, out.URI)},
		fileLink(out),
	}}
}

func fileLink(out *ReadOutput) *sdk.ResourceLink {
	return &sdk.ResourceLink{URI: out.URI, Name: path.Base(out.Path), MIMEType: out.MIMEType, Size: &out.Size}
}

func readPart(f *executor.File, offset, length int64) ([]byte, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	data := make([]byte, length)
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // code made it shorter meanwhile
	}
	return data[:n], err
}

// mimeOf looks at the content, and for what is plain there at the name.
func mimeOf(name string, head []byte) string {
	kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
	if kind == "text/plain" || kind == "application/octet-stream" || kind == "text/xml" {
		if named := byName[strings.ToLower(path.Ext(name))]; named != "" {
			return named
		}
	}
	return kind
}

var byName = map[string]string{
	".csv": "text/csv", ".tsv": "text/tab-separated-values", ".json": "application/json", ".md": "text/markdown", ".py": "text/x-python",
	".html": "text/html", ".svg": "image/svg+xml", ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml",
	".parquet": "application/vnd.apache.parquet", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

// isText says whether the beginning of a file reads as text.
func isText(head []byte, all bool) bool {
	if !all {
		for cut := 1; cut < utf8.UTFMax && cut < len(head); cut++ {
			if utf8.RuneStart(head[len(head)-cut]) {
				if !utf8.FullRune(head[len(head)-cut:]) {
					head = head[:len(head)-cut]
				}
				break
			}
		}
	}
	return utf8.Valid(head) && !slices.Contains(head, 0)
}

// inWorkspace takes paths as code in the sandbox writes them.
func inWorkspace(name string) string {
	for _, prefix := range []string{"/workspace/", "./"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest
		}
	}
	if name == "/workspace" || name == "." {
		return ""
	}
	return strings.TrimSuffix(name, "/")
}

func said(format string, a ...any) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf(format, a...)}}}
}
