# --- A template: this program in a process that REPLs are forked from. It has run what is preloaded,
# and from now on native code only, which would otherwise copy its pages for each REPL.

native = None  # fork.so, in a template
forks = None   # the plan of each fork, in a template that is done
states, filled, generators = [], [], []   # of random numbers
hooks, all_hooks, few_hooks = [], [], []  # what Python does after a fork: its own list, and its contents


def prepare_template(plan):
    global native, forks
    if native is None:
        spec = Module('cellblock_fork')
        spec.name, spec.origin = 'cellblock_fork', '/cellblock/fork.so'
        native = _imp.create_dynamic(spec)
        modules.pop('cellblock_fork', None)
        native.gather()
        load_show()
    else:
        sources.clear()
        latest.clear()
        forks = plan
    return '{"status":"ok"}'


def own_memory():
    """Where this process's own memory lies: pairs of addresses."""
    fd = posix.open('/proc/self/maps', posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        text = b''.join(iter(lambda: read(fd, 1 << 16), b''))
    finally:
        close(fd)
    for line in text.splitlines():
        where, rights, _, _, inode, *name = line.split()
        if rights == b'rw-p' and inode == b'0' and name in ([], [b'[heap]']):
            yield [int(a, 16) for a in where.split(b'-')]


def nothing():
    pass


# What modules have Python do after a fork, so as to forget threads that are not there any more and the
# locks that they held. A template has no other thread (the host has looked) and holds no lock but the one
# named here; to look for more would copy a hundred pages.
NO_THREADS = {
    ('threading', '_after_fork'): nothing,
    ('logging', '_after_at_fork_child_reinit_locks'): lambda: _lock._at_fork_reinit(),  # the module's
}


def become_template():
    """Returns in the REPLs that are forked, as one that has just started."""
    global forks, served, executions
    executions = 0
    rehearse()
    find_generators()
    free_log = spare_hooks()
    if sys.version_info >= (3, 11):  # before, types would forget what they have learned
        # For an attribute that is new to this cache an older name has to go: three pages, and one if none has.
        getattr(sys, '_clear_type_cache', len)()
    load('gc').collect()
    load('gc').freeze()
    gather_pages()
    forget_own()
    native.serve(forks)
    served, forks = forks, None  # kept, as what is not freed is not copied
    if free_log is not None:
        free_log()
    reseed()
    greet()


def rehearse():
    """Makes, uses and shows a small table where sessions will have pandas, often enough for Python to fit its
    code to that: a session copies fewer pages then. Drawing is not rehearsed, as matplotlib keeps the files of
    its fonts open."""
    global results
    if 'pandas' not in modules:
        return
    try:
        for _ in range(10):
            begin_results(RICH)
            frame = modules['pandas'].DataFrame({'a': [1, 2, 3]})
            frame.a.sum()
            repr(frame)
            show_value(frame)
    except Exception:
        pass  # whoever does it will be told
    results = None


def gather_pages():
    """In large pages a fork has less to copy, and the end of a REPL less to give back."""
    for start, end in own_memory():
        native.collapse(packed(start, end))


def packed(start, end):
    return start.to_bytes(8, sys.byteorder) + end.to_bytes(8, sys.byteorder)


def forget_own():
    """Forgets what is true of this process and its folder only."""
    if 'tempfile' in modules:
        modules['tempfile']._name_sequence = None
    if 'uuid' in modules:
        modules['uuid']._node = modules['uuid']._last_timestamp = None
    sys.path_importer_cache.pop(posix.getcwd(), None)


def spare_hooks():
    """Has Python do less after a fork. It forgets threads that are not there any more and the locks that they
    held, but a template has no other thread (the host has looked), and looking for them copies a hundred
    pages. Returns what is left of that, if anything: logging's own lock, which is taken before a fork."""
    global hooks, all_hooks, few_hooks
    found = [o for o in load('gc').get_objects() if type(o) is list and o and o[0] is after_fork]
    if len(found) != 1:
        return None
    log = modules.get('logging')
    locks = getattr(log, '_after_at_fork_child_reinit_locks', None)
    needless = [getattr(modules.get('threading'), '_after_fork', None), locks]
    if 'random' in modules and modules['random']._inst in filled:
        needless.append(modules['random']._inst.seed)
    hooks, all_hooks = found[0], found[0][:]
    hooks[:] = few_hooks = [h for h in all_hooks if h not in needless]
    return log._lock._at_fork_reinit if locks in all_hooks else None


def before_fork():
    """Forks that the code itself makes are as ever."""
    global hooks
    if forks is None and hooks:
        hooks[:len(few_hooks)], hooks = all_hooks, []


def find_generators():
    """Finds the generators of random numbers that modules keep. Chance of the kernel's for the 624 words of
    one's state is as good a seed as any, and to seed by Python copies up to seventy pages: states are where
    those words are, as fill wants it, of the generators where that is certain."""
    global states, filled, generators
    states, filled, generators = [], [], []
    random, kind = modules.get('random'), getattr(modules.get('_random'), 'Random', None)
    for o in load('gc').get_objects() if kind else ():
        if not issubclass(type(o), kind) or random and type(o) is random.SystemRandom:
            continue
        if random and type(o) is random.Random:
            o.seed()  # all words are used up then, and no half of a pair of normal numbers is kept
            words = b''.join([w.to_bytes(4, sys.byteorder) for w in o.getstate()[1][:-1]])
            at = native.peek(packed(id(o), id(o) + type(o).__basicsize__)).find(words)
            if len(words) == 2496 and at > 0:
                states.append(packed(id(o) + at, id(o) + at + 2496))
                filled.append(o)
                continue
        if not random or o is not random._inst:  # which Python seeds anew
            generators.append(o)
    if 'numpy.random' in modules:
        random = modules['numpy.random']
        random.seed()
        try:
            generator = random.mtrand._rand._bit_generator
            start = generator.ctypes.state_address
            words = generator.state['state']['key'].tobytes()
            if len(words) == 2496 and native.peek(packed(start, start + 2496)) == words:
                states.append(packed(start, start + 2496))
                return
        except Exception:
            pass
        generators.append(random)


def reseed():
    """What Python does not do by itself after a fork, so that siblings differ. It goes by process
    numbers, too, and those of siblings are the same."""
    for place in states:
        native.fill(place)
    for generator in generators:
        generator.seed()
    if 'multiprocessing.process' in modules:
        modules['multiprocessing.process'].current_process().authkey = posix.urandom(32)
