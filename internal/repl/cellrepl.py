# --- One execution.

def new_namespace():
    """Makes an empty __main__, with the names that Python itself puts there."""
    global main, namespace
    main = Module('__main__')
    namespace = main.__dict__
    namespace['__annotations__'] = {}
    namespace['__builtins__'] = builtins
    namespace['__loader__'] = modules['_frozen_importlib'].BuiltinImporter
    for name in [n for n in hidden if n[:2] == '__']:
        del hidden[name]
    namespace.update(hidden)  # what was preloaded
    shown.clear()


def prepare(source, filename, script):
    """Compiles source; returns the code to run, and the code of a last expression or None."""
    if script:
        return compile(source, filename, 'exec', 0, True), None
    # One line tells by itself whether it is an expression; the first syntax tree costs a process
    # 1.5 ms. A backslash may mean a warning, which must not come twice.
    line = source.rstrip()
    if not (b'\n' in line or b'\r' in line or b';' in line or b'\\' in line or line[:1].isspace()):
        if assigns(line):
            return compile(source, filename, 'exec', 0, True), None
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


def assigns(line):
    """Says whether one line is no expression for certain: a name, perhaps an operator, and a single =.
    To find that out by compiling takes longer than most such lines run."""
    before, found, after = line.partition(b'=')
    name = before.rstrip(b' +-*/%&|^@<>')
    return (found and after[:1] != b'=' and name.replace(b'_', b'a').isalnum()
            and before[len(name):].strip() not in (b'<', b'>') and b'await' not in line and b'async' not in line)


def split(source, filename, flags):
    tree = compile(source, filename, 'exec', ONLY_AST | flags, True)
    last = None
    if tree.body and type(tree.body[-1]).__name__ == 'Expr':
        last = tree.body.pop().value
    body = compile(tree, filename, 'exec', flags, True)
    if last is None:
        return body, None
    for kind in type.__subclasses__(type(tree).__base__):  # those of _ast.mod; an import could fail
        if kind.__name__ == 'Expression':
            return body, compile(kind(last), filename, 'eval', flags | body.co_flags & FUTURES, True)


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


# --- Rich results. What makes them is loaded when it is first needed: most code shows nothing of the kind.

results = None     # of this execution, as JSON; None when none are wanted
results_flags = 0  # of this execution
left_out = False   # something was too large
show_loaded = False
PLAIN = {int, float, bool, str, bytes, list, tuple, dict, set, frozenset, complex, range, Function, Builtin, type}
METHODS = ['_repr_%s_' % n for n in ('html', 'mimebundle', 'png', 'svg', 'markdown', 'latex', 'jpeg', 'json', 'pdf')]


def load_show():
    global show_loaded
    if not show_loaded:
        fd = posix.open(show_path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            data = b''.join(iter(lambda: read(fd, 1 << 16), b''))
        finally:
            close(fd)
        exec(load('marshal').loads(data[16:]), globals())
        show_loaded = True


def display(*objects, **options):
    """Shows objects in all forms that they have: HTML, pictures, text. See IPython.display.display."""
    load_show()
    return display_now(*objects, **options)


def is_rich(cls):
    for name in METHODS:
        if getattr(cls, name, None) is not None:
            return True
    return any(type_qualname(c) == 'Figure' for c in type_mro(cls))


def begin_results(flags):
    global results, results_flags, left_out, shown_bytes
    results, results_flags, left_out, shown_bytes = ([] if flags & RICH else None), flags, False, 0


def end_results(error):
    """Shows the figures that are open, and returns the error that the execution ends with."""
    if not in_child and 'matplotlib.pyplot' in modules and not isinstance(error, (KeyboardInterrupt, MemoryError)):
        try:
            if getattr(modules['matplotlib._pylab_helpers'].Gcf, 'figs', True) or show_loaded and figures_shown:
                load_show()
                show_figures()
        except KeyboardInterrupt as e:
            return error if error is not None else e
        except BaseException as e:
            load_show()
            complain('showing the figures', e)
    return error


def execute(flags, source, filename, module, argv, env, stdin_data):
    global executions, namespace
    # Before anything else, because the code of the last execution may have left them in any state.
    restore_streams()
    if flags & (STDIN_DATA | STDIN_LIVE) or stdin_kind != 'empty' or not usable(stdin):
        set_stdin(flags, stdin_data)
    sys.stdin = sys.__stdin__ = stdin
    if flags & FRESH and executions:
        new_namespace()
        load('gc').collect()  # what only cycles of the old namespace held
    executions += 1
    modules['__main__'] = main
    filename = filename.decode('utf-8', 'replace')
    sys.argv = argv.decode('utf-8', 'surrogateescape').split('\0')[:-1] if argv else [filename]
    borrowed = set_environment(env) if env else None
    path = None
    if filename[:1] != '<' and not module:
        path = filename if filename[:1] == '/' else posix.getcwd() + '/' + filename
        if namespace.get('__file__') != path:
            namespace['__file__'] = path
            namespace['__cached__'] = None
            namespace['__loader__'] = importer.SourceFileLoader('__main__', path)
        if flags & SAVE:
            save(path, source)
    begin_results(flags)
    namespace.pop('__warningregistry__', None)  # "once per location" means once per execution

    error = text = before = None
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
                if results is not None:
                    before = len(results)
                    if type(value) not in PLAIN and is_rich(type(value)):
                        load_show()
                        show_value(value)
                value = None
    except BaseException as e:
        error = e
    if borrowed:
        try:
            restore_environment(borrowed)
        except BaseException as e:
            error = e if error is None else error
    # A trace function left behind would see, and could break, what follows.
    if getprofile() is not None:
        setprofile(None)
    if gettrace() is not None:
        settrace(None)
    if getrecursionlimit() < 500:
        setrecursionlimit(1000)
    if results is not None:
        error = end_results(error)
    if error is not None:
        reply = report(error, compiled, filename, flags)
        error = None
    elif in_child:
        leave(0)
    else:
        reply = '{"status":"ok"'
        if text is not None:
            reply += ',"value":' + quote(text)
    if results:
        if before is not None and not (before < len(results) and results[before][:15] == '{"kind":"value"'):
            results.insert(before, '{"kind":"value"}')  # its place
        reply += ',"results":[' + ','.join(results) + (']' if not left_out else '],"left_out":true')
    if flags & PRELOAD:
        hidden.update(namespace)
    if not flags & QUIET:
        reply += ',"namespace":{' + summary() + '}'
    if flags & FINISH:
        finish()
    flush_streams()
    return reply + '}'


def set_environment(env):
    """Sets variables, and returns what they were: name, the value now, the value before or None."""
    before = []
    for item in env.split(b'\0')[:-1]:
        name, _, value = item.partition(b'=')
        before.append((name, value, posix.environ.get(name)))
        set_variable(name, value)
    return before


def restore_environment(before):
    """Undoes set_environment, but for variables that the code has set anew."""
    for name, value, old in before:
        now = modules['os'].environb.get(name) if 'os' in modules else posix.environ.get(name)
        if now == value:
            set_variable(name, old)


def set_variable(name, value):
    """value is None for one that is to be gone. os.environ is a copy of posix.environ."""
    if value is None:
        posix.environ.pop(name, None)
        posix.unsetenv(name)
        if 'os' in modules:
            modules['os'].environb.pop(name, None)
        return
    posix.environ[name] = value
    posix.putenv(name, value)
    if 'os' in modules:
        modules['os'].environb[name] = value


def set_env(env):
    set_environment(env)
    return '{"status":"ok"}'


def save(path, source):
    fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o644)
    try:
        while source:
            source = source[write(fd, source):]
    finally:
        close(fd)


def leave(status):
    """Ends a forked child that came back from the code, as the end of a program would."""
    flush_streams()
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
    return {COMPLETE: complete, CHECK: check, LIMIT: limit, TEMPLATE: prepare_template, SETENV: set_env}[op](fields[0])


def listen_to_signals():
    """From here on SIGINT interrupts, whatever handler the last execution left: it is the host's
    time-out, or the user's Ctrl-C."""
    global mask
    set_handler(SIGINT, raise_interrupt)
    if mask is not None:
        own, mask = mask, None
        set_mask(SIG_SETMASK, own)


def ignore_signals():
    """Makes SIGINT harmless, and keeps other handlers of the code's out of our way: one that raises
    between a read or a write and what follows would lose a frame. What is pending arrives here."""
    global mask
    for _ in range(1000):
        try:
            set_handler(SIGINT, SIG_IGN)
            if 'signal' in modules:
                if mask is None:
                    mask = set_mask(SIG_BLOCK, ())
                # But not SIGINT: one that is blocked would wait for the next execution.
                set_mask(SIG_BLOCK, OTHER_SIGNALS)
            return
        except BaseException:
            pass


def after_fork():
    """A child must not speak for the REPL."""
    global in_child, results
    if forks is not None:
        return  # it is to be one
    in_child, results = True, None
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
        except MemoryError:
            if spare is None:
                posix.abort()  # trying again would find no more: this end is an answer, and waiting none
            spare = None
            continue
        except BaseException:
            continue  # a signal handler that the code has left behind
        try:
            listen_to_signals()
            reply = answer(data).encode('utf-8', 'backslashreplace')
        except BaseException as e:
            if in_child:
                raise
            # Rare: an interrupt, or the end of memory, between the code's end and here.
            if type(e) is KeyboardInterrupt:
                reply = b'{"status":"interrupted","exception":{"name":"KeyboardInterrupt","traceback":"KeyboardInterrupt\\n"}}'
            elif type(e) is MemoryError:
                spare = None
                reply = b'{"status":"error","exception":{"name":"MemoryError","traceback":"MemoryError\\n"}}'
            else:
                reply = ('{"status":"error","exception":{"name":%s,"value":"the REPL failed"}}' % quote(
                    cut(type_qualname(type(e)), MAX_VALUE))).encode('utf-8', 'backslashreplace')
        ignore_signals()
        try:
            send(data[12:20] + reply)
            if forks is not None:
                data = reply = None
                become_template()
        except OSError:
            return
        except MemoryError:
            posix.abort()  # half of the answer may be out
        except BaseException:
            pass
        if spare is None:
            try:
                spare = bytes(SPARE)
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


ignore_signals()
sys.path.insert(0, posix.getcwd())
for i in range(1, len(sys.argv) - 1):
    if sys.argv[i] == '--path':
        sys.path.append(sys.argv[i + 1])
show_path = sys.argv[0][:sys.argv[0].rfind('/') + 1] + 'show.pyc'
sys.argv = ['']
sys.meta_path.insert(0, finder)
for i in ('exit', 'quit', 'help', 'copyright', 'credits', 'license'):
    setattr(builtins, i, Lazy(i))
builtins.display = display
posix.register_at_fork(before=before_fork, after_in_child=after_fork)
stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
stdin_kind = 'empty'
stdout.reconfigure(line_buffering=True)
new_namespace()
modules['__main__'] = main
prepare(b'warm = 1', '', False)  # the first use of the compiler takes 2 ms: the host is still busy
serve()
