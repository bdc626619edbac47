# --- A template: this program in a process that REPLs are forked from. It has run what is preloaded,
# and from now on native code only, which would otherwise copy its pages for each REPL.

native = None  # fork.so, in a template
forks = None   # the plan of each fork, in a template that is done
numpy_state, generators = None, []


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
    global forks, executions, numpy_state, generators
    executions = 0
    numpy_state, generators = find_numpy_state(), find_generators()
    if sys.version_info >= (3, 11):  # before, types would forget what they have learned
        # For an attribute that is new to this cache an older name has to go: three pages, and one if none has.
        getattr(sys, '_clear_type_cache', nothing)()
    gc = load('gc')
    gc.collect()
    gc.freeze()
    # In large pages a fork has less to copy, and the end of a REPL less to give back.
    for start, end in own_memory():
        native.collapse(start.to_bytes(8, sys.byteorder) + end.to_bytes(8, sys.byteorder))
    kept = []
    for (module, name), instead in NO_THREADS.items():
        hook = getattr(modules.get(module), name, None)
        if type(hook) is Function:
            kept.append((hook, hook.__code__))
            hook.__code__ = instead.__code__
    native.serve(forks)
    for hook, code in kept:
        hook.__code__ = code
    forks = None
    reseed()
    greet()


def find_numpy_state():
    """Returns where the 624 words of numpy's global generator are, as collapse and fill want it: chance
    of the kernel's is as good a seed as any, and to seed by Python copies seventy pages. It is None
    where they are not found for certain."""
    try:
        random = modules['numpy.random']
        random.seed()  # all words are used up then, and no half of a pair of normal numbers is kept
        generator = random.mtrand._rand._bit_generator
        start = generator.ctypes.state_address
        words = generator.state['state']['key'].tobytes()
        if len(words) == 2496 and load('ctypes').string_at(start, 2496) == words:
            return start.to_bytes(8, sys.byteorder) + (start + 2496).to_bytes(8, sys.byteorder)
    except Exception:
        pass
    return None


def find_generators():
    """Returns the generators of random numbers that modules keep: those that Python does not seed anew
    after a fork."""
    kind = getattr(modules.get('_random'), 'Random', None)
    system = getattr(modules.get('random'), 'SystemRandom', None)
    return [o for o in load('gc').get_objects() if kind and issubclass(type(o), kind) and type(o) is not system]


def reseed():
    """What Python does not do by itself after a fork, so that siblings differ. It goes by process
    numbers, too, and those of siblings are the same."""
    sys.path_importer_cache.pop(posix.getcwd(), None)
    if 'tempfile' in modules:
        modules['tempfile']._name_sequence = None
    if 'uuid' in modules:
        modules['uuid']._node = modules['uuid']._last_timestamp = None
    for generator in generators:
        generator.seed()
    if 'multiprocessing.process' in modules:
        modules['multiprocessing.process'].current_process().authkey = posix.urandom(32)
    if numpy_state:
        native.fill(numpy_state)
    elif 'numpy.random' in modules:
        modules['numpy.random'].seed()
