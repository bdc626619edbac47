package handover

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/cellblock/cellblock/internal/sys"
)

// What is packed comes out, in its order, once; and lives in the box alone meanwhile.
func TestBox(t *testing.T) {
	var load Load
	defer load.Close()
	const pipes = 1000
	var ends []*os.File
	for i := range pipes {
		r, w, err := sys.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		n, err := load.Add(w)
		if err != nil || n != i {
			t.Fatalf("descriptor %d is number %d: %v", i, n, err)
		}
		w.Close()
		ends = append(ends, r)
	}
	if n, err := load.Add(nil); n != None || err != nil {
		t.Errorf("no file is number %d, %v", n, err)
	}
	state := bytes.Repeat([]byte("state"), 100_000)
	box, err := Pack(state, &load)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	load.Close()
	got, a, err := Unpack(box)
	if err != nil || !bytes.Equal(got, state) {
		t.Fatalf("a state of %d bytes came as %d: %v", len(state), len(got), err)
	}
	defer a.Close()
	for i, r := range ends {
		w, err := a.Take(i)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte{byte(i)})
		w.Close()
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, []byte{byte(i)}) {
			t.Fatalf("pipe %d gave %v, %v", i, b, err)
		}
		r.Close()
	}
	for _, n := range []int{0, -2, pipes} {
		if _, err := a.Take(n); err == nil {
			t.Errorf("descriptor %d was given", n)
		}
	}
	if f, err := a.Take(None); f != nil || err != nil {
		t.Errorf("no descriptor was %v, %v", f, err)
	}
	if _, _, err := Unpack(box); err == nil {
		t.Error("a box was unpacked twice")
	}
}

// A box that is dropped takes all that is in it along.
func TestBoxThatIsDropped(t *testing.T) {
	var load Load
	ours, theirs, err := sys.Pair(5) // SOCK_SEQPACKET
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if _, err := load.Add(ours); err != nil {
		t.Fatal(err)
	}
	box, err := Pack([]byte("{}"), &load)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	load.Close()
	box.Close()
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the other end of a lifeline read %d bytes, %v", n, err)
	}
}

// What is no box, or only a part of one, is not taken.
func TestWhatIsNoBox(t *testing.T) {
	for name, messages := range map[string][][]byte{
		"nothing":        nil,
		"no descriptors": {{1, 0, 0, 0}},
		"a short head":   {{1}},
	} {
		in, box, err := sys.Pair(5)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			in.Write(m)
		}
		if _, _, err := Unpack(box); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		in.Close()
		box.Close()
	}
	// Memory that somebody can still change.
	in, box, err := sys.Pair(5)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer box.Close()
	f, err := os.Create(t.TempDir() + "/open")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := put(in, []byte{0, 0, 0, 0}, []int{int(f.Fd())}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Unpack(box); err == nil {
		t.Error("a state that is not sealed was taken")
	}
}

// What is taken back is closed, and the rest is where it was.
func TestBack(t *testing.T) {
	var load Load
	defer load.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := load.Add(r); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := load.Add(w); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	load.Back(1)
	w.Close() // the only one of its end by now
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if n, err := load.Add(r); n != 1 || err != nil || load.Len() != 2 {
		t.Errorf("the next is number %d of %d: %v", n, load.Len(), err)
	}
}
