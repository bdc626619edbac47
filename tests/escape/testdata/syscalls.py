# Every number from 0 to 1023, with all arguments 0 and with all of them -1, by each
# way into the kernel: what came of it, one line each. Every call is made by machine
# code in a child of its own, which notes the result and ends: so one may end it,
# stop it, or give back twice (vfork). The child shares this process's memory, for a
# copy of it takes long, and has no use for a stack.
WAITS = 3  # seconds, after which a call is taken for one that waits
start = (  # (%rdi: number, arguments, result; %rsi: stack)
    '41 54  49 89 fc'                                       # push %r12; mov %rdi,%r12
    'b8 38 00 00 00  bf 11 01 00 00'                        # clone(CLONE_VM|SIGCHLD, %rsi,
    '31 d2  45 31 d2  45 31 c0  0f 05'                      #       0, 0, 0)
    '85 c0  74 03  41 5c  c3'                               # in the parent: pop %r12; ret
    'b8 25 00 00 00  bf 0' + str(WAITS) + ' 00 00 00 0f 05')  # alarm(WAITS)
load = '49 8b 04 24'  # mov (%r12),%rax
store = '49 89 44 24 38  31 ff  b8 e7 00 00 00  0f 05'  # mov %rax,56(%r12); exit_group(0)
ways = {
    # The arguments to rdi rsi rdx r10 r8 r9; syscall.
    'x86-64': ('49 8b 7c 24 08  49 8b 74 24 10  49 8b 54 24 18  4d 8b 54 24 20  4d 8b 44 24 28  4d 8b 4c 24 30  0f 05', 0),
    # The arguments to rbx rcx rdx rsi rdi rbp; int $0x80.
    'int-0x80': ('49 8b 5c 24 08  49 8b 4c 24 10  49 8b 54 24 18  49 8b 74 24 20  49 8b 7c 24 28  49 8b 6c 24 30  cd 80', 0),
}
ways['x32'] = (ways['x86-64'][0], 0x40000000)
NOTHING = 0x5a5a5a5a5a5a5a5a
results = mmap.mmap(-1, 1 << 20)
base = ctypes.addressof(ctypes.c_char.from_buffer(results))
stack = ctypes.create_string_buffer(65536)
table = {}
running = {}
pages = []  # a child may be late, and run in one whose way is over
at = 0  # nor does it find another's number in its place: each has one of its own


def reap():
    pid, status = os.waitpid(-1, 0)
    key, at = running.pop(pid)
    n = struct.unpack_from('q', results, at + 56)[0]
    if n != NOTHING:
        table[key] = 'ok' if not -4096 < n < 0 else str(n)
    elif os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        table[key] = 'waits' if name == 'SIGALRM' else name
    else:
        table[key] = 'ends'


for way, (code, bit) in ways.items():
    pages.append(page := mmap.mmap(-1, 4096, prot=7))
    page.write(bytes.fromhex(start + load + code + store))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    for value in (0, -1):
        for number in range(1024):
            at += 64
            struct.pack_into('8q', results, at, number | bit, *[value] * 6, NOTHING)
            pid = call(base + at, ctypes.addressof(stack) + 32768)
            running[pid] = (way, number, value), at
            while len(running) > 12: reap()
while running: reap()
for way in ways:
    for number in range(1024):
        print(way, number, table[way, number, 0], table[way, number, -1])
