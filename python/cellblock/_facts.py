"""Facts of a Python syntax tree, for a host that judges them.

A resident process in a cell of its own. File descriptor 3 is a stream socket:

    host -> here   u32 little-endian length, source bytes        (<= 4 MiB)
    here -> host   u32 little-endian length, one JSON object     (<= 4 MiB)

until the host closes it. Nothing of the source is ever executed. The tree is
CPython's own (what ast.parse(bytes) gives), so coding cookies, byte order
marks, lone carriage returns and NFKC names are as the interpreter has them.
What is allowed is not decided here: the host knows the blocked names.

A reply is one of
    {"error":{"kind":…,"message":…,"line":…,"col":…}}  it does not parse
    {"truncated":true}                                 too much to report
    {"done":true,"imports":[…],"uses":[…],"aliases":[…]}
Lines count from 1. Columns count from 1, in characters for an error and in
UTF-8 bytes elsewhere, as CPython counts them.

This is a lint. Hostile source can crash or fool this process and nothing else.
Only built-in modules are imported: start-up counts (ast and json cost 20 ms).
"""

import builtins
import gc
import posix
import sys
import warnings

import _ast

try:
    from _json import encode_basestring_ascii as quote
except ImportError:
    from json.encoder import encode_basestring_ascii as quote

CONTROL = 3
MAX_SOURCE = 4 << 20
MAX_REPLY = 4 << 20
MAX_FACTS = 20000  # imports + uses + aliases of one source
MAX_PLACES = 64  # positions kept of one name
MAX_PARTS = 16  # a.b.c… is cut after so many names; the policy compares prefixes
MAX_VALUES = 64  # values looked at for one assignment

BUILTINS = frozenset(dir(builtins)) | {"__builtins__"}
# Fields that hold no tree and bind no name. A string in any other field is a
# name that the code binds (of a function, class, parameter, pattern, …).
PLAIN = frozenset(
    "ctx op ops attr id level kind type_comment type_ignores conversion"
    " is_async simple kwd_attrs tag str lineno col_offset".split()
)
TRUNCATED = b'{"truncated":true}'

Name, Attribute, Call, Subscript = _ast.Name, _ast.Attribute, _ast.Call, _ast.Subscript
Constant, NamedExpr, Load = _ast.Constant, _ast.NamedExpr, _ast.Load
SEQUENCES = (_ast.Tuple, _ast.List, _ast.Set)


def dotted(node):
    """Return ("a.b.c" or None, what is left to visit) of an expression.

    getattr(a, "b"), a.__dict__["b"] and __builtins__["b"] are read as a.b.
    """
    parts = []
    left = []
    while True:
        kind = node.__class__
        if kind is Attribute:
            parts.append(node.attr)
            node = node.value
        elif kind is Name:
            parts.append(node.id)
            parts.reverse()
            return ".".join(parts[:MAX_PARTS]), left
        elif kind is NamedExpr and parts:
            # (o := os).system means o.system; visiting the rest binds o.
            left.append(node)
            node = node.target
        elif kind is Call and parts_of_getattr(node):
            parts.append(node.args[1].value)
            left.append(node.func)
            left.extend(node.args[2:])
            node = node.args[0]
        elif kind is Subscript and is_namespace(node):
            parts.append(node.slice.value)
            node = node.value
            if node.__class__ is Attribute:
                node = node.value
        else:
            left.append(node)
            return None, left


def is_word(node):
    return node.__class__ is Constant and node.value.__class__ is str and node.value.isidentifier()


def parts_of_getattr(call):
    func, args = call.func, call.args
    return (
        func.__class__ is Name
        and func.id == "getattr"
        and 2 <= len(args) <= 3
        and not call.keywords
        and is_word(args[1])
    )


def is_namespace(subscript):
    base = subscript.value
    return is_word(subscript.slice) and (
        (base.__class__ is Attribute and base.attr == "__dict__")
        or (base.__class__ is Name and base.id == "__builtins__")
    )


def sources(node):
    """Return the dotted names that an expression may simply hand on."""
    found = []
    queue = [node]
    for node in queue:
        if len(queue) > MAX_VALUES:
            break
        kind = node.__class__
        if kind is _ast.IfExp:
            queue.append(node.body)
            queue.append(node.orelse)
        elif kind is _ast.BoolOp:
            queue.extend(node.values)
        elif kind is NamedExpr:
            queue.append(node.value)
        else:
            name = dotted(node)[0]
            if name is not None:
                found.append(name)
    return found


class Facts:
    """The facts of one tree. The walk keeps its own stack: depth is no matter."""

    def __init__(self):
        self.stack = []
        self.imports = []  # (module, name, asname, level, line, column)
        self.aliases = []  # (name, source, line, column)
        self.calls = {}  # dotted name -> [line, column, line, column, …]
        self.chains = {}  # dotted name with a dot, other than as callee
        self.names = {}  # plain name, other than as callee
        self.bound = set()  # names that the code binds, imports apart
        self.imported = set()
        self.star = False

    def walk(self, tree):
        stack = self.stack
        stack.append(tree)
        while stack:
            node = stack.pop()
            kind = node.__class__
            visit = VISIT.get(kind)
            if visit is not None:
                visit(self, node)
                continue
            fields = FIELDS.get(kind)
            if fields is None:
                # Backwards, since the stack turns them round again.
                fields = tuple(f for f in reversed(kind._fields) if f not in PLAIN)
                FIELDS[kind] = fields
            for field in fields:
                value = getattr(node, field, None)
                if value.__class__ is list:
                    stack.extend(value[::-1])
                elif value is not None:
                    stack.append(value)

    def skip(self, node):
        pass

    def bind(self, name):
        self.bound.add(name)

    def name(self, node):
        if node.ctx.__class__ is Load:
            note(self.names, node.id, node)
        else:
            self.bound.add(node.id)

    def access(self, node):
        """An attribute or an item: a use of a dotted name, where it is one."""
        if node.ctx.__class__ is not Load:
            self.stack.append(node.value)
            if node.__class__ is Subscript:
                self.stack.append(node.slice)
            return
        name, left = dotted(node)
        if name is None and left[-1] is node:  # an item of no namespace
            self.stack.append(node.slice)
            self.stack.append(node.value)
            return
        if name is not None:
            note(self.chains, name, node)
        self.stack.extend(left)

    def call(self, node):
        stack = self.stack
        stack.extend(node.keywords[::-1])
        if parts_of_getattr(node):  # getattr(a, "b") that nothing calls
            name, left = dotted(node)
            if name is not None:
                note(self.chains, name, node)
            stack.extend(left)
            return
        stack.extend(node.args[::-1])
        name, left = dotted(node.func)
        if name is not None:
            note(self.calls, name, node)
        stack.extend(left)

    def keyword(self, node):
        self.stack.append(node.value)

    def plain_import(self, node):
        for alias in node.names:
            module, asname = alias.name, alias.asname
            self.imported.add(asname or module.partition(".")[0])
            self.imports.append((module, "", asname or "", 0, node.lineno, node.col_offset + 1))

    def from_import(self, node):
        module, level = node.module or "", node.level or 0
        for alias in node.names:
            name, asname = alias.name, alias.asname or ""
            if name == "*":
                self.star = True
            else:
                self.imported.add(asname or name)
            self.imports.append((module, name, asname, level, node.lineno, node.col_offset + 1))

    def alias(self, target, found, node):
        if target.__class__ is Name:
            target = target.id
        elif target.__class__ is not str:
            return
        for source in found:
            self.aliases.append((target, source, node.lineno, node.col_offset + 1))

    def assign(self, node):
        found = None
        for target in node.targets:
            if target.__class__ is Name:
                if found is None:
                    found = sources(node.value)
                self.alias(target, found, target)
            else:
                self.unpack(target, node.value)
        self.stack.append(node.value)
        self.stack.extend(node.targets[::-1])

    def assign_one(self, node):
        """x: T = value, and (x := value)."""
        if node.value is not None:
            self.alias(node.target, sources(node.value), node.target)
            self.stack.append(node.value)
        self.stack.append(node.target)
        if node.__class__ is not NamedExpr:
            self.stack.append(node.annotation)

    def unpack(self, target, value):
        """(a, b) = (os, sys): pair by pair, as deep as both sides are shown."""
        pairs = [(target, value)]
        while pairs:
            target, value = pairs.pop()
            if target.__class__ not in SEQUENCES:
                self.alias(target, sources(value), target)
            elif value.__class__ in SEQUENCES and len(target.elts) == len(value.elts):
                pairs.extend(zip(target.elts, value.elts))

    def loop(self, node):
        """for x in (os, sys): x is each of them. Statement or comprehension."""
        if node.iter.__class__ in SEQUENCES:
            for value in node.iter.elts:
                self.unpack(node.target, value)
        stack = self.stack
        for part in ("orelse", "body", "ifs"):
            stack.extend(getattr(node, part, ())[::-1])
        stack.append(node.iter)
        stack.append(node.target)

    def arguments(self, node):
        """def f(o=os): o may be os."""
        positional = node.posonlyargs + node.args
        defaults = node.defaults
        pairs = list(zip(positional[len(positional) - len(defaults):], defaults))
        pairs += zip(node.kwonlyargs, node.kw_defaults)
        for arg, value in pairs:
            if value is not None:
                self.alias(arg.arg, sources(value), arg)
                self.stack.append(value)
        for arg in positional + [node.vararg] + node.kwonlyargs + [node.kwarg]:
            if arg is not None:
                self.bound.add(arg.arg)
                self.stack.append(arg.annotation)

    def reply(self):
        """Encode what can matter: names whose origin is an import, an alias,
        the builtins or unknown (an earlier execution). What hangs on a
        variable that the code itself makes (df.columns) cannot."""
        own = self.bound - self.imported - {alias[0] for alias in self.aliases}
        known = self.bound | self.imported

        def matters(name):
            return name.partition(".")[0] not in own

        aliases = [a for a in self.aliases if matters(a[1]) or a[1] in BUILTINS]
        uses = [(n, "true", p) for n, p in self.calls.items() if "." not in n or matters(n)]
        uses += [(n, "false", p) for n, p in self.chains.items() if matters(n)]
        uses += [
            (n, "false", p)
            for n, p in self.names.items()
            if n not in known and (self.star or n in BUILTINS)
        ]
        if len(self.imports) + len(aliases) + len(uses) > MAX_FACTS:
            return TRUNCATED
        parts = ['{"done":true,"imports":[']
        parts.append(",".join([
            '{"module":%s,"name":%s,"as":%s,"level":%d,"line":%d,"col":%d}'
            % (quote(m), quote(n), quote(a), level, line, col)
            for m, n, a, level, line, col in self.imports
        ]))
        parts.append('],"uses":[')
        parts.append(",".join([
            '{"name":%s,"call":%s,"at":[%s]}'
            % (quote(name), call, ",".join(map(str, places)))
            for name, call, places in uses
        ]))
        parts.append('],"aliases":[')
        parts.append(",".join([
            '{"name":%s,"source":%s,"line":%d,"col":%d}' % (quote(n), quote(s), line, col)
            for n, s, line, col in aliases
        ]))
        parts.append("]}")
        data = "".join(parts).encode("ascii")
        return data if len(data) <= MAX_REPLY else TRUNCATED


def note(table, name, node):
    places = table.get(name)
    if places is None:
        table[name] = [node.lineno, node.col_offset + 1]
    elif len(places) < 2 * MAX_PLACES:
        places.append(node.lineno)
        places.append(node.col_offset + 1)


FIELDS = {}
VISIT = {
    str: Facts.bind,
    type(None): Facts.skip,
    Constant: Facts.skip,
    _ast.Global: Facts.skip,
    _ast.Nonlocal: Facts.skip,
    Name: Facts.name,
    Attribute: Facts.access,
    Subscript: Facts.access,
    Call: Facts.call,
    _ast.keyword: Facts.keyword,
    _ast.Import: Facts.plain_import,
    _ast.ImportFrom: Facts.from_import,
    _ast.Assign: Facts.assign,
    _ast.AnnAssign: Facts.assign_one,
    NamedExpr: Facts.assign_one,
    _ast.For: Facts.loop,
    _ast.AsyncFor: Facts.loop,
    _ast.comprehension: Facts.loop,
    _ast.arguments: Facts.arguments,
}


def examine(source):
    try:
        tree = compile(source, "<unknown>", "exec", _ast.PyCF_ONLY_AST, True)
        facts = Facts()
        facts.walk(tree)
        return facts.reply()
    except SyntaxError as error:
        return failure("SyntaxError", error.msg, error.lineno, error.offset)
    except BaseException as error:  # MemoryError, RecursionError, ValueError, LookupError
        return failure(error.__class__.__name__, error, 0, 0)


def failure(kind, message, line, col):
    try:
        message = str(message)[:500]
    except BaseException:
        message = ""
    line = line if line.__class__ is int and line > 0 else 0
    col = col if col.__class__ is int and col > 0 else 0
    return (
        '{"error":{"kind":%s,"message":%s,"line":%d,"col":%d}}'
        % (quote(kind), quote(message), line, col)
    ).encode("ascii")


def receive(size):
    """Return exactly size bytes, or None at the end of the stream."""
    chunks = []
    while size:
        chunk = posix.read(CONTROL, min(size, 1 << 20))
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def serve():
    # The tree has no cycles, so the collector would only look at it in vain.
    gc.disable()
    # "\d" in somebody's source is no business of this process's stderr.
    warnings.simplefilter("ignore")
    while True:
        head = receive(4)
        if head is None:
            return
        size = int.from_bytes(head, "little")
        if size > MAX_SOURCE:
            sys.exit("facts: the host sent %d bytes" % size)
        source = receive(size) if size else b""
        if source is None:
            return
        reply = examine(source)
        del source
        reply = len(reply).to_bytes(4, "little") + reply
        while reply:
            reply = reply[posix.write(CONTROL, reply):]


if __name__ == "__main__":
    serve()
