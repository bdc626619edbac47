package validator

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// row is a piece of code and the issues it must have, as "line:column kind
// name", separated by ", ". "" is valid.
type row struct {
	code string
	want string
	from int // lowest 3.x that has the syntax
}

// TestTable runs the table on every Python here. Rows under "known to pass" are
// evasions that a lint does not find; the cell is the boundary.
func TestTable(t *testing.T) {
	if len(table) < 126 {
		t.Fatalf("only %d rows", len(table))
	}
	for _, p := range pythons(t) {
		t.Run(p.String(), func(t *testing.T) {
			r, starts := resident(t, p, 8192)
			v := New(r)
			for _, row := range table {
				if p.minor < row.from {
					continue
				}
				valid, issues, err := v.Validate(context.Background(), []byte(row.code))
				if err != nil {
					t.Fatalf("%q: %v", row.code, err)
				}
				if got := short(issues); got != row.want {
					t.Errorf("%q:\n got %s\nwant %s", row.code, got, row.want)
				}
				if valid != (row.want == "") {
					t.Errorf("%q: valid is %v", row.code, valid)
				}
			}
			if *starts != 1 {
				t.Errorf("%d processes for one table", *starts)
			}
		})
	}
}

func short(issues []Issue) string {
	var s []string
	for _, i := range issues {
		switch i.Kind {
		case KindSyntax, KindUnparsable:
			s = append(s, i.Kind) // messages and positions differ between versions
		default:
			s = append(s, strings.TrimSpace(fmt.Sprintf("%d:%d %s %s", i.Line, i.Column, i.Kind, i.Name)))
		}
	}
	return strings.Join(s, ", ")
}

var table = []row{
	// Modules.
	{code: "import socket", want: "1:1 import socket"},
	{code: "import socket as s", want: "1:1 import socket"},
	{code: "import socket.x", want: "1:1 import socket"},
	{code: "import socket.x as y", want: "1:1 import socket"},
	{code: "from socket import socket", want: "1:1 import socket"},
	{code: "from socket import *", want: "1:1 import socket"},
	{code: "from socket.x import y as z", want: "1:1 import socket"},
	{code: "import os, socket, pickle", want: "1:1 import pickle, 1:1 import socket"},
	{code: "import os; import socket", want: "1:12 import socket"},
	{code: "import subprocess\nsubprocess.run(['ls'])\nsubprocess.run(['ls'])", want: "1:1 import subprocess"},
	{code: "import pickle as p\np.loads(b'')", want: "1:1 import pickle"},
	{code: "import importlib\nimportlib.import_module('socket')", want: "1:1 import importlib"},
	{code: "importlib.import_module('socket')", want: "1:1 call importlib"},
	{code: "import importlib.util", want: "1:1 import importlib"},
	{code: "from importlib import import_module as m\nm('socket')", want: "1:1 import importlib"},
	{code: "def f():\n    import socket", want: "2:5 import socket"},
	{code: "class A:\n  def f(self):\n    if 0:\n      from socket import x", want: "4:7 import socket"},
	{code: "try:\n import socket\nexcept ImportError:\n pass", want: "2:2 import socket"},
	{code: "try: pass\nexcept* OSError:\n import socket", want: "3:2 import socket", from: 11},
	{code: "match 1:\n case 1:\n  import socket", want: "3:3 import socket", from: 10},
	{code: "with open('x') as f: import socket", want: "1:22 import socket"},
	{code: "async def f():\n async with a as b:\n  async for x in y: import socket", want: "3:21 import socket"},
	{code: "while 0: pass\nelse: import socket", want: "2:7 import socket"},
	{code: "try: pass\nfinally: import socket", want: "2:10 import socket"},
	{code: "if True:\n\timport socket\n", want: "2:2 import socket"},
	{code: "x = 1 ; import socket ;", want: "1:9 import socket"},
	{code: "import \\\n  socket", want: "1:1 import socket"},
	{code: "from \\\n\\\nsocket import (\n x,\n y,)", want: "1:1 import socket"},
	{code: "import os\\\n, socket", want: "1:1 import socket"},
	{code: "import\tsocket", want: "1:1 import socket"},
	{code: "import\x0csocket", want: "1:1 import socket"},
	{code: "\x0cimport socket", want: "1:2 import socket"},

	// Not those modules.
	{code: "import sockets"},
	{code: "import socketserver"},
	{code: "import pickletools"},
	{code: "from . import socket"},
	{code: "from .socket import x"},
	{code: "from .. import pickle as p\np.loads(b'')"},
	{code: "from .os import system\nsystem('ls')"},
	{code: "from mypackage import socket"},
	{code: "import mypackage.socket"},
	{code: "import mypackage as socket\nsocket.socket()"},
	{code: "'import socket'"},
	{code: "# import socket"},
	{code: "'''\nimport socket\n'''"},
	{code: "x = 'a\\\nimport socket'"},
	{code: "pickle = []\npickle.append(1)\nprint(pickle)"},
	{code: "self.socket = 1\nself.socket.send()"},
	{code: "f(pickle=1, eval=2)"},

	// How CPython reads bytes.
	{code: "x=1\rimport socket", want: "2:1 import socket"},
	{code: "# comment\rimport socket", want: "2:1 import socket"},
	{code: "#\r\nimport socket\r\n", want: "2:1 import socket"},
	{code: "'''\r'''\rimport socket", want: "3:1 import socket"},
	{code: "# \x0bimport socket"},
	{code: "# \u2028import socket"},
	{code: "# \u0085import socket"},
	{code: "# \x85import socket"}, // not UTF-8; compile(bytes) does not look at comments
	{code: "\ufeffimport socket", want: "1:1 import socket"},
	{code: "\ufeff# coding: utf-8\nimport socket", want: "2:1 import socket"},
	{code: "import ｓocket", want: "1:1 import socket"},
	{code: "ｅval('1')", want: "1:1 call eval"},
	{code: "𝓮𝔁𝓮𝓬('1')", want: "1:1 call exec"},
	{code: "import os\nos.ſystem('x')", want: "2:1 call os.system"},
	{code: "from os import ｓystem", want: "1:1 import os.system"},
	{code: "# coding: latin-1\n\xe9 = 1; import socket", want: "2:9 import socket"},
	{code: "# coding: utf-7\n#+AAo-import socket", want: "3:1 import socket"},
	{code: "#!/usr/bin/python\n# -*- coding: utf_7 -*-\n+AGkAbQBwAG8AcgB0- socket", want: "3:1 import socket"},
	{code: "\n\n# coding: utf-7\n#+AAo-import socket"},
	{code: "# coding: nonsense\nimport socket", want: "syntax"},
	{code: "é = 'ü'; eval(é)", want: "1:10 call eval"},
	{code: "\ufeffé = 1; import socket", want: "1:8 import socket"},
	{code: "x = '日本', eval('1')", want: "1:11 call eval"},

	// Dotted names.
	{code: "import os\nos.system('ls')", want: "2:1 call os.system"},
	{code: "import os as o\no.system('ls')", want: "2:1 call os.system"},
	{code: "import os.path\nos.system('ls')", want: "2:1 call os.system"},
	{code: "from os import system", want: "1:1 import os.system"},
	{code: "from os import system as s\ns('ls')", want: "1:1 import os.system"},
	{code: "from os import path, system", want: "1:1 import os.system"},
	{code: "from os import *\nsystem('ls')", want: "2:1 call os.system"},
	{code: "from os import *\nmap(system, x)", want: "2:5 reference os.system"},
	{code: "import os\nf = os.system", want: "2:5 reference os.system"},
	{code: "import os\nf = os.system\nf('ls')", want: "2:5 reference os.system, 3:1 call os.system"},
	{code: "import os as a\nb = a\nb.system()", want: "3:1 call os.system"},
	{code: "b.system()\nb = a\nimport os as a", want: "1:1 call os.system"},
	{code: "import os\na = b = os\nb.system()", want: "3:1 call os.system"},
	{code: "import os\na = os; b = a; c = b; d = c\nd.system()", want: "3:1 call os.system"},
	{code: "import os\na = b; b = a; a = os\nb.system()", want: "3:1 call os.system"},
	{code: "import os\na, b = os, 1\na.system()", want: "3:1 call os.system"},
	{code: "import os\n(a, [b, c]) = 1, (2, os)\nc.system()", want: "3:1 call os.system"},
	{code: "import os\na: object = os\na.system()", want: "3:1 call os.system"},
	{code: "import os\n(a := os).system()\na.system()", want: "2:1 call os.system, 3:1 call os.system"},
	{code: "import os\na = os if x else None\na.system()", want: "3:1 call os.system"},
	{code: "import os\na = x or os\na.system()", want: "3:1 call os.system"},
	{code: "import os\nfor a in (os,): a.system()", want: "2:17 call os.system"},
	{code: "import os\n[a.system('x') for a in [os]]", want: "2:2 call os.system"},
	{code: "import os\ndef f(x, o=os): o.system()", want: "2:17 call os.system"},
	{code: "import os\nlambda *, o=os: o.system()", want: "2:17 call os.system"},
	{code: "def f():\n import os as o\ndef g():\n import sys as o\n o.system()", want: "5:2 call os.system"},
	{code: "(os).system('x')", want: "1:1 call os.system"},
	{code: "os . system ('x')", want: "1:1 call os.system"},
	{code: "os\\\n.system('x')", want: "1:1 call os.system"},
	{code: "(os\n # c\n .system)('x')", want: "1:1 call os.system"},
	{code: "os.system.__call__('x')", want: "1:1 call os.system"},
	{code: "getattr(os, 'system')('x')", want: "1:1 call os.system"},
	{code: "import os as o\ng = getattr(o, 'system', None)", want: "2:5 reference os.system"},
	{code: "os.__dict__['system']('x')", want: "1:1 call os.system"},
	{code: "x = [os.system]", want: "1:6 reference os.system"},
	{code: "@os.system\ndef f(): pass", want: "1:2 reference os.system"},
	{code: "x = {'a': os.system}['a']('b')", want: "1:11 reference os.system"},
	{code: "f'{os.system(1)}'", want: "1:4 call os.system", from: 12},
	{code: "import shutil\nshutil.rmtree('x')", want: "2:1 call shutil.rmtree"},
	{code: "import shutil as s, os as t\ns.rmtree('x'); t.system('y')", want: "2:1 call shutil.rmtree, 2:16 call os.system"},
	{code: "from shutil import rmtree as r", want: "1:1 import shutil.rmtree"},
	{code: "from shutil import *\nrmtree('x')", want: "2:1 call shutil.rmtree"},
	{code: "os.system(os.system('x'))", want: "1:1 call os.system, 1:11 call os.system"},

	// Not those names.
	{code: "import os\nos.getcwd()\nos.path.join('a', 'b')"},
	{code: "import os\nos.systems()"},
	{code: "import os.path as p\np.system()"},
	{code: "from os import *\ngetcwd()"},
	{code: "from os import *"},
	{code: "import platform\nplatform.system()"},
	{code: "from platform import system\nsystem()"},
	{code: "import foo as os\nos.system('x')"},
	{code: "def f(os): os.system('x')"},
	{code: "class A:\n def system(self): self.os.system()"},
	{code: "import shutil\nshutil.copy('a', 'b')"},
	{code: "rmtree('x'); system('y')"},
	{code: "import os\nos.system = None"},
	{code: "import os\ndel os.system"},
	{code: "a.os.system('x')"},
	{code: "f().os.system('x')"},
	{code: "'os.system'.join('x')"},

	// Builtins.
	{code: "eval('1')", want: "1:1 call eval"},
	{code: "exec('1')", want: "1:1 call exec"},
	{code: "__import__('socket')", want: "1:1 call __import__"},
	{code: "__import__('os').system('x')", want: "1:1 call __import__"},
	{code: "print(eval('1'))", want: "1:7 call eval"},
	{code: "eval(eval('1'))", want: "1:1 call eval, 1:6 call eval"},
	{code: "x[eval('1'):exec('2')]", want: "1:3 call eval, 1:13 call exec"},
	{code: "[*eval('1')]", want: "1:3 call eval"},
	{code: "f(**eval('1'))", want: "1:5 call eval"},
	{code: "{**eval('1')}", want: "1:4 call eval"},
	{code: "x = yield_ = (lambda: (eval)('1'))", want: "1:23 call eval"},
	{code: "async def f(): await eval('1')", want: "1:22 call eval"},
	{code: "def f(x=eval('1')): pass", want: "1:9 call eval"},
	{code: "def f(x: eval('1')) -> exec('2'): pass", want: "1:10 call eval, 1:24 call exec"},
	{code: "class A(eval('B'), metaclass=exec('C')): pass", want: "1:9 call eval, 1:30 call exec"},
	{code: "del x[eval('1')]", want: "1:7 call eval"},
	{code: "x[eval('1')] = y[0] = 1", want: "1:3 call eval"},
	{code: "x += eval('1')", want: "1:6 call eval"},
	{code: "assert eval('1'), exec('2')", want: "1:8 call eval, 1:19 call exec"},
	{code: "raise eval('1') from exec('2')", want: "1:7 call eval, 1:22 call exec"},
	{code: "match eval('1'):\n case x if exec('2'): pass", want: "1:7 call eval, 2:12 call exec", from: 10},
	{code: "match 1:\n case os.system: pass", want: "2:7 reference os.system", from: 10},
	{code: "def f[T: eval('1')](): pass", want: "1:10 call eval", from: 12},
	{code: "type X = eval('1')", want: "1:10 call eval", from: 12},
	{code: "type eval = 1\ndef f[exec](): exec", from: 12},
	{code: "def f[T=eval('1')](): pass", want: "1:9 call eval", from: 13},
	{code: "f = eval", want: "1:5 reference eval"},
	{code: "f = eval\nf('1')", want: "1:5 reference eval, 2:1 call eval"},
	{code: "map(eval, x)", want: "1:5 reference eval"},
	{code: "(f := exec)('1')", want: "1:7 reference exec"},
	{code: "def f(e=eval): e('1')", want: "1:9 reference eval, 1:16 call eval"},
	{code: "a, b = exec, 1\na('x')", want: "1:8 reference exec, 2:1 call exec"},
	{code: "import builtins\nbuiltins.eval('1')", want: "2:1 call eval"},
	{code: "import builtins as b\nb.exec('1')", want: "2:1 call exec"},
	{code: "from builtins import eval as e", want: "1:1 import eval"},
	{code: "from builtins import *\nexec('1')", want: "2:1 call exec"},
	{code: "__builtins__.eval('1')", want: "1:1 call eval"},
	{code: "__builtins__['eval']('1')", want: "1:1 call eval"},
	{code: "__builtins__.__dict__['eval']('1')", want: "1:1 call eval"},
	{code: "b = __builtins__\nb.exec('1')", want: "2:1 call exec"},
	{code: "getattr(__builtins__, 'eval')('1')", want: "1:1 call eval"},
	{code: "getattr(getattr(builtins, 'eval'), '__call__')('1')", want: "1:1 call eval"},
	{code: "eval.__call__('1')", want: "1:1 call eval"},
	{code: "def eval(x): return x\neval('1')", want: "2:1 call eval"},
	{code: "from numexpr import evaluate as eval\neval('1')", want: "2:1 call eval"},
	{code: "global eval\neval('1')", want: "2:1 call eval"},
	{code: "def f():\n global eval\n map(eval, x)", want: "3:6 reference eval"},

	// Not those builtins.
	{code: "model.eval()"},
	{code: "import torch\nmodel = torch.nn.Linear(1, 1)\nmodel.eval()\nmodel.train().eval()"},
	{code: "import pandas as pd\ndf = pd.DataFrame()\ndf.eval('a+b')\npd.eval('1')"},
	{code: "self.exec('x'); cursor.exec('y')"},
	{code: "class A:\n def eval(self): return self.eval()"},
	{code: "def train(eval=True):\n if eval: return eval"},
	{code: "eval_ = evaluate('1')"},
	{code: "import ast\nast.literal_eval('1')"},
	{code: "import re\nre.compile('x')\ncompile('1', 'f', 'eval')"},
	{code: "getattr(model, 'eval')()"},
	{code: "d['eval'](); d.__dict__['eval']()"},
	{code: "x = 'eval'; print('exec', x)"},
	{code: "f(*args, eval=eval_, **kw)"},
	{code: "builtins.print('x'); __builtins__.len('x')"},
	{code: "getattr(x, 'a', 0)(1); getattr(x, n)(2); getattr(*x)(3)"},
	{code: ""},
	{code: "\n"},
	{code: "\x0c"},
	{code: "\ufeff"},
	{code: "print('hello')"},
	{code: "x = lambda: (yield)"},
	{code: `"\d\e"`},
	{code: "async def f():\n  return [x async for x in y if await x]"},
	{code: "a.b.c[0].d(e)[1:2, ...].f = g = h.i(*j, **k)"},
	{code: "match x:\n case {'a': [1, *eval], **exec} | (A(b=2) as pickle): print(eval, exec, pickle)", from: 10},
	{code: "try: pass\nexcept E as eval: print(eval)"},

	// What does not parse.
	{code: "print 'x'", want: "syntax"},
	{code: "exec 'x'", want: "syntax"},
	{code: "import", want: "syntax"},
	{code: "import socket\n)", want: "syntax"},
	{code: "if 1:\nx", want: "syntax"},
	{code: "if 1:\n\tx\n        y", want: "syntax"},
	{code: "'", want: "syntax"},
	{code: "'''", want: "syntax"},
	{code: "x = \\", want: "syntax"},
	{code: "\x00", want: "syntax"},
	{code: "x = 1\x00\nimport socket", want: "syntax"},
	{code: "\xff", want: "syntax"},
	{code: "'\xed\xa0\x80'", want: "syntax"},
	{code: "import so\u200bcket", want: "syntax"},
	{code: "import so\u00adcket", want: "syntax"},
	{code: "!pip install x", want: "syntax"},
	{code: "%matplotlib inline", want: "syntax"},
	{code: "\xff\xfei\x00m\x00p\x00o\x00r\x00t\x00", want: "syntax"},
	{code: "\ufeff# coding: latin-1\n", want: "syntax"},
	{code: `"\N{no such name}"`, want: "syntax"},
	{code: `'\ud800'`},

	// Known to pass: what a lint does not see, and the cell must hold.
	{code: "import sys\nsys.modules['os'].system('x')"},
	{code: "globals()['__builtins__']"},
	{code: "vars(os)['system']('x')"},
	{code: "getattr(os, 'sys' + 'tem')('x')"},
	{code: "class A: o = os\nA.o.system('x')"},
	{code: "import os\n{'o': os}['o'].system('x')"},
	{code: "import os\n(lambda o: o.system('x'))(os)"},
	{code: "import os.path as p\np.os.system('x')"},
	{code: "().__class__.__base__.__subclasses__()"},
	{code: "import _socket, _pickle, posix\nposix.system('x')"},
	{code: "import os\nos.popen('x'); os.execv('x', [])"},
	{code: "import runpy\nrunpy.run_module('socket')"},
	{code: "import code\ncode.InteractiveInterpreter().runsource('import socket')"},
}
