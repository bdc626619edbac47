package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cellblock/cellblock/executor"
)

// execute runs requests one after another, in one session when there are
// several, and returns the exit status: that of the first which failed.
func (a *app) execute(cfg executor.Config, requests []executor.Request, sink *resultSink, bar *progress) (status int, err error) {
	ctx, cancel, stop := untilSignal()
	defer stop()
	ex, err := executor.New(cfg)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := ex.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("cannot end the cell: %w", closeErr)
		}
	}()
	run := ex.Execute
	if len(requests) > 1 {
		session, err := ex.NewSession(ctx, executor.SessionOptions{Dirs: requests[0].Dirs})
		if err != nil {
			return 0, because(ctx, err)
		}
		run = session.Execute
	}
	for i, r := range requests {
		if len(requests) > 1 {
			r.Dirs = nil // the session has them
		}
		if !sink.json {
			r.Stdout, r.Stderr = passOn(a.Out, bar, cancel), passOn(a.Err, bar, cancel)
		}
		result, err := run(ctx, r)
		bar.finish()
		if err != nil {
			return status, because(ctx, err)
		}
		if err := sink.write(result); err != nil {
			return status, err
		}
		if r.Collect != "" {
			paths, err := savePictures(r.Collect, result.Results)
			if err != nil {
				return status, err
			}
			for _, path := range paths {
				if !sink.json {
					fmt.Fprintf(a.Err, "cellblock: saved %s\n", OneLine(path))
				}
			}
		}
		if !sink.json {
			a.explain(r, result, i+1 < len(requests))
		}
		if status == 0 {
			status = exitStatus(result)
		}
	}
	return status, because(ctx, ctx.Err())
}

// passOn writes the program's output through as it comes. When that fails, the
// cell is ended: nobody reads it any more.
func passOn(w io.Writer, bar *progress, cancel context.CancelCauseFunc) func([]byte) {
	return func(b []byte) {
		bar.finish()
		if w == nil {
			return
		}
		if _, err := w.Write(b); err != nil {
			w = nil
			cancel(writeFailed(fmt.Errorf("cannot pass on the program's output: %w", err)))
		}
	}
}

// explain says on standard error why an execution failed: a traceback as
// Python prints it, and what is Cellblock's to say in lines of its own.
func (a *app) explain(r executor.Request, result executor.Result, more bool) {
	message := ""
	if result.Error != nil {
		message = *result.Error
	}
	switch result.Verdict {
	case executor.VerdictOK:
		return
	case executor.VerdictExit: // the program has said what it wanted to say
	case executor.VerdictError, executor.VerdictSyntaxError:
		io.WriteString(a.Err, withNewline(message))
	case executor.VerdictRefused:
		name := r.Filename
		if name == "" {
			name = r.Module
		}
		for _, issue := range result.Issues {
			fmt.Fprintln(a.Err, issueLine(name, issue))
		}
		fmt.Fprintln(a.Err, "cellblock: refused by the validator; nothing was run")
	default:
		fmt.Fprintf(a.Err, "cellblock: %s\n", OneLine(sentence(message)))
	}
	if result.Hint != "" {
		fmt.Fprintf(a.Err, "cellblock: hint: %s\n", OneLine(result.Hint))
	}
	if result.Session.Lost && more {
		fmt.Fprintln(a.Err, "cellblock: the session's variables are lost; its files are kept")
	}
}

func withNewline(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

// sentence begins a message in lower case, but for what is an abbreviation.
func sentence(s string) string {
	if len(s) > 1 && 'A' <= s[0] && s[0] <= 'Z' && 'a' <= s[1] && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// resultSink is where results go beside, or instead of, the output.
type resultSink struct {
	json bool
	out  io.Writer
	file *os.File
}

func (s *resultSink) write(r executor.Result) error {
	if s.json {
		if err := writeJSON(s.out, r); err != nil {
			return writeFailed(fmt.Errorf("cannot print the result: %w", err))
		}
	}
	if s.file != nil {
		if err := writeJSON(s.file, r); err != nil {
			return fmt.Errorf("cannot write the result: %w", err)
		}
	}
	return nil
}

func (s *resultSink) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// writeJSON writes v as one line.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
