"""What ordinary programs do. Run plain and under both filters, it must print the same.

argv: a directory to write to.
"""
import asyncio, concurrent.futures, errno, fcntl, glob, hashlib, io, multiprocessing, os, pathlib, platform, random, resource
import select, selectors, shutil, signal, sqlite3, subprocess, sys, tarfile, tempfile, threading, time, uuid, zipfile
from multiprocessing import shared_memory

os.chdir(sys.argv[1])
tests = []


def test(f):
    tests.append(f)
    return f


@test
def files():
    p = pathlib.Path("a/b")
    p.mkdir(parents=True)
    (p / "x").write_text("hello")
    os.symlink("x", p / "link"), os.link(p / "x", p / "hard"), os.rename(p / "hard", p / "y")
    os.chmod(p / "x", 0o640), os.utime(p / "x", (1, 2)), os.truncate(p / "x", 3)
    shutil.copy2(p / "x", "copy"), shutil.copytree("a", "tree"), shutil.move("tree", "moved"), shutil.rmtree("moved")
    os.mkfifo("fifo"), os.chown("copy", os.getuid(), os.getgid())
    with open("copy", "r+b") as f:
        fcntl.flock(f, fcntl.LOCK_EX), fcntl.lockf(f, fcntl.LOCK_EX), os.fsync(f.fileno()), os.posix_fallocate(f.fileno(), 0, 100)
    os.sync()
    return sorted(glob.glob("**", recursive=True)), os.stat("copy").st_size, os.access("copy", os.X_OK), os.path.realpath("a/b/link")[-5:]


@test
def archives():
    with tarfile.open("t.tar.gz", "w:gz") as t:
        t.add("a")
    with tarfile.open("t.tar.gz") as t:
        t.extractall("un")
    with zipfile.ZipFile("z.zip", "w") as z:
        z.write("copy")
    return sorted(os.listdir("un")), zipfile.ZipFile("z.zip").namelist()


@test
def temporary():
    with tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile(dir=d) as f, tempfile.TemporaryFile() as g:
        f.write(b"x"), g.write(b"y")
        return len(os.listdir(d))


@test
def database():
    c = sqlite3.connect("db")
    c.execute("pragma journal_mode=wal")
    c.execute("create table t(x)"), c.executemany("insert into t values(?)", [(i,) for i in range(1000)]), c.commit()
    return c.execute("select sum(x) from t").fetchone()


@test
def threads():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda x: x * x, range(100)))


@test
def forks():
    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    with lock, context.Pool(2) as pool:
        return pool.map(abs, range(-5, 0))


@test
def shared():
    m = shared_memory.SharedMemory(create=True, size=10, track=False) if sys.version_info >= (3, 13) else None
    if m is None:
        # Before 3.13 the tracker is a program of its own, which cannot be started.
        from multiprocessing import resource_tracker
        resource_tracker.register = resource_tracker.unregister = lambda *a: None
        m = shared_memory.SharedMemory(create=True, size=10)
    m.buf[0] = 7
    value = m.buf[0]
    m.close(), m.unlink()
    return value


@test
def loop():
    async def main():
        q = asyncio.Queue()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, q.put_nowait, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        r, w = os.pipe()
        loop.add_reader(r, lambda: q.put_nowait(os.read(r, 1)))
        first = await q.get()
        os.write(w, b"p")
        await asyncio.sleep(0.001)
        return first, await q.get(), await asyncio.to_thread(lambda: 5)

    return asyncio.run(main())


@test
def waiting():
    r, w = os.pipe()
    os.write(w, b"x")
    poll = select.poll()
    poll.register(r, select.POLLIN)
    with selectors.DefaultSelector() as s:
        s.register(r, selectors.EVENT_READ)
        return len(poll.poll(10)), len(s.select(1)), len(select.select([r], [], [], 1)[0]), os.eventfd_read(os.eventfd(3))


@test
def signals():
    hits = []
    signal.signal(signal.SIGALRM, lambda *a: hits.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.pause()
    return hits


@test
def system():
    os.nice(1), os.umask(0o22), resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return (len(os.urandom(8)), len(os.sched_getaffinity(0)) > 0, os.isatty(0), os.getpid() > 0, platform.system(),
            resource.getrlimit(resource.RLIMIT_CORE), time.monotonic() > 0, len(uuid.uuid4().hex), hashlib.sha256(b"").hexdigest()[:8])


@test
def children():
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    fd = os.pidfd_open(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), fd > 2


@test
def arrays():
    import numpy as np
    a = np.arange(250000.0).reshape(500, 500) / 1e5
    np.save("a.npy", a)
    b = np.load("a.npy", mmap_mode="r+")
    b[0, 0] = 1
    b.flush()
    return float((a @ a).sum()) > 0, round(float(np.linalg.norm(np.linalg.inv(np.eye(50) * 2))), 6), float(np.random.default_rng(1).random()) < 1


@test
def frames():
    import pandas as pd
    df = pd.DataFrame({"k": list("abab"), "v": range(4)})
    df.to_csv("f.csv"), df.to_sql("f", sqlite3.connect("db2"))
    return df.groupby("k").v.sum().tolist(), pd.read_csv("f.csv").shape, pd.read_sql("select * from f", sqlite3.connect("db2")).shape


@test
def drawing():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], label="é"), ax.legend(), ax.set_title("$x^2$")
    out = io.BytesIO()
    fig.savefig(out, format="png"), fig.savefig("f.svg"), fig.savefig("f.pdf")
    return out.getvalue()[:4], os.path.getsize("f.pdf") > 1000


for f in tests:
    try:
        print(f.__name__, f())
    except BaseException as e:
        print(f.__name__, "raised", type(e).__name__, e)
