package executor_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	_ "image/png"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// outline writes kinds and types of results in one line.
func outline(list []executor.Bundle) string {
	var parts []string
	for _, b := range list {
		part := b.Kind
		for _, mime := range slices.Sorted(maps.Keys(b.Data)) {
			part += " " + mime
		}
		for _, mime := range b.Dropped {
			part += " -" + mime
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

const figure = "figure image/png text/plain"

// What code shows is in the results, as a notebook would have it.
func TestResults(t *testing.T) {
	testkit.Require(t, testkit.File("/usr/lib/python3/dist-packages/matplotlib"), testkit.File("/usr/lib/python3/dist-packages/pandas"))
	ex := newExecutor(t, executor.Config{Packages: []string{"matplotlib", "pandas"}, Timeout: testkit.Paced(time.Minute), MaxMemoryMB: 768})
	for _, row := range []struct {
		name, code, want string
		edit             func(*executor.Request)
		stderr           string
		failed, leftOut  bool
	}{
		{name: "text", code: "1 + 1", want: "value text/plain"},
		{name: "nothing", code: "x = 1", want: ""},
		{name: "an open figure", code: "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('one')", want: "value text/plain; " + figure},
		{name: "it was closed", code: "plt.get_fignums()\nNone", want: ""},
		{name: "show", code: "plt.plot([1]); plt.show()\nplt.plot([2]); plt.show()\nplt.plot([3])\nprint(len(plt.get_fignums()))", want: figure + "; " + figure + "; " + figure},
		{name: "a figure that fails later", code: "plt.plot([1])\n1/0", want: figure, failed: true},
		{name: "an empty figure", code: "plt.figure()\nNone", want: ""},
		{name: "a figure as the value", code: "fig, ax = plt.subplots()\nax.plot([1])\nfig", want: "value image/png text/plain"},
		{name: "a figure by display", code: "fig, ax = plt.subplots()\ndisplay(fig)\nax.plot([1])\nNone", want: "display image/png text/plain; " + figure},
		{name: "svg", code: "plt.plot([1])\nNone", want: "figure image/svg+xml text/plain", edit: func(r *executor.Request) { r.FigureFormat = "svg" }},
		{name: "not wanted", code: "plt.plot([1])\nplt.show()\ndisplay('d')\n5", want: "", edit: func(r *executor.Request) { r.NoResults = true }},
		{name: "then it stays open", code: "plt.get_fignums()", want: "value text/plain; " + figure},
		{name: "a frame", code: "import pandas as pd\npd.DataFrame({'a': range(1000), 'b': 'x'})", want: "value application/vnd.dataresource+json text/html text/plain"},
		{name: "a wide frame", code: "pd.DataFrame([range(5000)])", want: "value application/vnd.dataresource+json text/html text/plain"},
		{name: "a frame of long texts", code: "pd.DataFrame({'a': ['x' * 10**6] * 100})", want: "value text/html text/plain"},
		{name: "columns of two levels", code: "pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([('a', 'b'), ('a', 'c')]))", want: "value text/html text/plain"},
		{name: "a frame of a series", code: "from PIL import Image\npd.Series([1]).to_frame()", want: "value application/vnd.dataresource+json text/html text/plain"},
		{name: "a picture", code: "Image.new('RGB', (30, 20), 'red')", want: "value image/png text/plain"},
		{name: "a picture of 10 MB", code: "import os\nImage.frombytes('RGB', (2000, 2000), os.urandom(12000000))", want: "value text/plain -image/png", leftOut: true},
		{name: "a figure of a terabyte", code: "plt.figure(figsize=(1e5, 1e5)).add_subplot()\nNone", want: "figure text/plain", stderr: "drawing the figure failed: ValueError"},
		{name: "a figure of endless size", code: "f = plt.figure(); f.add_subplot(); f.get_size_inches = lambda: __import__('numpy').array([float('nan')] * 2)\nNone", want: "figure text/plain", stderr: "drawing the figure failed: ValueError"},
		{name: "an artist a mile away", code: "plt.plot([1]); plt.text(10**7, 10**7, 'far')\nNone", want: "figure text/plain", stderr: "drawing the figure failed"},
		{name: "a hundred figures", code: "import warnings; warnings.simplefilter('ignore')\nfor i in range(70): plt.figure(figsize=(1, 1)).text(0, 0, 'x')\nNone", want: strings.TrimSuffix(strings.Repeat(figure+"; ", 64), "; "), leftOut: true},
		{name: "a figure that fails to draw", code: "from matplotlib.artist import Artist\nclass A(Artist):\n    def draw(self, r): raise RuntimeError('no')\nplt.gcf().add_artist(A()); plt.plot([1])\nNone", want: "figure text/plain", stderr: "drawing the figure failed: RuntimeError: no"},
	} {
		t.Run(row.name, func(t *testing.T) {
			request := executor.Request{SessionID: "r", Code: row.code}
			if row.edit != nil {
				row.edit(&request)
			}
			r := run(t, ex, request)
			if got := outline(r.Results); got != row.want {
				t.Errorf("results %s\nwant    %s\n%s", got, row.want, r.Stderr+errorText(r))
			}
			if !strings.Contains(r.Stderr, row.stderr) || r.Success == row.failed || r.Truncated.Results != row.leftOut || r.Session.Lost {
				t.Errorf("stderr %q, error %s, left out %v, lost %v", r.Stderr, errorText(r), r.Truncated.Results, r.Session.Lost)
			}
		})
	}
	t.Run("contents", func(t *testing.T) { resultContents(t, ex) })
	t.Run("a figure that takes too long", func(t *testing.T) {
		r := run(t, ex, executor.Request{SessionID: "r", Timeout: testkit.Paced(500 * time.Millisecond), Code: "class B(Artist):\n    def draw(self, r):\n        while True: pass\nplt.gcf().add_artist(B()); plt.plot([1])\nkept = 7"})
		if r.Verdict != executor.VerdictTimeout || r.Session.Lost {
			t.Errorf("%+v", r)
		}
		if r := run(t, ex, executor.Request{SessionID: "r", Code: "plt.close('all')\nkept"}); outline(r.Results) != "value text/plain" {
			t.Errorf("afterwards: %s %s", outline(r.Results), errorText(r))
		}
	})
}

// resultContents looks into the forms, and at how they cross JSON.
func resultContents(t *testing.T, ex *executor.Executor) {
	r := run(t, ex, executor.Request{SessionID: "r", Code: "plt.plot([1, 2])\npd.DataFrame({'n': range(500), 's': '<&>'})"})
	if outline(r.Results) != "value application/vnd.dataresource+json text/html text/plain; "+figure {
		t.Fatal(outline(r.Results), errorText(r))
	}
	value, drawn := r.Results[0].Data, r.Results[1].Data
	if value["text/plain"] != *r.Value || !strings.Contains(value["text/html"], "&lt;&amp;&gt;") {
		t.Errorf("%q", value)
	}
	var table struct {
		Shape  []int
		Schema struct{ Fields []struct{ Name, Type string } }
		Data   []map[string]any
	}
	if err := json.Unmarshal([]byte(value["application/vnd.dataresource+json"]), &table); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(table.Shape, []int{500, 2}) || len(table.Data) != 100 || table.Data[3]["n"] != 3.0 || len(table.Schema.Fields) != 3 {
		t.Errorf("%.500v", table)
	}
	png, err := base64.StdEncoding.DecodeString(drawn["image/png"])
	if err != nil {
		t.Fatal(err)
	}
	if picture, _, err := image.Decode(bytes.NewReader(png)); err != nil || picture.Bounds().Dx() < 300 {
		t.Errorf("%v", err)
	}
	sent, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back executor.Result
	if err := json.Unmarshal(sent, &back); err != nil {
		t.Fatal(err)
	}
	if outline(back.Results) != outline(r.Results) || back.Results[1].Data["image/png"] != drawn["image/png"] {
		t.Errorf("JSON there and back: %s", outline(back.Results))
	}
	if !bytes.Contains(sent, []byte(`"application/vnd.dataresource+json":{"shape":[500,2],`)) {
		t.Errorf("a JSON form is no value in JSON: %.300s", sent)
	}
}
