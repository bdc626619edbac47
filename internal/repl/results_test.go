package repl

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// said writes results in one line: the kind, then each form.
func said(results []Bundle) string {
	var b strings.Builder
	for i, r := range results {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(r.Kind)
		for _, mime := range slices.Sorted(maps.Keys(r.Data)) {
			fmt.Fprintf(&b, " %s=%.60s", mime, r.Data[mime])
		}
		for _, mime := range r.Dropped {
			fmt.Fprintf(&b, " -%s", mime)
		}
	}
	return b.String()
}

const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// resultsTable: what the results of each piece of code are, without figures
// and frames, whose libraries are not on every interpreter's path.
var resultsTable = []struct {
	name, code, want, stdout string
	own                      bool // in a process of its own
}{
	{name: "a plain value", code: "5"},
	{name: "no value", code: "x = 5"},
	{name: "html", code: "class H:\n    def _repr_html_(self): return '<b>ü</b>'\nH()", want: "value text/html=<b>ü</b>"},
	{name: "every method", code: "class A:\n    def _repr_html_(self): return 'h'\n    def _repr_markdown_(self): return 'm'\n    def _repr_latex_(self): return 'l'\n    def _repr_svg_(self): return '<svg/>'\n    def _repr_json_(self): return {'a': [1, None]}\n    def _repr_pdf_(self): return b'%PDF-1'\nA()", want: `value application/json={"a": [1, null]} application/pdf=JVBERi0x image/svg+xml=<svg/> text/html=h text/latex=l text/markdown=m`},
	{name: "bytes are base64", code: "import base64\npng = base64.b64decode('" + onePixel + "')\nclass P:\n    def _repr_png_(self): return png\nP()", want: "value image/png=" + onePixel[:60]},
	{name: "text of an image is base64", code: "class P:\n    def _repr_png_(self): return '" + onePixel[:40] + "\\n" + onePixel[40:] + "\\n'\nP()", want: "value image/png=" + onePixel[:60]},
	{name: "a bundle", code: "class B:\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/html': 'h', 'x/y': 'no'}, {'meta': 1}\nB()", want: "value text/html=h"},
	{name: "a method that gives nothing", code: "class N:\n    def _repr_html_(self): return None\nN()"},
	{name: "a class is no object of itself", code: "class C:\n    def _repr_html_(self): return 'h'\nC"},
	{name: "display", code: "display(1, 'a')\ndisplay()\n2", want: "display text/plain=1; display text/plain='a'; value"},
	{name: "displays before an exception", code: "display(1)\n1/0", want: "display text/plain=1"},
	{name: "displays before an exit", code: "display(1)\nexit(3)", want: "display text/plain=1"},
	{name: "raw", code: "display({'text/html': '<i>', 'text/plain': 'i'}, raw=True)", want: "display text/html=<i> text/plain=i"},
	{name: "a handle", code: "h = display(1, display_id=True)\nh.update(2)\nlen(h.display_id)", want: "display text/plain=1; display text/plain=2; value"},
	{name: "IPython's display", code: "from IPython.display import display as d, HTML, Markdown, Latex, JSON, SVG, Image, Math, clear_output\nd(HTML('<b>'), Markdown('*'), Latex('$x$'), JSON([1]), SVG(data='<svg/>'), Math('x'))\nclear_output(wait=True)", want: "display text/html=<b> text/plain=<IPython.core.display.HTML object>; display text/markdown=* text/plain=<IPython.core.display.Markdown object>; display text/latex=$x$ text/plain=<IPython.core.display.Latex object>; display application/json=[1] text/plain=<IPython.core.display.JSON object>; display image/svg+xml=<svg/> text/plain=<IPython.core.display.SVG object>; display text/latex=$\\displaystyle x$ text/plain=<IPython.core.display.Math object>"},
	{name: "IPython's image", code: "import base64\nfrom IPython.display import Image\nopen('i.png', 'wb').write(base64.b64decode('" + onePixel + "'))\nImage('i.png')", want: "value image/png=" + onePixel[:60]},
	{name: "an image elsewhere", code: "from IPython.core.display import Image\nImage(url='http://a/\"b')", want: "value text/html=<img src=\"http://a/&quot;b\">"},
	{name: "IPython says that it does not run", code: "import IPython\nfrom IPython import get_ipython\nprint(get_ipython(), IPython.get_ipython(), IPython.version_info)\ntry:\n    import IPython.core.magic\nexcept ImportError as e: print(e.name)\ntry: get_ipython\nexcept NameError: print('none')\nIPython.display.publish_display_data({'text/plain': 'p'})", want: "display text/plain=p", stdout: "None None (0, 0)\nIPython.core.magic\n"},
	{name: "an IPython of the code's own", code: "open('IPython.py', 'w').write('mine = 1')\nimport importlib, IPython\nIPython.mine", own: true},
	{name: "a forked child has no results", code: "import os\nif os.fork() == 0:\n    display(7)\n    import sys; sys.stdout.flush(); os._exit(0)\nos.wait()\ndisplay(8)", want: "display text/plain=8", stdout: "7\n"},
	{name: "a thread's", code: "import threading\nt = threading.Thread(target=display, args=(1,))\nt.start(); t.join()", want: "display text/plain=1"},
	{name: "a display of one's own", code: "display = print\ndisplay(5)", stdout: "5\n"},
}

func TestResults(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		all := start(t, p)
		for _, row := range resultsTable {
			t.Run(row.name, func(t *testing.T) {
				r := all
				if row.own {
					r = start(t, p)
				}
				reply := r.run(Request{Code: row.code, Results: true, Fresh: true})
				if got := said(reply.Results); got != row.want {
					t.Errorf("results %s\nwant    %s\n%+v %s", got, row.want, reply.Exception, r.stderr.take())
				}
				if reply.LeftOut {
					t.Error("something was left out")
				}
				if row.stdout != "" {
					r.wantOut(row.stdout)
				}
			})
		}
	})
}

// TestResultsNotWanted: display prints, as does an execution that asks for both.
func TestResultsNotWanted(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		const code = "class H:\n    def _repr_html_(self): return 'h'\n    def __repr__(self): return 'H'\ndisplay(H(), 1)\nH()"
		if reply := r.code(code); reply.Results != nil || value(reply) != "H" {
			t.Errorf("%+v", reply)
		}
		r.wantOut("H\n1\n")
		if reply := r.run(Request{Code: code, Results: true, Echo: true}); len(reply.Results) != 3 {
			t.Errorf("%+v", reply)
		}
		r.wantOut("H\n1\n")
	})
}

// hostileResults are made to hurt what shows them, or what takes them. The
// session lives on after each.
var hostileResults = []struct {
	name, code string
	want       string // the results
	leftOut    bool
	stderr     string // a part of it
	status     Status // ok unless said otherwise
}{
	{name: "a method that raises", code: "class R:\n    def _repr_html_(self): raise ValueError('v' * 10000)\n    def _repr_markdown_(self): return 'm'\nR()", want: "value text/markdown=m", stderr: "_repr_html_ failed: ValueError: vvv"},
	{name: "an exception whose text raises", code: "class E(Exception):\n    def __str__(self): raise E\nclass R:\n    def _repr_html_(self): raise E\nR()", stderr: "_repr_html_ failed: E: <exception str() failed>"},
	{name: "a method that exits", code: "class R:\n    def _repr_html_(self): raise SystemExit(3)\nR()", status: StatusExit},
	{name: "a method that interrupts", code: "class R:\n    def _repr_html_(self): raise KeyboardInterrupt\nR()", status: StatusInterrupted},
	{name: "a method that recurses", code: "class R:\n    def _repr_html_(self): return self._repr_html_()\nR()", stderr: "RecursionError"},
	{name: "a method that displays itself", code: "class R:\n    n = 0\n    def _repr_html_(self):\n        R.n += 1\n        if R.n < 500: display(self)\n        return 'h'\n    def __repr__(self): return 'R'\ndisplay(R())\nR.n", want: "text/plain=R"},
	{name: "a method that is no method", code: "class R:\n    _repr_html_ = 5\n    _repr_png_ = None\n    _repr_mimebundle_ = 'x'\nR()", stderr: "_repr_html_ failed: TypeError"},
	{name: "numbers for text", code: "class R:\n    def _repr_html_(self): return 5\n    def _repr_png_(self): return 1.5\n    def _repr_json_(self): return {1: {2, 3}}\nR()", want: `value application/json={"1": "{2, 3}"} -image/png -text/html`, leftOut: true},
	{name: "every attribute is there", code: "class R:\n    def __getattr__(self, n): return lambda *a, **k: 'x'\nR()"},
	{name: "every attribute raises", code: "class R:\n    def __getattribute__(self, n): raise SystemExit\n    def _repr_html_(self): return 'h'\nR()", status: StatusExit},
	{name: "a metaclass that exits", code: "class M(type):\n    def __getattribute__(c, n): raise SystemExit\nclass R(metaclass=M): pass\nR()", status: StatusExit},
	{name: "a text of another class", code: "class S(str):\n    def __len__(self): return 1\n    def replace(self, *a): raise SystemExit\n    translate = encode = __str__ = replace\nclass R:\n    def _repr_html_(self): return S('x' * 10)\nR()", want: "value text/html=xxxxxxxxxx"},
	{name: "data of another class", code: "class B(bytes):\n    def __len__(self): return 1\n    def decode(self, *a): return '/etc'\nclass R:\n    def _repr_png_(self): return B(b'x' * (5 << 20))\n    def _repr_html_(self): return B(b'h')\nR()", want: "value -image/png text/html=h", leftOut: true},
	{name: "a dict of another class", code: "class D(dict):\n    def items(self): raise SystemExit\n    keys = __iter__ = items\nclass R:\n    def _repr_mimebundle_(self, **k): return D(a=1)\nR()"},
	{name: "hostile MIME types", code: "class R:\n    def _repr_mimebundle_(self, **k): return {'text/html\"}],\"status\":\"exit\",\"a\":[{\"': 'x', 'text/HTML': 'x', 5: 'x', '../../etc': 'x', 'a' * 10**6: 'x', 'application/javascript': 'alert(1)', None: 1, 'text/html ': 'x'}\nR()"},
	{name: "a hostile name", code: "class S(str):\n    def __hash__(self): return hash('text/html')\n    def __eq__(self, o): raise SystemExit\nclass R:\n    def _repr_mimebundle_(self, **k): return {S('text/html'): 'x'}\nR()"},
	{name: "very many types", code: "class R:\n    def _repr_mimebundle_(self, **k): return {'t/%d' % i: 'x' for i in range(10**5)}\nR()"},
	{name: "html that ends the reply", code: "class R:\n    def _repr_html_(self): return '\"}]}\\n\\0\\ud800</script><script>alert(1)</script>'\nR()", want: "value text/html=\"}]}\n\x00\uFFFD</script><script>alert(1)</script>"},
	{name: "html of 100 MB", code: "class R:\n    def _repr_html_(self): return 'x' * (100 << 20)\nR()", want: "value -text/html", leftOut: true},
	{name: "html that grows when it is sent", code: "class R:\n    def _repr_html_(self): return '\\ud800' * (4 << 20)\nR()", want: "value -text/html", leftOut: true},
	{name: "a picture of 100 MB", code: "class R:\n    def _repr_png_(self): return bytes(100 << 20)\nR()", want: "value -image/png", leftOut: true},
	{name: "no picture at all", code: "class R:\n    def _repr_png_(self): return b'<script>alert(1)</script>'\n    def _repr_jpeg_(self): return 'not base64!!'\n    def _repr_pdf_(self): return b''\nR()", want: "value"},
	{name: "no JSON at all", code: "class R:\n    def _repr_json_(self): return '{}],\"status\":1'\nR()", want: "value"},
	{name: "deep JSON", code: "class R:\n    def _repr_json_(self): return '[' * 5000 + ']' * 5000\nR()", want: "value"},
	{name: "endless JSON", code: "class R:\n    def _repr_json_(self):\n        d = {}\n        d['d'] = d\n        return d\nR()", stderr: "application/json failed: ValueError", want: "value -application/json", leftOut: true},
	{name: "NaN is no JSON", code: "class R:\n    def _repr_json_(self): return [float('nan')]\nR()", want: "value"},
	{name: "a thousand displays", code: "for i in range(1000): display(i)", leftOut: true, want: strings.TrimSuffix(strings.Repeat("display text/plain=%d; ", 64), "; ")},
	{name: "more than all may have", code: "for i in range(5): display({'text/html': 'x' * (3 << 20)}, raw=True)", leftOut: true, want: "display text/html=" + strings.Repeat("x", 60) + "; display text/html=" + strings.Repeat("x", 60) + "; display -text/html; display -text/html; display -text/html"},
	{name: "a repr that raises", code: "class R:\n    def __repr__(self): raise ValueError('v')\ndisplay(R())", want: "display text/plain=<__main__.R>", stderr: "repr failed: ValueError: v"},
	{name: "a patched json, base64 and html", code: "import json, base64, binascii, html\njson.dumps = base64.b64encode = binascii.b2a_base64 = html.escape = None\nclass R:\n    def _repr_json_(self): return {}\n    def _repr_png_(self): return b'x'\n    def _repr_html_(self): return 'h'\nR()", want: "value -application/json -image/png text/html=h", leftOut: true, stderr: "failed: TypeError"},
	{name: "no builtins", code: "import builtins\nclass R:\n    def _repr_html_(self): return 'h'\nr = R()\nfor n in ('len', 'print', 'type', 'str', 'isinstance', 'getattr', 'list', 'dict', 'bytes'): setattr(builtins, n, None)\nr", want: "value text/html=h"},
	{name: "the program is gone", code: "import sys, builtins\nbuiltins.display.__globals__['show_path'] = '/nowhere'\ndisplay(1)", status: StatusError},
	{name: "a forged pyplot", code: "import sys, types\nm = sys.modules['matplotlib.pyplot'] = types.ModuleType('x')\nm.close = exit\n1", stderr: "showing the figures failed: KeyError"},
	{name: "figures that exit", code: "import sys, types\nclass Gcf:\n    def get_all_fig_managers(): raise SystemExit(4)\nsys.modules['matplotlib.pyplot'] = sys\nsys.modules['matplotlib._pylab_helpers'] = types.SimpleNamespace(Gcf=Gcf)", stderr: "showing the figures failed: SystemExit: 4"},
}

func TestHostileResults(t *testing.T) {
	pythons := pythons(t)
	chosen := pythons[:1]
	if os.Getenv("REQUIRE_ALL") != "" {
		chosen = append(chosen, pythons[len(pythons)-1])
	}
	for _, p := range chosen {
		for _, row := range hostileResults {
			t.Run(p.version+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				r := start(t, p)
				r.must("keep = 41")
				want := row.want
				if strings.Contains(want, "%d") {
					numbers := make([]any, 64)
					for i := range numbers {
						numbers[i] = i
					}
					want = fmt.Sprintf(want, numbers...)
				}
				reply := r.run(Request{Code: row.code, Results: true})
				if row.status == "" {
					row.status = StatusOK
				}
				if reply.Status != row.status {
					t.Errorf("status %s, %+v", reply.Status, reply.Exception)
				}
				got := said(reply.Results)
				if row.name == "a method that displays itself" {
					got = got[max(0, len(got)-len(want)):]
				} else if reply.LeftOut != row.leftOut {
					t.Errorf("left out: %v", reply.LeftOut)
				}
				if got != want && !sameParts(got, want) {
					t.Errorf("results %.300s\nwant    %.300s", got, want)
				}
				errs := r.stderr.take()
				for end := time.Now().Add(5 * time.Second); !strings.Contains(errs, row.stderr) && time.Now().Before(end); time.Sleep(time.Millisecond) {
					errs += r.stderr.take()
				}
				if !strings.Contains(errs, row.stderr) || len(errs) > 8000 {
					t.Errorf("stderr %.1000q", errs)
				}
				if reply := r.run(Request{Code: "keep + 1", Results: true}); value(reply) != "42" {
					t.Errorf("afterwards: %+v", reply)
				}
			})
		}
	}
}

// sameParts compares the words of two lines of results in any order.
func sameParts(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestEndlessResult: what takes too long is interrupted as code is.
func TestEndlessResult(t *testing.T) {
	eachPython(t, func(t *testing.T, p python) {
		r := start(t, p)
		r.must("keep = 41")
		for _, code := range []string{
			"class R:\n    def _repr_html_(self):\n        while True: pass\nR()",
			"class R:\n    def _repr_mimebundle_(self, **k):\n        import time\n        while True:\n            try: time.sleep(1)\n            except ValueError: pass\ndisplay(R())",
			"class R:\n    def _repr_json_(self):\n        class D(dict):\n            def items(self):\n                while True: yield 'a', 1\n        return D(a=1)\nR()",
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			_, err := r.Exec(ctx, Request{Code: code, Results: true})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if reply, err := r.Interrupt(limited(t), r.interrupt); err != nil || reply.Status != StatusInterrupted && reply.Status != StatusError {
				t.Errorf("%+v, %v", reply, err)
			}
			r.wantAlive()
		}
	})
}

// TestTakeResults: the host takes nothing for a result that is none, whatever
// program sent it.
func TestTakeResults(t *testing.T) {
	large := strings.Repeat("x", maxForm+1)
	pdf := base64.StdEncoding.EncodeToString([]byte("%PDF-1.7 and more"))
	for _, row := range []struct {
		name    string
		claimed []Bundle
		want    string
		leftOut bool
	}{
		{"types that are not known", []Bundle{{Kind: "value", Data: map[string]string{"text/html": "h", "text/HTML": "x", "text/javascript": "x", "": "x", "a/b\n": "x"}}}, "value text/html=h", false},
		{"no data", []Bundle{{Kind: "figure"}}, "figure", false},
		{"not what they say", []Bundle{{Kind: "value", Data: map[string]string{"image/png": pdf, "image/jpeg": "", "image/gif": "R0lG\nODlh", "image/webp": "====", "application/pdf": pdf, "application/json": "{", "application/geo+json": "1 2"}}}, "value application/pdf=" + pdf, false},
		{"half a picture", []Bundle{{Kind: "value", Data: map[string]string{"image/png": onePixel[:40] + "#" + onePixel[41:]}}}, "value", false},
		{"deep JSON", []Bundle{{Kind: "value", Data: map[string]string{"application/json": strings.Repeat("[", 65) + strings.Repeat("]", 65)}}}, "value", false},
		{"large", []Bundle{{Kind: "value", Data: map[string]string{"text/html": large}}}, "value -text/html", true},
		{"large together", []Bundle{{Kind: "value", Data: map[string]string{"text/html": large[1:]}}, {Kind: "display", Data: map[string]string{"text/html": large[1:]}}, {Kind: "display", Data: map[string]string{"text/html": "x"}}}, "value text/html=" + large[:60] + "; display text/html=" + large[:60] + "; display -text/html", true},
		{"many", slices.Repeat([]Bundle{{Kind: "figure"}}, 1000), strings.TrimSuffix(strings.Repeat("figure; ", maxResults), "; "), true},
		{"dropped names", []Bundle{{Kind: "value", Data: map[string]string{"text/html": "h"}, Dropped: []string{"text/html", "<script>", "image/png", "image/png", large}}}, "value text/html=h -image/png", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r Reply
			if err := r.takeResults(row.claimed); err != nil {
				t.Fatal(err)
			}
			if got := said(r.Results); got != row.want || r.LeftOut != row.leftOut {
				t.Errorf("%.300s, left out: %v\nwant %.300s, %v", got, r.LeftOut, row.want, row.leftOut)
			}
		})
	}
	for _, kind := range []string{"", "Value", "<b>"} {
		if err := new(Reply).takeResults([]Bundle{{Kind: kind}}); !errors.Is(err, ErrProtocol) {
			t.Errorf("kind %q: %v", kind, err)
		}
	}
}
