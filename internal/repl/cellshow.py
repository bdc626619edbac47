"""The rich results of a session: what notebooks show beside text.

This is a file of its own, which the REPL reads when code first shows something that has more forms than
text, and runs among its own globals (cellrepl.py). What it makes are claims like all others: the host
checks kinds, sizes and contents again.
"""

# Forms by their MIME type, each with the method that gives it and what it is: text, data or JSON. The
# host knows the same ones (results.go); another one is not sent.
FORMS = {
    'text/plain': (None, 'text'),
    'text/html': ('_repr_html_', 'text'),
    'text/markdown': ('_repr_markdown_', 'text'),
    'text/latex': ('_repr_latex_', 'text'),
    'image/svg+xml': ('_repr_svg_', 'text'),
    'image/png': ('_repr_png_', 'data'),
    'image/jpeg': ('_repr_jpeg_', 'data'),
    'image/gif': (None, 'data'),
    'image/webp': (None, 'data'),
    'application/pdf': ('_repr_pdf_', 'data'),
    'application/json': ('_repr_json_', 'json'),
    'application/geo+json': (None, 'json'),
    'application/vnd.dataresource+json': (None, 'json'),
    'application/vnd.plotly.v1+json': (None, 'json'),
    'application/vnd.vega.v5+json': (None, 'json'),
    'application/vnd.vegalite.v4+json': (None, 'json'),
    'application/vnd.vegalite.v5+json': (None, 'json'),
}
# Bounds, as in results.go: of one form and of all together in bytes as they are sent, and of their number.
MAX_FORM, MAX_SHOWN, MAX_RESULTS = 4 << 20, 8 << 20, 64
MAX_PIXELS = 1 << 25  # of a figure
TABLE_ROWS, TABLE_COLUMNS, TABLE_BYTES = 100, 50, 256 << 10


def complain(what, error):
    """One line on stderr for a form that could not be made: the others still are."""
    try:
        text = '%s failed: %s: %s\n' % (what, type_qualname(type(error)), message_of(error)[:500])
        sys.stderr.write(text)
    except Exception:
        pass


def attempt(what, function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as e:
        complain(what, e)


def is_a(x, module, name):
    for base in type_mro(type(x)):
        if type_qualname(base) == name and type_module(base) == module:
            return True
    return False


# --- Forms of an object.

def forms(x):
    """Returns a dict of the forms that x has beside its plain text, by MIME type."""
    cls = type(x)
    if is_a(x, 'matplotlib.figure', 'Figure'):
        return attempt('drawing the figure', figure_forms, x) or {}
    if (kinds.get(cls) or kind_of(cls))[1] == 'frame':
        return frame_forms(x)
    made = {}
    for mime, (method, _) in FORMS.items():
        if method is not None and getattr(cls, method, None) is not None:
            made[mime] = attempt(method, getattr(x, method, None))
    if getattr(cls, '_repr_mimebundle_', None) is not None:
        bundle = attempt('_repr_mimebundle_', x._repr_mimebundle_, include=None, exclude=None)
        if type(bundle) is tuple and bundle:
            bundle = bundle[0]  # the second is metadata
        if type(bundle) is dict:
            made.update(bundle)
    return {mime: form for mime, form in made.items() if form is not None}


def figure_forms(figure):
    width, height = figure.get_size_inches() * figure.dpi
    if not width * height <= MAX_PIXELS:
        raise ValueError('%d x %d pixels are too many to be shown' % (width, height))
    file = _io.BytesIO()
    kind = 'svg' if results_flags & SVG else 'png'
    figure.savefig(file, format=kind, dpi=figure.dpi, bbox_inches='tight')
    return {'image/svg+xml': file.getvalue()} if kind == 'svg' else {'image/png': file.getvalue()}


def frame_forms(frame):
    made = {}
    pandas = modules['pandas']
    columns = pandas.get_option('display.max_columns') or 20  # 0: as wide as a terminal
    with pandas.option_context('display.max_columns', columns):
        made['text/html'] = attempt('_repr_html_', frame._repr_html_)
    # Some tables have no such form: columns of several levels, names that are there twice.
    try:
        made['application/vnd.dataresource+json'] = frame_table(frame)
    except Exception:
        pass
    return {mime: form for mime, form in made.items() if form is not None}


def frame_table(frame):
    """Returns the beginning of a frame as a tabular data resource, with its whole shape."""
    rows, columns = frame.shape
    for count in TABLE_ROWS, 10:
        part = frame.iloc[:count, :TABLE_COLUMNS]
        text = part.to_json(orient='table', default_handler=str)
        if len(text) <= TABLE_BYTES:
            return '{"shape":[%d,%d],' % (rows, columns) + str.__str__(text)[1:]


# --- What is kept of them.

def encoded(form, kind):
    """Returns the text of one form as it is sent, or None."""
    if kind == 'data':
        if isinstance(form, (bytes, bytearray)):
            if len(form) > MAX_FORM:
                return None
            form = load('binascii').b2a_base64(form, newline=False).decode('ascii')
    elif isinstance(form, (bytes, bytearray)):
        form = bytes(form[:MAX_FORM + 1]).decode('utf-8', 'replace')
    if kind == 'json' and not isinstance(form, str):
        form = load('json').dumps(form, default=str)
    if not isinstance(form, str):
        return None
    form = str.__str__(form)
    if len(form) > MAX_FORM:
        return None
    if kind == 'data':
        form = form.replace('\n', '')
    return quote(form)


def add_result(kind, made):
    """Adds one result to those of this execution. A form that is too large is named instead."""
    global shown_bytes, left_out
    if len(results) >= MAX_RESULTS:
        left_out = True
        return
    kept, dropped = [], []
    for mime in list(made):
        if type(mime) is not str or mime not in FORMS:
            continue
        text = attempt(mime, encoded, made[mime], FORMS[mime][1])
        size = MAX_FORM + 1 if text is None else len(text.encode('utf-8', 'backslashreplace'))
        if size > MAX_FORM or shown_bytes + size > MAX_SHOWN:
            dropped.append(mime)
            left_out = True
            continue
        shown_bytes += size
        kept.append(quote(mime) + ':' + text)
    if kept or dropped:
        results.append('{"kind":"%s","data":{%s},"dropped":%s}' % (kind, ','.join(kept), quote_list(dropped)))


def plain(x):
    text = attempt('repr', repr, x)
    return '<%s>' % type_name(type(x)) if text is None else cut(str.__str__(text), MAX_TEXT)


def show_value(x):
    made = forms(x)
    made.pop('text/plain', None)  # the host has it
    if made:
        add_result('value', made)
    done_with(x)


def show_figures():
    """Shows the figures that pyplot holds, and closes them, as notebooks do: what is drawn next is a new
    one."""
    managers = modules['matplotlib._pylab_helpers'].Gcf.get_all_fig_managers()
    for manager in managers:
        figure = manager.canvas.figure
        if (figure.axes or figure.texts or figure.lines or figure.images) and not is_shown(figure):
            add_result('figure', {'text/plain': plain(figure), **forms(figure)})
    if managers:
        modules['matplotlib.pyplot'].close('all')
    figures_shown.clear()


figures_shown = []  # that are the value or were displayed, and not changed since


def done_with(x):
    if is_a(x, 'matplotlib.figure', 'Figure'):
        figures_shown.append(x)
        x.stale = False


def is_shown(figure):
    for other in figures_shown:
        if other is figure:
            return not figure.stale
    return False


# --- display(), for code, and for libraries that look for IPython's.

def display_now(*objects, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False,
                clear=False, **options):
    for x in objects:
        if raw and type(x) is dict:
            made = dict(x)
        else:
            made = {'text/plain': plain(x), **forms(x)}
        if results is None or results_flags & ECHO:
            text = made.get('text/plain')
            print(text if isinstance(text, str) else plain(x))
        if results is not None:
            add_result('display', made)
            done_with(x)
    if display_id is not None:
        return Handle(display_id)


class Handle:
    """What display(display_id=True) returns. Nothing that was shown is changed later: an update shows
    once more."""

    def __init__(self, display_id=None):
        self.display_id = display_id if isinstance(display_id, str) else load('os').urandom(16).hex()

    def display(self, x, **options):
        display(x, **options)

    update = display


def ipython_modules():
    """Returns the names of each module that stands in for IPython. get_ipython() is None, which is what
    IPython says in a process that is not its own; libraries then do what they do in plain Python."""
    base64 = load('base64')

    class DisplayObject:
        mime, binary = 'text/plain', False

        def __init__(self, data=None, url=None, filename=None, metadata=None, **options):
            self.data, self.url, self.filename, self.metadata = data, url, filename, metadata
            if filename is None and data is None and url is None:
                raise ValueError('%s needs data, a url or a filename' % type(self).__name__)
            if filename is not None:
                self.reload()

        def reload(self):
            with _io.open(self.filename, 'rb' if self.binary else 'r') as f:
                self.data = f.read()

        def _repr_mimebundle_(self, include=None, exclude=None):
            return {} if self.data is None else {self.mime: self.data}

        def __repr__(self):
            return '<IPython.core.display.%s object>' % type(self).__name__

    def kind(name, mime, base=DisplayObject, **more):
        return type(name, (base,), dict(more, mime=mime, __module__='IPython.core.display'))

    class Image(DisplayObject):
        binary = True
        kinds = {b'\x89PNG': 'image/png', b'\xff\xd8\xff': 'image/jpeg', b'GIF8': 'image/gif', b'RIFF': 'image/webp'}

        def __init__(self, data=None, url=None, filename=None, format=None, **options):
            if isinstance(data, str):  # a file's name, or an address
                data, url, filename = None, *((data, filename) if '://' in data else (url, data))
            DisplayObject.__init__(self, data, url, filename)

        def _repr_mimebundle_(self, include=None, exclude=None):
            if self.data is None:
                return {'text/html': '<img src="%s">' % load('html').escape(str(self.url))}
            for start, mime in self.kinds.items():
                if bytes(self.data[:len(start)]) == start:
                    return {mime: self.data}
            return {}
    Image.__module__ = 'IPython.core.display'

    class Math(DisplayObject):
        mime = 'text/latex'

        def _repr_mimebundle_(self, include=None, exclude=None):
            return {self.mime: '$\\displaystyle %s$' % str(self.data).strip('$')}

    class JSON(DisplayObject):
        mime = 'application/json'

        def reload(self):
            DisplayObject.reload(self)
            self.data = load('json').loads(self.data)

    class Code(DisplayObject):
        def __repr__(self):
            return str(self.data)

    def publish(data, metadata=None, **options):
        display(data, raw=True)

    def display_as(mime):
        def show(*objects, raw=False, **options):
            for x in objects:
                if raw:
                    display({mime: x}, raw=True)
                else:
                    display(x)
        return show

    names = {
        'display': display, 'DisplayHandle': Handle, 'DisplayObject': DisplayObject, 'TextDisplayObject': DisplayObject,
        'HTML': kind('HTML', 'text/html', _repr_html_=lambda self: self.data, __html__=lambda self: self.data),
        'Markdown': kind('Markdown', 'text/markdown'), 'Latex': kind('Latex', 'text/latex'),
        'SVG': kind('SVG', 'image/svg+xml'), 'Pretty': Code, 'Code': Code, 'Image': Image, 'Math': Math, 'JSON': JSON,
        'GeoJSON': kind('GeoJSON', 'application/geo+json', JSON),
        'clear_output': lambda wait=False: None, 'publish_display_data': publish,
        'update_display': lambda x, *, display_id, **options: display(x),
    }
    for mime, (method, _) in FORMS.items():
        if method is not None:
            names['display' + method[5:-1]] = display_as(mime)
    top = {'get_ipython': lambda: None, 'version_info': (0, 0), '__version__': '0.0'}
    return {'IPython': top, 'IPython.core': {}, 'IPython.core.getipython': {'get_ipython': top['get_ipython']},
            'IPython.display': names, 'IPython.core.display': names, 'IPython.core.display_functions': names}


def ipython_spec(name):
    global stand_ins
    if stand_ins is None:
        stand_ins = ipython_modules()

    def exec_module(module):
        module.__dict__.update(stand_ins[name])
        if name == 'IPython':
            load('IPython.display')
    loader = Module('cell_ipython')
    loader.create_module = lambda spec: None
    loader.exec_module = exec_module
    return modules['_frozen_importlib'].ModuleSpec(name, loader, is_package=name in ('IPython', 'IPython.core'))


stand_ins = None
