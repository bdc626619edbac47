package e2b

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/internal/api"
)

// failure is an answer of this protocol that is no success.
type failure struct {
	status  int
	code    string // of Connect's codes; "": by the status
	message string
}

func (f *failure) Error() string { return f.message }

func failed(status int, format string, a ...any) *failure {
	return &failure{status: status, message: fmt.Sprintf(format, a...)}
}

func invalid(format string, a ...any) *failure { return failed(http.StatusBadRequest, format, a...) }

// unsupported is for what E2B has and cells have not.
func unsupported(format string, a ...any) *failure {
	return failed(http.StatusNotImplemented, format, a...)
}

// gone is what the SDK takes for a sandbox that has timed out or was killed.
func gone(id string) *failure {
	return failed(http.StatusBadGateway, "The sandbox %q was not found: it has ended, or its time is over", shorten(id))
}

// codes are Connect's, by HTTP status.
var codes = map[int]string{
	http.StatusBadRequest: "invalid_argument", http.StatusUnauthorized: "unauthenticated", http.StatusForbidden: "permission_denied",
	http.StatusNotFound: "not_found", http.StatusConflict: "already_exists", http.StatusRequestEntityTooLarge: "resource_exhausted",
	http.StatusTooManyRequests: "resource_exhausted", http.StatusInsufficientStorage: "resource_exhausted",
	http.StatusNotImplemented: "unimplemented", http.StatusBadGateway: "unavailable", http.StatusServiceUnavailable: "unavailable",
	http.StatusGatewayTimeout: "deadline_exceeded",
}

// failureOf says an error of the service in the words of this protocol.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	p := api.ProblemOf(err)
	f = failed(p.Status, "%s", p.Detail)
	if p.Kind == api.KindLost || p.Kind == api.KindExpired {
		f.status = http.StatusBadGateway
	}
	return f
}

// fail answers with an error: text where the SDK shows no more than that, or
// else a JSON object, whose code is a word for Connect and a number otherwise.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	p := api.ProblemOf(err)
	if p.Kind == api.KindTooLarge && r.URL.Path == "/files" {
		f.status = http.StatusInsufficientStorage // a file has no place in its workspace
	}
	if p.Kind == api.KindInternal && f.status != http.StatusInternalServerError {
		p = &api.Problem{Status: f.status, Kind: api.KindInvalid, Detail: f.message}
	}
	api.Note(r.Context(), p)
	if after := p.RetryAfter(); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	if isText(r.URL.Path) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(f.status)
		io.WriteString(w, f.message)
		return
	}
	var code any = f.status
	if isRPC(r.URL.Path) {
		if f.code == "" {
			f.code = codes[f.status]
		}
		if f.code == "" {
			f.code = "internal"
		}
		code = f.code
		if strings.HasPrefix(r.Header.Get("Content-Type"), streamType) {
			endStream(w, f)
			return
		}
	}
	writeJSON(w, f.status, map[string]any{"code": code, "message": f.message})
}

// streamType begins the media types of Connect's calls whose answer is a stream.
const streamType = "application/connect+"

// endStream answers such a call with an error: one message, with the flag that
// ends a stream, and its length before it.
func endStream(w http.ResponseWriter, f *failure) {
	text, err := json.Marshal(map[string]any{"error": map[string]string{"code": f.code, "message": f.message}})
	if err != nil {
		text = []byte(`{"error":{"code":"internal"}}`)
	}
	w.Header().Set("Content-Type", streamType+"json")
	w.WriteHeader(http.StatusOK)
	w.Write(append(binary.BigEndian.AppendUint32([]byte{2}, uint32(len(text))), text...))
}

func isText(path string) bool {
	return path == "/execute" || path == "/contexts" || strings.HasPrefix(path, "/contexts/")
}

func isRPC(path string) bool {
	service, _, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return ok && strings.Contains(service, ".")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"code":500,"message":"the service failed"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// readJSON reads a body, which the door has bounded; none is an empty object.
func readJSON(r *http.Request, into any) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return invalid("the body is no JSON of this call: %v", err)
	}
	return nil
}
