package repl

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestEncodeRequest(t *testing.T) {
	frame, err := encodeRequest(7, Request{Code: "x", Argv: []string{"", "a"}, Script: true, Stdin: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	want := "35000000" + "01000000" + "81000000" + "0700000000000000" +
		"01000000" + "09000000" + "00000000" + "03000000" + "00000000" + "00000000" +
		fmt.Sprintf("%x", "xscript.py\x00a\x00")
	if got := fmt.Sprintf("%x", frame); got != want {
		t.Errorf("frame\n%s\nwant\n%s", got, want)
	}
	for _, r := range []Request{{Argv: []string{"a\x00"}}, {Env: []string{"A=\x00"}}, {Filename: "a\x00"}, {Code: strings.Repeat("x", MaxRequest)}} {
		if _, err := encodeRequest(1, r); err == nil {
			t.Errorf("%.40q was encoded", fmt.Sprint(r))
		}
	}
}

func TestDecodeClaims(t *testing.T) {
	for _, data := range []string{
		``, `{`, `[]`, `null x`, `{"status":5}`, `{"exit":1e99}`, `{"namespace":[]}`, `{"namespace":{"a":{"shape":[1.5]}}}`,
		strings.Repeat("[", 100), `{"names":[` + strings.Repeat(`"",`, maxValues) + `""]}`, `"` + strings.Repeat(`\`, 99),
		`{"namespace":{"a":{"type":"x","shape":[99999999999999999999]}}}`,
	} {
		if _, err := decodeClaims([]byte(data)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%.60q: %v", data, err)
		}
	}
	for _, data := range []string{
		`null`, `{}`, `{"status":"done"}`, `{"status":"exit","exit":-1}`, `{"status":"exit","exit":256}`, `{"status":"error"}`,
	} {
		c, err := decodeClaims([]byte(data))
		if err == nil {
			_, err = c.reply()
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", data, err)
		}
	}
	c, err := decodeClaims([]byte("{\"status\":\"ok\",\"value\":\"a\xff\\ud800[{,\\\"\"}"))
	if err != nil || *c.Value != "a\ufffd\ufffd[{,\"" {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzReply: whatever the cell sends is decoded into something bounded, or is
// an error.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"status":"ok","value":"5","namespace":{"x":{"type":"int","value":"5"},"d":{"type":"dict","keys":["a"]}}}`))
	f.Add([]byte(`{"status":"error","exception":{"name":"E","value":"\ud800","traceback":"T\n","line":-3}}`))
	f.Add([]byte(`{"status":"exit","exit":3,"exception":{"name":"SystemExit"}}`))
	f.Add([]byte(`{"pid":1,"version":"3.11.2"}`))
	f.Add([]byte(`{"a":"` + "\xff\\" + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeClaims(data)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		r, err := c.reply()
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if r.ExitCode < 0 || r.ExitCode > 255 || r.Exception != nil && r.Exception.Line < 0 {
			t.Errorf("%+v", r)
		}
		for name, v := range r.Namespace {
			if !utf8.ValidString(name + v.Type + strings.Join(v.Keys, "")) {
				t.Errorf("invalid UTF-8 in %q", name)
			}
		}
	})
}

// FuzzFrames: the bytes of the channel, in any pieces.
func FuzzFrames(f *testing.F) {
	ok := []byte(`{"status":"ok"}`)
	frame := binary.LittleEndian.AppendUint32(nil, uint32(seqSize+len(ok)))
	frame = append(binary.LittleEndian.AppendUint64(frame, 9), ok...)
	f.Add(frame, 1)
	f.Add(append(bytes.Clone(frame), frame...), 5)
	f.Add([]byte{255, 255, 255, 255}, 4)
	f.Add([]byte{0, 0, 0, 0}, 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		c := &Conn{seq: 9}
		for len(data) > 0 {
			n := min(piece, len(data))
			c.buf = append(c.buf, data[:n]...)
			data = data[n:]
			got, err := c.next()
			if err != nil {
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("untyped error %v", err)
				}
				return
			}
			if len(got) > MaxReply {
				t.Errorf("a frame of %d bytes", len(got))
			}
		}
	})
}

// TestVariableMatchesResult holds the JSON that the executor's result has.
func TestVariableMatchesResult(t *testing.T) {
	got, _ := json.Marshal(Variable{Type: "int"})
	if string(got) != `{"type":"int"}` {
		t.Errorf("%s", got)
	}
}

// FuzzConn: a cell that writes anything at any time, and then is silent, costs
// its own session only.
func FuzzConn(f *testing.F) {
	hello := append(make([]byte, 8), `{"pid":1,"version":"3.11.2"}`...)
	hello = append(binary.LittleEndian.AppendUint32(nil, uint32(len(hello))), hello...)
	f.Add(hello, []byte{})
	f.Add(hello, hello)
	f.Add(hello[:7], []byte("x"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c, cell := socketpair(t)
		defer c.Close()
		theirs, err := net.FileConn(cell)
		cell.Close()
		if err != nil {
			t.Fatal(err)
		}
		go func() { // what the cell does
			theirs.Write(first)
			theirs.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
			theirs.Read(make([]byte, 1<<10))
			theirs.Write(second)
			theirs.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = c.Ready(ctx)
		if err == nil {
			_, err = c.Exec(ctx, Request{Code: "pass"})
		}
		if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrClosed) {
			t.Fatalf("untyped error %v", err)
		}
		if _, again := c.Exec(ctx, Request{}); again != err {
			t.Fatalf("%v after %v", again, err)
		}
	})
}
