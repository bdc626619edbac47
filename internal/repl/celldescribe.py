# --- Source text, for tracebacks, warnings and inspect.

latest = {}   # file name -> (code objects, source) of the last execution under that name
sources = {}  # every name -> source that linecache is to know


def lines_of(source):
    try:
        text = (source[3:] if source[:3] == b'\xef\xbb\xbf' else source).decode()
    except UnicodeDecodeError:
        text = source.decode('latin-1')
    if text and text[-1] != '\n':
        text += '\n'
    if '\r' in text:
        return _io.StringIO(text, None).readlines()
    return [line + '\n' for line in text.split('\n')[:-1]]


def publish(linecache, names):
    if type(linecache) is not Module or type(getattr(linecache, 'cache', None)) is not dict:
        return  # not there yet, or tampered with
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
    publish(linecache, names)
    if len(names) > 1 and len(sources) > 2:
        forget()


def forget():
    total = sum([len(s) for s in sources.values()])
    for name in list(sources):
        if total <= MAX_SOURCES:
            return
        if name not in latest:
            total -= len(sources.pop(name))


def skip_tracker(module):
    """Keeps multiprocessing from starting the program that removes shared memory after a crash: a cell
    starts none, and takes /dev/shm with it when it ends."""
    module.ResourceTracker.ensure_running = lambda self: None
    module.ResourceTracker._send = lambda self, command, name, kind: None
    module.getfd = lambda: 2  # for starting a program, which is refused later


def find_by_looking(module):
    """Makes ctypes.util.find_library look for a file itself. Python's own asks ldconfig and compilers,
    programs that a cell neither has nor could start."""
    def find_library(name):
        impl, os = sys.implementation, load('os')
        dirs = ['/usr/lib/' + getattr(impl, '_multiarch', ''), '/usr/lib64', '/usr/lib']
        for folder in os.environ.get('LD_LIBRARY_PATH', '').split(':') + dirs:
            try:
                files = posix.listdir(folder) if folder[:1] == '/' else []
            except OSError:
                continue
            plain = 'lib%s.so' % name
            # libz.so.1 before libz.so.1.2, and that before libz.so, which may be text for a linker
            found = [f for f in files if f[:len(plain) + 1] == plain + '.' and f[len(plain) + 1:].replace('.', '').isdigit()]
            if found or plain in files:
                return min(found, key=lambda f: (f.count('.'), f)) if found else plain
        return None
    module.find_library = find_library


def take_show(module):
    """Makes pyplot.show show: the figures become results of the execution, where it is to have any."""
    real = module.show

    def show(*args, **kwargs):
        if results is None:
            return real(*args, **kwargs)
        load_show()
        show_figures()
    show.__doc__ = real.__doc__
    module.show = show


def take_display(module):
    if hasattr(module, 'display'):
        module.display = display


# What is done to a module when something imports it, so that nobody pays for it before.
after_import = {
    'linecache': lambda module: publish(module, sources),
    'multiprocessing.resource_tracker': skip_tracker,
    'ctypes.util': find_by_looking,
    'matplotlib.pyplot': take_show,
    'IPython': take_display,
    'IPython.core': take_display,
    'IPython.core.getipython': take_display,
    'IPython.core.display': take_display,
    'IPython.core.display_functions': take_display,
    'IPython.display': take_display,
}


def find_spec(name, path=None, target=None):
    if name not in after_import:
        return None
    spec = importer.PathFinder.find_spec(name, path)
    if spec is None and name[:7] == 'IPython':
        load_show()
        return ipython_spec(name)
    if spec is not None:
        loader = spec.loader

        def exec_module(module):
            type(loader).exec_module(loader, module)
            after_import[name](module)
        loader.exec_module = exec_module
    return spec


finder = Module('cell_finder')  # a class would do the same, and cost 40 µs to make
finder.find_spec = find_spec
finder.__module__ = finder.__name__  # what else stands in sys.meta_path has one, and is asked for it


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
