"""The Python side of a session: it runs code in a cell and says what came of it.

It reads requests from file descriptor 3 and answers each with one frame; wire.go describes the bytes.
Nothing here is a boundary: the code it runs can reach and change all of it, so the host believes
nothing that it says.

Two things shape the program. Start-up counts, so nothing is imported at the top that Python has not
imported by itself; the rest is loaded where it is first needed. And the code that runs here replaces
builtins, streams, handlers and modules, so whatever is needed afterwards is kept in globals of our own.

The program is one file in the cell. Here it is five, joined by program.go in this order: cellbase.py (what
all need, the channel, the streams), celldescribe.py (source text, the namespace), cellreport.py
(exceptions), celltemplate.py (what is forked), cellrepl.py (an execution, and the loop). A second file,
cellshow.py, is read when it is needed.
"""
import sys
import posix



def greet():
    hello = bytes(8) + b'{"pid":%d,"version":"%d.%d.%d"}' % ((posix.getpid(),) + sys.version_info[:3])
    posix.write(3, len(hello).to_bytes(4, 'little') + hello)


# The greeting comes first: while the host looks at this process, the rest of the file runs.
greet()

import builtins
import _imp
import _io
import _signal
import _thread

# A patched builtin (`builtins.len = None`) must not reach this file: names are looked up in globals
# first. `load` stands for the import statement, which would use the builtins' __import__.
globals().update({k: v for k, v in builtins.__dict__.items() if k[:2] != '__'})
load = builtins.__import__
modules = sys.modules
read, write, close = posix.read, posix.write, posix.close
gettrace, settrace, getprofile, setprofile = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile
getrecursionlimit, setrecursionlimit = sys.getrecursionlimit, sys.setrecursionlimit
set_handler, SIGINT, SIG_IGN, raise_interrupt = (
    _signal.signal, _signal.SIGINT, _signal.SIG_IGN, _signal.default_int_handler)
set_mask, SIG_BLOCK, SIG_SETMASK = _signal.pthread_sigmask, _signal.SIG_BLOCK, _signal.SIG_SETMASK
OTHER_SIGNALS = [s for s in range(1, 32) if s != SIGINT]
excepthook = sys.excepthook
io = modules['io']
io_open_is_used = sys.version_info < (3, 13)  # by excepthook, to read source lines
importer = modules['_frozen_importlib_external']
Module, Function, Builtin, Code = type(sys), type(lambda: 0), type(len), type((lambda: 0).__code__)
type_module = type.__dict__['__module__'].__get__
type_qualname = type.__dict__['__qualname__'].__get__
type_mro = type.__dict__['__mro__'].__get__

CONTROL = 3
# Operations and flags of a request, as in wire.go.
EXEC, COMPLETE, CHECK, LIMIT, TEMPLATE, SETENV = 1, 2, 3, 4, 5, 6
SCRIPT, FRESH, PRELOAD, FINISH, SHOW, SAVE, QUIET, STDIN_DATA, STDIN_LIVE, RICH, ECHO, SVG = (1 << i for i in range(12))
# Bounds of what a reply holds, in characters; wire.go allows for six bytes each.
MAX_TEXT, MAX_MESSAGE, MAX_NAMESPACE, MAX_VARIABLES, MAX_VALUE, MAX_NAMES = 65536, 8192, 65536, 500, 100, 200
MAX_SOURCES = 4 << 20  # bytes of earlier source kept for tracebacks
ONLY_AST, TOP_LEVEL_AWAIT, FUTURES, COROUTINE = 0x400, 0x2000, 0x1FE0000, 0x80

own = modules['__main__']  # kept alive: it is about to lose its place in sys.modules
inbox = bytearray()
in_child = False
mask = None  # the code's own signal mask, while ours is in force
# To be given up when memory ends. Until then it is address space that nothing was written to: it counts in
# the limit, which the host sets with it in place, and takes no memory. Python 3.13 needs most of it, since
# it imports a module to print a traceback.
SPARE = 4 << 20
spare = bytes(SPARE)
executions = 0


# --- The control channel.

def receive():
    """Returns the next request without its length, or None when the host is gone."""
    global inbox
    while len(inbox) < 4 or len(inbox) < int.from_bytes(inbox[:4], 'little') + 4:
        piece = read(CONTROL, 8192 if len(inbox) < 8192 else 1 << 20)
        if not piece:
            return None
        inbox += piece
    data, inbox = bytes(inbox), bytearray()  # the host sends one request at a time
    return data


def send(payload):
    data = len(payload).to_bytes(4, 'little') + payload
    sent = write(CONTROL, data)
    while sent < len(data):
        sent += write(CONTROL, data[sent:sent + (1 << 16)])


ESCAPES = {34: '\\"', 92: '\\\\'}
for i in range(32):
    ESCAPES[i] = '\\u%04x' % i


def quote(text):
    """Returns a JSON string. A lone surrogate stays in it until the reply is encoded with
    backslashreplace, which writes it as \\udXXX: what JSON wants."""
    return '"' + text.translate(ESCAPES) + '"'


def quote_list(texts):
    return '[' + ','.join([quote(t) for t in texts]) + ']'


def cut(text, limit):
    return text if len(text) <= limit else text[:limit - 3] + '...'


# --- Standard streams. The code may replace or close them; every execution starts with working ones.

def open_stream(fd, name, mode, errors):
    buffer = _io.open(fd, mode + 'b', -1, None, None, None, False)
    buffer.raw.name = name
    stream = _io.TextIOWrapper(buffer, 'utf-8', errors, '\n', mode == 'w')
    stream.mode = mode
    return stream


def usable(stream):
    try:
        return not stream.closed
    except ValueError:  # detached
        return False


def restore_streams():
    global stdout, stderr
    # First this: a wrapper around our buffer that goes away here closes it.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = stdout, stderr
    if not usable(stdout):
        sys.stdout = sys.__stdout__ = stdout = open_stream(1, '<stdout>', 'w', 'surrogateescape')
    if not usable(stderr):
        sys.stderr = sys.__stderr__ = stderr = open_stream(2, '<stderr>', 'w', 'backslashreplace')


def anonymous_file(data):
    try:
        fd = posix.memfd_create('cellblock', 1)
    except (OSError, AttributeError):
        fd = posix.open('.', posix.O_TMPFILE | posix.O_RDWR | posix.O_CLOEXEC)
    sent = 0
    while sent < len(data):
        sent += write(fd, data[sent:sent + (1 << 20)])
    posix.lseek(fd, 0, 0)
    return fd


def set_stdin(flags, data):
    """Puts data, or the end of the file, behind descriptor 0. At start the host has put either the
    end of the file there or a pipe that it will name with STDIN_LIVE."""
    global stdin, stdin_kind
    if flags & STDIN_LIVE and stdin_kind != 'data':
        stdin_kind = 'live'
    elif data or stdin_kind != 'empty':
        fd = anonymous_file(data) if data else posix.open('/dev/null', posix.O_RDONLY)
        posix.dup2(fd, 0)
        close(fd)
        stdin, stdin_kind = None, 'data' if data else 'empty'
    if stdin is None or not usable(stdin):
        stdin = open_stream(0, '<stdin>', 'r', 'surrogateescape')


def flush_streams():
    for name in 'stdout', 'stderr':
        try:
            getattr(sys, name).flush()
        except Exception:  # None, gone, or anything the code has put there
            pass
    for stream in stdout, stderr:
        try:
            stream.flush()
        except Exception:  # closed
            pass
