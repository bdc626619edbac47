"""Ends what a probe has left in a session, so that the next one can be played in it."""
import gc, os, shutil, signal, sys, threading, time
sys.settrace(None)
sys.setprofile(None)
signal.setitimer(signal.ITIMER_REAL, 0)
for s in range(1, signal.NSIG):
    try:
        signal.signal(s, {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN, signal.SIGXFSZ: signal.SIG_IGN}.get(s, signal.SIG_DFL))
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_SETMASK, [])


def others():
    return [p for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]


end = time.monotonic() + 10
while (others() or threading.active_count() > 1) and time.monotonic() < end:
    try:
        os.kill(-1, signal.SIGKILL)
    except OSError:
        pass
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except OSError:
        pass
    time.sleep(0.01)
os.closerange(4, 4096)


def clear():
    """Empties the working directory, however deep it is."""
    above = []
    while True:
        below = None
        with os.scandir() as entries:
            for e in entries:
                if e.is_dir(follow_symlinks=False):
                    below = e.name
                else:
                    os.unlink(e.name)
        if below is not None:
            os.chmod(below, 0o700)
            os.chdir(below)
            above.append(below)
        elif above:
            os.chdir('..')
            os.rmdir(above.pop())
        else:
            return


for top in ('/tmp', '/dev/shm', '/workspace'):
    os.chdir(top)
    clear()
gc.collect()
print(others(), threading.active_count(), sum(len(os.listdir(d)) for d in ('/workspace', '/tmp', '/dev/shm')))
for s in [n for n in globals() if not n.startswith('__')]:
    del globals()[s]
