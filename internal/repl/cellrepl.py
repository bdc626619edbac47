"""The Python side of a session: it runs code in a cell and says what came of it.

It reads requests from file descriptor 3 and answers each with one frame; conn.go and wire.go hold
the other side and describe the bytes. Nothing here is a boundary: the code it runs can reach and
change all of it, so the host believes nothing that it says.

Two things shape this file. Start-up counts, so nothing is imported at the top that Python has not
imported by itself; the rest is loaded where it is first needed. And the code that runs here replaces
builtins, streams, handlers and modules, so whatever is needed afterwards is kept in globals of our own.
"""
import sys
import posix
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
excepthook = sys.excepthook
importer = modules['_frozen_importlib_external']
Module, Function, Builtin, Code = type(sys), type(lambda: 0), type(len), type((lambda: 0).__code__)
type_module = type.__dict__['__module__'].__get__
type_qualname = type.__dict__['__qualname__'].__get__
type_mro = type.__dict__['__mro__'].__get__

CONTROL = 3
# Operations and flags of a request, as in wire.go.
EXEC, COMPLETE, CHECK, LIMIT = 1, 2, 3, 4
SCRIPT, FRESH, PRELOAD, FINISH, SHOW, SAVE, QUIET, STDIN_DATA, STDIN_LIVE = (1 << i for i in range(9))
# Bounds of what a reply holds, in characters; wire.go allows for six bytes each.
MAX_TEXT, MAX_MESSAGE, MAX_NAMESPACE, MAX_VARIABLES, MAX_VALUE, MAX_NAMES = 65536, 8192, 65536, 500, 100, 200
MAX_SOURCES = 4 << 20  # bytes of earlier source kept for tracebacks
ONLY_AST, TOP_LEVEL_AWAIT, FUTURES, COROUTINE = 0x400, 0x2000, 0x1FE0000, 0x80

own = modules['__main__']  # kept alive: it is about to lose its place in sys.modules
inbox = bytearray()
in_child = False
spare = None
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
    if sys.stdout is not stdout or not usable(stdout):
        if not usable(stdout):
            stdout = open_stream(1, '<stdout>', 'w', 'surrogateescape')
        sys.stdout = sys.__stdout__ = stdout
    if sys.stderr is not stderr or not usable(stderr):
        if not usable(stderr):
            stderr = open_stream(2, '<stderr>', 'w', 'backslashreplace')
        sys.stderr = sys.__stderr__ = stderr


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
    sys.stdin = sys.__stdin__ = stdin


def flush(stream):
    try:
        stream.flush()
    except Exception:  # None, closed, or anything the code has put there
        pass


# --- Source text, for tracebacks, warnings and inspect.

latest = {}   # file name -> (code objects, source) of the last execution under that name
sources = {}  # every name -> source that linecache is to know


def lines_of(source):
    try:
        text = source.decode('utf-8-sig')
    except UnicodeDecodeError:
        text = source.decode('latin-1')
    if text and text[-1] != '\n':
        text += '\n'
    return _io.StringIO(text, None).readlines()


def publish(linecache, names):
    for name in names:
        source = sources[name]
        # A modification time of None tells linecache.checkcache to leave the entry alone.
        linecache.cache[name] = (len(source), None, lines_of(source), name)


def remember(filename, path, codes, source):
    """Registers the source of the code that is about to run. Functions of an earlier execution under
    the same name keep their own text: their code objects get a name of their own."""
    names = [filename] if path is None or path == filename else [filename, path]
    old = latest.get(filename)
    if old is not None and old[1] != source:
        if any(type(c) is Code for code in old[0] for c in code.co_consts):
            name = '%s (execution %d)' % (filename, old[2])
            for code in old[0]:
                _imp._fix_co_filename(code, name)
            sources[name] = old[1]
            names.append(name)
    latest[filename] = codes, source, executions
    for name in names[:2] if path is not None and path != filename else names[:1]:
        sources[name] = source
    linecache = modules.get('linecache')
    if linecache is not None:
        publish(linecache, names)
    if len(names) > 1 and len(sources) > 2:
        forget(linecache)


def forget(linecache):
    total = sum([len(s) for s in sources.values()])
    for name in list(sources):
        if total <= MAX_SOURCES:
            return
        if name not in latest:
            total -= len(sources.pop(name))
            if linecache is not None:
                linecache.cache.pop(name, None)


class LinecacheFinder:
    """Fills linecache when something imports it, so that nobody pays for it before."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'linecache':
            spec = importer.PathFinder.find_spec(name, path)
            if spec is not None:
                loader = spec.loader

                def exec_module(module):
                    type(loader).exec_module(loader, module)
                    publish(module, sources)
                loader.exec_module = exec_module
            return spec


# --- What the namespace holds. No method of the user's own types is called here where that can be
# avoided; the whole runs while SIGINT still interrupts, and one variable that fails is shown by type.

kinds = {int: ('int', int), bool: ('bool', bool), float: ('float', float), str: ('str', str),
         list: ('list', list), dict: ('dict', dict)}
shown = {}   # name -> (value, description) of small immutable values
hidden = {}  # name -> value of what was preloaded
missing = object()


def type_name(cls):
    module, name = type_module(cls), type_qualname(cls)
    if type(module) is not str:
        module = '?'
    return cut(name if module == 'builtins' else module + '.' + name, 2 * MAX_VALUE)


def kind_of(cls):
    """Returns the name of a type and what decides how it is described."""
    name, kind = type_name(cls), None
    for base in type_mro(cls):
        if base in kinds and base in (int, float, str, list, dict):
            kind = base
        elif type_qualname(base) == 'DataFrame' and type_module(base) == 'pandas.core.frame':
            kind = 'frame'
        elif type_qualname(base) == 'ndarray' and type_module(base) == 'numpy':
            kind = 'array'
        if kind is not None:
            break
    if len(kinds) > 500:
        kinds.clear()
        kinds.update({c: (c.__name__, c) for c in (int, bool, float, str, list, dict)})
    kinds[cls] = name, kind
    return name, kind


def scalar_text(x, kind):
    if kind is str:
        return str.__getitem__(x, slice(0, MAX_VALUE))
    if kind is int:
        bits = int.bit_length(x)
        # Converting a huge integer takes quadratic time, and newer Pythons refuse.
        return int.__repr__(x)[:MAX_VALUE] if bits <= 8192 else '<integer of %d bits>' % bits
    return kind.__repr__(x)[:MAX_VALUE]


def label(x):
    """Returns the text of a dict's key or a column's name."""
    cls = type(x)
    name, kind = kinds.get(cls) or kind_of(cls)
    if kind in (int, float, str, bool):
        return scalar_text(x, kind)
    if x is None or type_module(cls) != '__main__':
        return str(x)[:MAX_VALUE]
    return '<' + name + '>'


def numbers(shape):
    return '[' + ','.join(['%d' % n for n in shape]) + ']'


def describe(x, name, kind):
    text = '{"type":' + quote(name)
    if kind is None:
        return text + '}'
    if kind in (int, float, str, bool):
        return text + ',"value":' + quote(scalar_text(x, kind)) + '}'
    try:
        if kind is list:
            text += ',"length":%d' % list.__len__(x)
        elif kind is dict:
            keys = []
            for key in dict.__iter__(x):
                if len(keys) == 10:
                    break
                keys.append(label(key))
            text += ',"keys":' + quote_list(keys)
        elif kind == 'frame':
            text += ',"shape":' + numbers(x.shape) + ',"columns":' + quote_list(
                [label(c) for c in x.columns[:MAX_NAMES]])
        else:
            text += ',"shape":' + numbers(x.shape) + ',"dtype":' + quote(str(x.dtype)[:MAX_VALUE])
    except Exception:
        text = '{"type":' + quote(name)
    return text + '}'


def summary():
    """Returns the public variables as the inside of a JSON object."""
    parts, room = [], MAX_NAMESPACE
    for name, x in list(namespace.items()):
        if type(name) is not str or name[:1] == '_' or len(name) > 2 * MAX_VALUE:
            continue
        cls = type(x)
        if cls is Function or cls is Module or cls is Builtin or hidden.get(name, missing) is x:
            continue
        hit = shown.get(name)
        if hit is not None and hit[0] is x:
            text = hit[1]
        else:
            text = quote(name) + ':' + describe(x, *(kinds.get(cls) or kind_of(cls)))
            if cls is int or cls is float or cls is str and len(x) <= MAX_VALUE:
                shown[name] = x, text
        room -= len(text)
        if room < 0 or len(parts) == MAX_VARIABLES:
            break
        parts.append(text)
    if len(shown) > 2 * MAX_VARIABLES:
        shown.clear()
    return ','.join(parts)


# --- One execution.

def new_namespace():
    """Makes an empty __main__, with the names that Python itself puts there."""
    global main, namespace
    main = Module('__main__')
    namespace = main.__dict__
    namespace['__annotations__'] = {}
    namespace['__builtins__'] = builtins
    namespace['__loader__'] = modules['_frozen_importlib'].BuiltinImporter
    hidden.clear()
    shown.clear()


def prepare(source, filename, script):
    """Compiles source; returns the code to run, and the code of a last expression or None."""
    if script:
        return compile(source, filename, 'exec', 0, True), None
    # One line tells by itself whether it is an expression; the first syntax tree costs a process
    # 1.5 ms. A backslash may mean a warning, which must not come twice.
    line = source.rstrip()
    if not (b'\n' in line or b'\r' in line or b';' in line or b'\\' in line or line[:1].isspace()):
        try:
            return None, compile(source, filename, 'eval', 0, True)
        except SyntaxError:
            pass
        if b'await' not in line and b'async' not in line:
            return compile(source, filename, 'exec', 0, True), None
    try:
        return split(source, filename, 0)
    except RecursionError:  # a tree of Python objects is less deep than one that is only compiled
        return compile(source, filename, 'exec', 0, True), None
    except SyntaxError as e:
        if b'await' not in source and b'async' not in source:
            raise
        error = e
    try:
        return split(source, filename, TOP_LEVEL_AWAIT)
    except SyntaxError:
        pass
    raise error


def split(source, filename, flags):
    tree = compile(source, filename, 'exec', ONLY_AST | flags, True)
    last = None
    if tree.body and type(tree.body[-1]).__name__ == 'Expr':
        last = tree.body.pop().value
    body = compile(tree, filename, 'exec', flags, True)
    if last is None:
        return body, None
    expression = load('_ast').Expression(last)
    return body, compile(expression, filename, 'eval', flags | body.co_flags & FUTURES, True)


async def run_async(body, tail):
    value = None
    for code in (body, tail):
        if code is not None:
            value = eval(code, namespace)
            if code.co_flags & COROUTINE:
                value = await value
    return value if tail is not None else None


def run(body, tail):
    if (body is not None and body.co_flags | (tail.co_flags if tail else 0)) & COROUTINE:
        return load('asyncio').run(run_async(body, tail))
    if body is not None:
        eval(body, namespace)
    if tail is not None:
        return eval(tail, namespace)


def execute(flags, source, filename, module, argv, env, stdin_data):
    global executions, namespace
    # Before anything else, because the code of the last execution may have left them in any state.
    restore_streams()
    if flags & (STDIN_DATA | STDIN_LIVE) or stdin_kind != 'empty' or sys.stdin is not stdin or not usable(stdin):
        set_stdin(flags, stdin_data)
    if flags & FRESH and executions:
        new_namespace()
        load('gc').collect()  # what only cycles of the old namespace held
    executions += 1
    modules['__main__'] = main
    filename = filename.decode('utf-8', 'replace')
    sys.argv = argv.decode('utf-8', 'surrogateescape').split('\0')[:-1] if argv else [filename]
    if env:
        set_environment(env)
    path = None
    if filename[:1] != '<' and not module:
        path = filename if filename[:1] == '/' else posix.getcwd() + '/' + filename
        if namespace.get('__file__') != path:
            namespace['__file__'] = path
            namespace['__cached__'] = None
            namespace['__loader__'] = importer.SourceFileLoader('__main__', path)
        if flags & SAVE:
            save(path, source)
    namespace.pop('__warningregistry__', None)  # "once per location" means once per execution

    error = text = None
    compiled = False
    try:
        if module:
            compiled = True
            load('runpy')._run_module_as_main(module.decode(), True)
        else:
            body, tail = prepare(source, filename, flags & SCRIPT)
            compiled = True
            remember(filename, path, [c for c in (body, tail) if c is not None], source)
            value = run(body, tail)
            body = tail = None
            if value is not None:
                text = cut(str.__str__(repr(value)), MAX_TEXT)
                value = None
    except BaseException as e:
        error = e
    # A trace function left behind would see, and could break, what follows.
    if getprofile() is not None:
        setprofile(None)
    if gettrace() is not None:
        settrace(None)
    if getrecursionlimit() < 500:
        setrecursionlimit(1000)
    if error is not None:
        reply = report(error, compiled, filename, flags)
        error = None
    elif in_child:
        leave(0)
    else:
        reply = '{"status":"ok"'
        if text is not None:
            reply += ',"value":' + quote(text)
    if flags & PRELOAD:
        hidden.update(namespace)
    if not flags & QUIET:
        reply += ',"namespace":{' + summary() + '}'
    if flags & FINISH:
        finish()
    flush(sys.stdout)
    flush(sys.stderr)
    flush(stdout)
    flush(stderr)
    return reply + '}'


def set_environment(env):
    for item in env.split(b'\0')[:-1]:
        name, _, value = item.partition(b'=')
        posix.environ[name] = value
        posix.putenv(name, value)
        if 'os' in modules:
            modules['os'].environb[name] = value


def save(path, source):
    fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o644)
    try:
        while source:
            source = source[write(fd, source):]
    finally:
        close(fd)


def leave(status):
    """Ends a forked child that came back from the code, as the end of a program would."""
    flush(sys.stdout)
    flush(sys.stderr)
    raise SystemExit(status)


def finish():
    """Does what the end of a program does: waits for threads, runs atexit's functions, and lets the
    namespace go in the order in which Python does it."""
    if 'threading' in modules:
        modules['threading']._shutdown()
    try:
        load('atexit')._run_exitfuncs()
    except Exception:  # printed already
        pass
    for private in (True, False):
        for name in list(namespace):
            if type(name) is str and name != '__builtins__' and private == (name[:1] == '_' and name[1:2] != '_'):
                namespace[name] = None


# --- Exceptions.

def report(error, compiled, filename, flags):
    """Returns the start of the reply for an exception, and shows it where that is wanted."""
    cls = type(error)
    tb = error.__traceback__
    # Our own frames come first, and with top-level await those of asyncio.
    while tb is not None and tb.tb_frame.f_globals is globals():
        tb = tb.tb_next
    first = tb
    while first is not None and first.tb_frame.f_code.co_filename != filename:
        first = first.tb_next
    if first is not None and 'asyncio.runners' == tb.tb_frame.f_globals.get('__name__'):
        tb = first
    error.__traceback__ = tb
    if cls is MemoryError or issubclass(cls, MemoryError):
        release(tb)

    if compiled and issubclass(cls, SystemExit):
        status, message = exit_status(error)
        if in_child:
            leave(status)
        return '{"status":"exit","exit":%d,"exception":{"name":%s,"value":%s}' % (
            status, quote(cut(type_qualname(cls).rpartition('.')[2], MAX_VALUE)), quote(cut(message, MAX_MESSAGE)))

    line = getattr(error, 'lineno', 0) if not compiled else 0
    while first is not None:
        if first.tb_frame.f_code.co_filename == filename:
            line = first.tb_lineno
        first = first.tb_next
    message = message_of(error)  # first: an endless __str__ is interrupted here, and not called again
    text = format_traceback(error, tb)
    if in_child:
        sys.stderr.write(text)
        leave(1)
    if cls is not MemoryError:
        sys.last_type, sys.last_value, sys.last_traceback = cls, error, tb
        sys.last_exc = error
    try:
        if sys.excepthook is not excepthook:
            sys.excepthook(cls, error, tb)
        elif flags & SHOW:
            sys.stderr.write(text)
    except Exception:
        stderr.write(text)
    status = 'error' if compiled else 'syntax-error'
    if issubclass(cls, KeyboardInterrupt):
        status = 'interrupted'
    return '{"status":"%s","exception":{"name":%s,"value":%s,"traceback":%s,"line":%d}' % (
        status, quote(cut(type_qualname(cls).rpartition('.')[2], MAX_VALUE)), quote(message),
        quote(shorten(text)), line if type(line) is int and 0 <= line < 1 << 31 else 0)


def message_of(error):
    try:
        return cut(str.__str__(str(error)), MAX_MESSAGE)
    except Exception:
        return '<exception str() failed>'


def shorten(text):
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else text[:half - 10] + '\n  ...\n' + text[-half:]


def exit_status(error):
    """Returns what the process's exit status would be; what is not a number goes to stderr."""
    code = getattr(error, 'code', None)
    if code is None:
        return 0, ''
    if int in type_mro(type(code)):
        return int.__and__(code, 255) if -1 << 63 <= code < 1 << 63 else 255, scalar_text(code, int)
    message = str(code)
    try:
        sys.stderr.write(message + '\n')
    except Exception:
        pass
    return 1, message


def release(tb):
    """Frees what an exception for lack of memory still holds, so that it can be reported."""
    global spare
    spare = None
    sys.last_type = sys.last_value = sys.last_traceback = sys.last_exc = None
    while tb is not None:
        try:
            tb.tb_frame.clear()
        except RuntimeError:  # still running, in another thread or a generator
            pass
        tb = tb.tb_next


class Collector:
    """A stand-in for sys.stderr that keeps what this thread writes."""

    def __init__(self):
        self.parts, self.thread = [], _thread.get_ident()

    def write(self, text):
        if _thread.get_ident() == self.thread:
            self.parts.append(text)
        else:
            stderr.write(text)
        return len(text)

    def flush(self):
        pass


def format_traceback(error, tb):
    """Returns what Python itself prints for an exception. Up to 3.12 that is the work of C code, which
    reads source lines with io.open: for the files that exist only here it gets an anonymous one."""
    io, kept, collector = modules.get('io'), sys.stderr, Collector()
    real = getattr(io, 'open', None)

    def open_source(name, *args, **kwargs):
        if type(name) is str and name in sources:
            return real(anonymous_file(sources[name]), *args, **kwargs)
        return real(name, *args, **kwargs)
    sys.stderr = collector
    if io is not None and sys.version_info < (3, 13):
        io.open = open_source
    try:
        excepthook(type(error), error, tb)
    except Exception:
        pass
    finally:
        sys.stderr = kept
        if io is not None:
            io.open = real
    return ''.join(collector.parts) or plain_traceback(error, tb)


def plain_traceback(error, tb):
    """Needs next to nothing: for when memory or the stack has ended."""
    text = 'Traceback (most recent call last):\n'
    for _ in range(50):
        if tb is None:
            break
        code = tb.tb_frame.f_code
        text += '  File "%s", line %d, in %s\n' % (code.co_filename, tb.tb_lineno, code.co_name)
        tb = tb.tb_next
    return text + type_qualname(type(error)) + '\n'


# --- The other operations, and the loop.

def complete(text):
    text = text.decode('utf-8', 'replace')
    names = []
    if text.strip():
        completer = load('rlcompleter').Completer(namespace)
        while len(names) < MAX_NAMES:
            name = completer.complete(text, len(names))
            if name is None:
                break
            names.append(cut(name, 2 * MAX_VALUE))
    return '{"status":"ok","names":' + quote_list(names) + '}'


def check(source):
    """Says whether source, typed line by line, is whole: complete, incomplete or invalid."""
    source = source.decode('utf-8', 'replace')
    state = 'complete'
    try:
        if load('codeop').compile_command(source, '<input>', 'single') is None:
            state = 'incomplete'
    except (SyntaxError, ValueError, OverflowError):
        try:
            compile(source, '<input>', 'exec', ONLY_AST, True)  # several statements, pasted
        except (SyntaxError, ValueError, OverflowError):
            state = 'invalid'
    return '{"status":"ok","state":"%s"}' % state


def limit(size):
    resource = load('resource')
    resource.setrlimit(resource.RLIMIT_DATA, (int(size), int(size)))
    return '{"status":"ok"}'


def answer(data):
    op, flags, _, _, *sizes = memoryview(data)[4:44].cast('I').tolist()
    fields, start = [], 44
    for size in sizes:
        fields.append(data[start:start + size])
        start += size
    if op == EXEC:
        return execute(flags, *fields)
    return {COMPLETE: complete, CHECK: check, LIMIT: limit}[op](fields[0])


def ignore_interrupts():
    """Makes SIGINT harmless; one that is pending arrives here as an exception."""
    for _ in range(1000):
        try:
            set_handler(SIGINT, SIG_IGN)
            return
        except BaseException:
            pass


def after_fork():
    """A child must not speak for the REPL."""
    global in_child
    in_child = True
    try:
        close(CONTROL)
    except OSError:
        pass


def serve():
    global spare
    while True:
        try:
            data = receive()
            if data is None:
                return
        except OSError as e:
            if e.errno is not None and type(e) is not TimeoutError:
                return  # the channel is gone
            continue
        except BaseException:
            continue  # a signal handler that the code has left behind
        try:
            # SIGINT is the host's time-out, or the user's Ctrl-C. From here on it interrupts, whatever
            # handler the last execution left.
            set_handler(SIGINT, raise_interrupt)
            reply = answer(data).encode('utf-8', 'backslashreplace')
        except BaseException as e:
            if in_child:
                raise
            # Rare: an interrupt, or the end of memory, between the code's end and here.
            if type(e) is KeyboardInterrupt:
                reply = b'{"status":"interrupted","exception":{"name":"KeyboardInterrupt","traceback":"KeyboardInterrupt\\n"}}'
            elif type(e) is MemoryError:
                reply = b'{"status":"error","exception":{"name":"MemoryError","traceback":"MemoryError\\n"}}'
            else:
                reply = b'{"status":"error","exception":{"name":"SystemError","value":"the REPL failed"}}'
        ignore_interrupts()
        try:
            send(data[12:20] + reply)
            if spare is None:
                spare = bytearray(1 << 16)  # to be given up when memory ends
        except OSError:
            return
        except BaseException:
            pass


class Lazy:
    """One of the names that the site module adds for people: exit, help, license ..."""

    def __init__(self, name):
        self._name = name

    def __call__(self, *args):
        if self._name in ('exit', 'quit'):
            raise SystemExit(*args)
        return self._real()(*args)

    def __repr__(self):
        return repr(self._real())

    def _real(self):
        site = load('site')
        site.setquit()
        site.setcopyright()
        site.sethelper()
        return getattr(builtins, self._name)


ignore_interrupts()
sys.path.insert(0, posix.getcwd())
for i in range(1, len(sys.argv) - 1):
    if sys.argv[i] == '--path':
        sys.path.append(sys.argv[i + 1])
sys.argv = ['']
sys.meta_path.insert(0, LinecacheFinder)
for i in ('exit', 'quit', 'help', 'copyright', 'credits', 'license'):
    setattr(builtins, i, Lazy(i))
posix.register_at_fork(after_in_child=after_fork)
stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
stdin_kind = 'empty'
stdout.reconfigure(line_buffering=True)
new_namespace()
modules['__main__'] = main
send(bytes(8) + b'{"pid":%d,"version":"%d.%d.%d"}' % ((posix.getpid(),) + sys.version_info[:3]))
serve()
