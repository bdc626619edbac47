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
        hook = getattr(sys, 'excepthook', excepthook)
        if hook is not excepthook:
            hook(cls, error, tb)
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


def format_traceback(error, tb):
    """Returns what Python itself prints for an exception. Up to 3.12 that is the work of C code, which
    reads source lines with io.open: for the files that exist only here it gets an anonymous one."""
    kept = getattr(sys, 'stderr', None)
    parts, thread = [], _thread.get_ident()
    real = getattr(io, 'open', _io.open)

    def open_source(name, *args, **kwargs):
        if type(name) is str and name in sources:
            return real(anonymous_file(sources[name]), *args, **kwargs)
        return real(name, *args, **kwargs)

    class Collector:  # stands in for sys.stderr, for this thread only
        def write(self, text):
            if _thread.get_ident() == thread:
                parts.append(text)
            else:
                stderr.write(text)

        def flush(self):
            pass
    sys.stderr = Collector()
    modules['io'] = io  # Python crashes when it is something else
    if io_open_is_used:
        io.open = open_source
    try:
        excepthook(type(error), error, tb)
    except Exception:
        pass
    finally:
        sys.stderr = kept
        io.open = real
    return ''.join(parts) or plain_traceback(error, tb)


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
