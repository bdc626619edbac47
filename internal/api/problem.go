package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// Kind is what went wrong, one of a closed set. Clients branch on it.
type Kind string

// The kinds, each with its one HTTP status.
const (
	KindInvalid      Kind = "invalid"      // the request makes no sense; nothing was run
	KindUnauthorized Kind = "unauthorized" // no token, or a wrong one
	KindForbidden    Kind = "forbidden"    // the caller is known, and may not
	KindNotFound     Kind = "not-found"
	KindBusy         Kind = "busy"      // it exists already, or too many wait for it
	KindExpired      Kind = "expired"   // the session was idle for too long and was ended
	KindLost         Kind = "lost"      // the session ended under the call
	KindTooLarge     Kind = "too-large" // a body, or a file for its workspace
	KindExhausted    Kind = "exhausted" // a quota or the machine is used up: try again later
	KindInternal     Kind = "internal"
	KindUnsupported  Kind = "unsupported" // this machine cannot do it
	KindUnavailable  Kind = "unavailable" // the service is starting or ending
	KindTimedOut     Kind = "timed-out"   // the client, or a part of the service, took too long
)

var kinds = map[Kind]struct {
	status int
	title  string
}{
	KindInvalid:      {http.StatusBadRequest, "The request is invalid"},
	KindUnauthorized: {http.StatusUnauthorized, "Authentication is needed"},
	KindForbidden:    {http.StatusForbidden, "This is not allowed"},
	KindNotFound:     {http.StatusNotFound, "There is no such thing"},
	KindBusy:         {http.StatusConflict, "It is in use"},
	KindExpired:      {http.StatusGone, "The session has expired"},
	KindLost:         {http.StatusGone, "The session was lost"},
	KindTooLarge:     {http.StatusRequestEntityTooLarge, "It is too large"},
	KindExhausted:    {http.StatusTooManyRequests, "A limit is reached"},
	KindInternal:     {http.StatusInternalServerError, "The service failed"},
	KindUnsupported:  {http.StatusNotImplemented, "This machine cannot do it"},
	KindUnavailable:  {http.StatusServiceUnavailable, "The service is not available"},
	KindTimedOut:     {http.StatusGatewayTimeout, "It took too long"},
}

// Problem is an RFC 9457 problem detail; an error of this package.
type Problem struct {
	Type     string        `json:"type" doc:"urn:cellblock:problem:<kind>"`
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail,omitempty"`
	Instance string        `json:"instance,omitempty" doc:"urn:cellblock:request:<id>, as in the service's log."`
	Kind     Kind          `json:"kind" enum:"invalid,unauthorized,forbidden,not-found,busy,expired,lost,too-large,exhausted,internal,unsupported,unavailable,timed-out"`
	Errors   []FieldError  `json:"errors,omitempty" doc:"What is wrong in the request, field by field."`
	after    time.Duration // Retry-After
	cause    error         // for the log
}

// FieldError is one thing that is wrong in a request.
type FieldError struct {
	Location string `json:"location,omitempty"`
	Message  string `json:"message"`
}

func problem(k Kind, format string, a ...any) *Problem {
	of := kinds[k]
	return &Problem{Type: "urn:cellblock:problem:" + string(k), Title: of.title, Status: of.status, Kind: k, Detail: fmt.Sprintf(format, a...)}
}

// retry says when trying again makes sense.
func (p *Problem) retry(after time.Duration) *Problem {
	p.after = after
	return p
}

func (p *Problem) Error() string { return p.Detail }

func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.after.Seconds()))))
	}
	if p.Kind == KindUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="cellblock"`)
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problemOf maps every error that package executor gives to a kind.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	p = classify(err)
	p.cause = err
	return p
}

func classify(err error) *Problem {
	var invalid *executor.InvalidError
	var missing *nsjail.MissingError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, warden.ErrDetach):
		return problem(KindUnavailable, "%v, from GET /v1/sessions/{id}/result", warden.ErrDetach).retry(5 * time.Second)
	case errors.Is(err, warden.ErrRestarting), errors.Is(err, warden.ErrAway):
		return problem(KindUnavailable, "%v", err).retry(5 * time.Second)
	case errors.Is(err, warden.ErrNoResult):
		return problem(KindNotFound, "%v", err)
	case errors.Is(err, warden.ErrExhausted):
		return problem(KindExhausted, "%v", err).retry(retryAfter)
	case errors.As(err, &invalid):
		return problem(KindInvalid, "%v", err)
	case errors.As(err, &tooLarge):
		return problem(KindTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, rootfs.ErrNotFound), errors.Is(err, rootfs.ErrSpec):
		return problem(KindInvalid, "%v", err)
	case errors.Is(err, executor.ErrWorkspaceFull):
		return problem(KindTooLarge, "%v", err)
	case errors.Is(err, fs.ErrNotExist):
		return problem(KindNotFound, "%v", err)
	case errors.Is(err, executor.ErrClosed), errors.Is(err, nsjail.ErrClosed):
		return problem(KindLost, "the session ended meanwhile")
	case errors.As(err, &missing):
		return problem(KindUnsupported, "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return problem(KindTimedOut, "it took too long")
	case errors.Is(err, context.Canceled):
		return problem(KindTimedOut, "the client went away")
	case errors.Is(err, nsjail.ErrExhausted), isShortage(err):
		return problem(KindExhausted, "the machine has no room for it now: %v", err).retry(5 * time.Second)
	}
	return problem(KindInternal, "the service failed; its log says more")
}

// isShortage says whether the kernel lacked something that comes back.
func isShortage(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EAGAIN, syscall.EDQUOT, syscall.EUSERS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// problems makes huma speak of its findings in the same form. What it found
// wrong is told without the value, which may be large.
func problems() {
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		p := problemOf(huma.NewError(status, message, errs...))
		note(ctx.Context(), p)
		return p
	}
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		kind := KindInternal
		switch status {
		case http.StatusRequestEntityTooLarge:
			kind = KindTooLarge
		case http.StatusRequestTimeout:
			kind = KindTimedOut
		case http.StatusNotFound:
			kind = KindNotFound
		default:
			if status >= 400 && status < 500 {
				kind = KindInvalid
			}
		}
		if message == "cannot read request body" {
			kind = KindInvalid // it was cut: the client's doing
		}
		p := problem(kind, "%s", message)
		if status == http.StatusUnsupportedMediaType {
			p.Status = status
		}
		for _, err := range errs {
			var own *Problem
			var tooLarge *http.MaxBytesError
			if errors.As(err, &own) || errors.As(err, &tooLarge) {
				return problemOf(err)
			}
			var d huma.ErrorDetailer
			if errors.As(err, &d) {
				detail := d.ErrorDetail()
				p.Errors = append(p.Errors, FieldError{detail.Location, detail.Message})
			} else if err != nil {
				p.Errors = append(p.Errors, FieldError{"", err.Error()})
			}
		}
		for i, e := range p.Errors {
			if i == 3 {
				p.Detail += "; …"
				break
			}
			p.Detail += "; " + strings.TrimLeft(strings.TrimPrefix(e.Location, "body")+": ", ".: ") + e.Message
		}
		return p
	}
}
