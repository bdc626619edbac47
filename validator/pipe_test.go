package validator

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a facts process that answers each frame with what answer returns, and
// hangs up where that is nil.
func fake(answer func(code []byte) []byte) Conn {
	host, cell := net.Pipe()
	go func() {
		defer func() { _ = cell.Close() }()
		for {
			var head [4]byte
			if _, err := io.ReadFull(cell, head[:]); err != nil {
				return
			}
			code := make([]byte, binary.LittleEndian.Uint32(head[:]))
			if _, err := io.ReadFull(cell, code); err != nil {
				return
			}
			reply := answer(code)
			if reply == nil {
				return
			}
			_, _ = cell.Write(reply)
		}
	}()
	return host
}

func frame(s string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)
}

const nothing = `{"done":true,"imports":[],"uses":[],"aliases":[]}`

func TestPipeFailures(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, answer := range map[string]func([]byte) []byte{
		"silence":   func([]byte) []byte { <-release; return nil },
		"hang-up":   func([]byte) []byte { return nil },
		"half":      func([]byte) []byte { return frame(nothing)[:20] },
		"too large": func([]byte) []byte { return binary.LittleEndian.AppendUint32(nil, MaxReply+1) },
		"nonsense":  func([]byte) []byte { return frame("{}") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipe := NewPipe(fake(answer))
			begun := time.Now()
			if _, err := pipe.Facts(t.Context(), []byte("x")); !errors.Is(err, ErrUnparsable) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %v", took)
			}
			if _, err := pipe.Facts(t.Context(), []byte("x")); !errors.Is(err, ErrLost) || errors.Is(err, ErrUnparsable) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestWaitingHonoursTheContext(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	pipe := NewPipe(fake(func([]byte) []byte { close(asked); <-release; return frame(nothing) }))
	defer func() { _ = pipe.Close() }()
	first := make(chan error)
	go func() { _, err := pipe.Facts(context.Background(), nil); first <- err }()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pipe.Facts(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the one that was not cancelled: %v", err)
	}
}

func TestCancelledQuestion(t *testing.T) {
	asked := make(chan struct{}, 1)
	pipe := NewPipe(fake(func([]byte) []byte { asked <- struct{}{}; select {} }))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	valid, issues, err := New(pipe).Validate(ctx, []byte("x"))
	if valid || issues != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v %v", valid, issues, err)
	}
}

func TestCloseEndsAQuestion(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := func([]byte) []byte { asked <- struct{}{}; select {} }
	pipe := NewPipe(fake(silent))
	go func() { <-asked; _ = pipe.Close() }()
	if _, err := pipe.Facts(t.Context(), []byte("x")); !errors.Is(err, ErrLost) {
		t.Errorf("pipe: %v", err)
	}
	// The empty source is the start.
	r := NewResident(func(context.Context) (Conn, error) {
		return fake(func(code []byte) []byte {
			if len(code) == 0 {
				return frame(nothing)
			}
			return silent(code)
		}), nil
	})
	go func() { <-asked; _ = r.Close() }()
	if _, err := r.Facts(t.Context(), []byte("x")); !errors.Is(err, ErrLost) {
		t.Errorf("resident: %v", err)
	}
	if err := r.Warm(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("after Close: %v", err)
	}
}

// TestResidentStartsAnother: a source that kills a process is tried on a fresh
// one, once; the next source gets an answer.
func TestResidentStartsAnother(t *testing.T) {
	starts, asked := 0, 0
	r := NewResident(func(context.Context) (Conn, error) {
		starts++
		tired := 0
		return fake(func(code []byte) []byte {
			switch {
			case len(code) > 0:
				asked++
				tired++
			}
			if string(code) == "kill" || tired == 3 { // an earlier source wore it out
				return nil
			}
			return frame(nothing)
		}), nil
	})
	defer func() { _ = r.Close() }()
	v := New(r)
	for n, step := range []struct {
		code          string
		valid         bool
		starts, asked int
	}{
		{"a", true, 1, 1},
		{"b", true, 1, 2},
		{"c", true, 2, 4},     // killed the first, which was worn out; fine on the second
		{"kill", false, 3, 6}, // twice
		{"kill", false, 4, 7}, // of a fresh process once is enough
		{"d", true, 5, 8},
	} {
		valid, issues, err := v.Validate(t.Context(), []byte(step.code))
		if err != nil || valid != step.valid || starts != step.starts || asked != step.asked {
			t.Errorf("step %d: %v %v %v, %d starts, %d asked", n, valid, issues, err, starts, asked)
		}
		if !valid && issues[0].Message != "Cannot be parsed: the parser crashed" {
			t.Errorf("step %d: %v", n, issues)
		}
	}
}

func TestResidentThatDoesNotStart(t *testing.T) {
	boom := errors.New("no cell")
	for name, start := range map[string]func(context.Context) (Conn, error){
		"error": func(context.Context) (Conn, error) { return nil, boom },
		"dies":  func(context.Context) (Conn, error) { return fake(func([]byte) []byte { return nil }), nil },
	} {
		valid, issues, err := New(NewResident(start)).Validate(t.Context(), []byte("x"))
		if valid || issues != nil || err == nil || errors.Is(err, ErrUnparsable) || !strings.Contains(err.Error(), "cannot start the parser") {
			t.Errorf("%s: %v %v %v", name, valid, issues, err)
		}
		if name == "error" && !errors.Is(err, boom) {
			t.Errorf("%v does not wrap the cause", err)
		}
	}
}

func TestTooLargeIsNotSent(t *testing.T) {
	v := New(NewResident(func(context.Context) (Conn, error) { t.Error("started"); return nil, io.EOF }))
	valid, issues, err := v.Validate(t.Context(), make([]byte, MaxSource+1))
	if valid || err != nil || len(issues) != 1 || issues[0].Kind != KindUnparsable {
		t.Errorf("%v %v %v", valid, issues, err)
	}
}

// TestList: the list and its methods, in use by many.
func TestList(t *testing.T) {
	p := pythons(t)[0]
	r, _ := resident(t, p, 8192)
	v := New(r)
	if !slices.Equal(v.Blocked(), []string{"socket", "subprocess", "os.system", "eval", "exec", "__import__", "importlib", "shutil.rmtree", "pickle"}) {
		t.Error(v.Blocked())
	}
	for name, want := range map[string]bool{
		"socket": true, "socket.x": true, "sockets": false, "os": false, "os.system": true, "os.systems": false,
		"eval": true, "builtins.eval": true, "requests": false, "": false, "shutil": false, "importlib.util": true,
	} {
		if v.IsBlocked(name) != want {
			t.Errorf("IsBlocked(%q) is %v", name, !want)
		}
	}
	code := []byte("import requests, socket\nrequests.get('x')\nopen('x')\nimport a.b.c\na.b.c.d()")
	check := func(want string) {
		t.Helper()
		if _, issues, err := v.Validate(t.Context(), code); err != nil || short(issues) != want {
			t.Errorf("got %s, %v, want %s", short(issues), err, want)
		}
	}
	check("1:1 import socket")
	v.AddBlockedImport("requests.get")
	v.AddBlockedImport(" open ")
	v.AddBlockedImport("a.b.c.d")
	v.AddBlockedImport("a.b.c.d")
	v.AddBlockedImport("")
	check("1:1 import socket, 2:1 call requests.get, 3:1 call open, 5:1 call a.b.c.d")
	for _, name := range []string{"socket", "open", "a.b.c.d", "never there"} {
		v.RemoveBlockedImport(name)
	}
	check("2:1 call requests.get")
	if v.IsBlocked("socket") || !v.IsBlocked("requests.get") || v.IsBlocked("requests") {
		t.Error("the list is wrong")
	}
	if !New(r).IsBlocked("socket") || !slices.Contains(DefaultBlocked, "socket") {
		t.Error("one Validator's list changed another's")
	}
	if got := New(r, WithBlocked("x", "y")).Blocked(); !slices.Equal(got, []string{"x", "y"}) {
		t.Error(got)
	}

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				v.AddBlockedImport("z")
				if valid, issues, err := v.Validate(t.Context(), []byte("eval(1)")); valid || len(issues) != 1 || err != nil {
					t.Errorf("%v %v %v", valid, issues, err)
				}
				v.RemoveBlockedImport("z")
			}
		})
	}
	wg.Wait()
}

// TestProtocolOfTheProcess: frames in pieces, the end of the stream, a length
// that the host would never send.
func TestProtocolOfTheProcess(t *testing.T) {
	for _, p := range pythons(t) {
		conn, err := startFacts(p, 8192)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		for _, b := range append(frame("import os"), frame("")...) {
			_, _ = conn.Write([]byte{b})
		}
		for range 2 {
			var head [4]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, binary.LittleEndian.Uint32(head[:]))
			if _, err := io.ReadFull(conn, answer); err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeFacts(answer); err != nil {
				t.Error(err)
			}
		}
		_ = conn.Conn.(*net.UnixConn).CloseWrite()
		if err := conn.cmd.Wait(); err != nil {
			t.Errorf("%v: at the end of the stream: %v", p, err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, p := range pythons(b) {
		b.Run(p.String(), func(b *testing.B) {
			r, _ := resident(b, p, 8192)
			v := New(r)
			for b.Loop() {
				if valid, issues, err := v.Validate(b.Context(), []byte(sample)); !valid || err != nil {
					b.Fatal(issues, err)
				}
			}
		})
	}
}

func BenchmarkStart(b *testing.B) {
	for _, p := range pythons(b)[:1] {
		for b.Loop() {
			r, _ := resident(b, p, 8192)
			if err := r.Warm(b.Context()); err != nil {
				b.Fatal(err)
			}
			_ = r.Close()
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	r, _ := resident(b, pythons(b)[0], 8192)
	facts, err := r.Facts(b.Context(), []byte(sample))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Judge(facts, DefaultBlocked)
	}
}
