"""A service of the caller's own, where none is named.

It is started at first use, listens on a socket in a private directory, and ends
with this process, however that ends: the service holds one end of a pipe whose
other end only this process has.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib.metadata
import logging
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ._http import Address
from .errors import Unavailable

# Building a root, at the very first start, takes longest.
_START_TIMEOUT = 600.0
_STOP_TIMEOUT = 15.0
_SILENCE = 2.0  # of a start; then it says why it takes so long
_PREFIX = "cellblock-own-"  # of the folder of a service, in the temporary directory
# Of the caller's environment the service gets what says where things are.
_ENVIRONMENT = {
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "DBUS_SESSION_BUS_ADDRESS",
    "CELLBLOCK_STATE_DIR", "CELLBLOCK_RUNTIME_DIR", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
}  # fmt: skip
# The libraries that code of the old system found imported, where its Python had them.
LIBRARIES = ["pandas as pd", "numpy as np", "matplotlib.pyplot as plt"]
# Tools that install packages: a root carries none, and code has no use for them.
_INSTALLERS = {"pip", "setuptools", "wheel", "pkg-resources", "distribute", "virtualenv"}

logger = logging.getLogger("cellblock")


@dataclass(frozen=True)
class Own:
    """How a private service is started; the defaults are the caller's own Python
    with the packages that it has."""

    binary: Optional[str] = None
    python: Optional[str] = None
    venv: Optional[str] = None
    packages: Optional[Tuple[str, ...]] = None
    root: Optional[str] = None
    without: Tuple[str, ...] = ()

    def _source(self) -> Tuple[Optional[str], Optional[str], List[str]]:
        """What the root is built from: an interpreter, a virtual environment, packages."""
        packages = list(self.packages or ())
        if self.python or self.venv:
            return self.python, self.venv, packages
        if sys.prefix != sys.base_prefix:
            return None, sys.prefix, packages
        return _interpreter(), None, installed_packages() if self.packages is None else packages

    def root_flags(self) -> List[str]:
        if self.root:
            return ["--root", self.root]
        python, venv, packages = self._source()
        flags = ["--python", python] if python else []
        flags += ["--venv", venv] if venv else []
        return flags + (["--with", ",".join(packages)] if packages else [])

    def libraries(self) -> List[str]:
        """Those of LIBRARIES that the root will have, as far as that is known."""
        if self.root:
            return []
        _, venv, packages = self._source()
        there = {name.lower() for name in packages}
        if venv:
            there |= {p.name for p in Path(venv).glob("lib/python3.*/site-packages/*") if p.is_dir()}
        if there & {"pandas", "matplotlib"}:
            there.add("numpy")
        return [entry for entry in LIBRARIES if re.split(r"[. ]", entry)[0] in there]


def _interpreter() -> str:
    """The caller's own interpreter; a program that embeds Python has none to name."""
    if os.path.basename(sys.executable or "").startswith("python"):
        return sys.executable
    return os.path.join(sys.base_exec_prefix, "bin", "python%d.%d" % sys.version_info[:2])


def installed_packages() -> List[str]:
    """The names of what is installed in this interpreter's own directories,
    those of `pip install --user` and of PYTHONPATH apart."""
    prefixes = (sys.base_prefix + os.sep, "/usr/lib/", "/usr/local/lib/") if sys.base_prefix == "/usr" else (sys.base_prefix + os.sep,)
    places = [
        p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages") and p.startswith(prefixes)
    ]
    names = {d.metadata["Name"] for d in importlib.metadata.distributions(path=places) if d.metadata["Name"]}
    return sorted(n for n in names if n.lower().replace("_", "-") not in _INSTALLERS)


def binary(named: Optional[str]) -> str:
    """Find the `cellblock` program."""
    named = named or os.environ.get("CELLBLOCK_BIN")
    found = shutil.which(named or "cellblock")
    if found:
        return found
    if named:
        raise Unavailable(f"there is no program {named!r}: CELLBLOCK_BIN, or binary=, names the cellblock program")
    raise Unavailable(
        "no service is named, and there is no program \"cellblock\" in PATH to start one: "
        "install it, name it with CELLBLOCK_BIN, or name a service with CELLBLOCK_URL or CELLBLOCK_SOCKET"
    )


class _Service:
    """A running service and this process's end of its lifeline."""

    def __init__(self, own: Own, libraries: List[str]) -> None:
        self.libraries = libraries
        self._lock = -1
        _sweep()
        self.folder = tempfile.mkdtemp(prefix=_PREFIX)
        self.address = Address(socket=os.path.join(self.folder, "socket"))
        self._log = os.path.join(self.folder, "log")
        try:
            self._lock = _hold(self.folder)
            self._start(own)
        except BaseException:
            self._remove()
            raise

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _start(self, own: Own) -> None:
        command = [binary(own.binary), "serve", "--lifeline", "--socket", self.address.socket]
        command += ["--config", os.devnull, "--log-level", "warn", *own.root_flags()]
        if self.libraries:
            command += ["--preload", ",".join(self.libraries)]
        for layer in own.without:
            command += ["--without", layer]
        if os.geteuid() != 0 and "cgroup" not in own.without:
            command = delegated_scope() + command
        environment = {k: v for k, v in os.environ.items() if k in _ENVIRONMENT or k.startswith("XDG_")}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notice, open(self._log, "wb") as log:
            notice.bind(os.path.join(self.folder, "ready"))
            environment["NOTIFY_SOCKET"] = os.path.join(self.folder, "ready")
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # a Ctrl-C in the terminal is the caller's
            )
            self._await_ready(notice, command)

    def _await_ready(self, notice: socket.socket, command: List[str]) -> None:
        """Wait until the service says that it is ready, or has ended."""
        # Nothing else tells the end of a child to who waits for a socket.
        def tell_end() -> None:
            self.process.wait()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                try:
                    s.sendto(b"ENDED=1", os.path.join(self.folder, "ready"))
                except OSError:
                    pass

        threading.Thread(target=tell_end, name="cellblock-service", daemon=True).start()
        begun, told = time.monotonic(), False
        while True:
            waited = time.monotonic() - begun
            notice.settimeout(max(0.001, (_START_TIMEOUT if told else _SILENCE) - waited))
            try:
                lines = notice.recv(4096).split(b"\n")
            except socket.timeout:
                if not told:
                    told = True
                    _tell("preparing a sandbox with this Python's packages, once; later starts use it again")
                    continue
                said = self._said()
                self.stop()
                raise Unavailable(f"{' '.join(command[:2])} was not ready after {_START_TIMEOUT:g} s: {said}") from None
            if b"READY=1" in lines:
                return
            if b"ENDED=1" in lines:
                said = self._said()
                self.stop()
                raise Unavailable(f"{' '.join(command[:2])} ended before it was ready: {said}")

    def _said(self) -> str:
        with open(self._log, "rb") as f:
            return f.read()[-2000:].decode("utf-8", "replace").strip() or "it said nothing"

    def alive(self) -> bool:
        return self.process.poll() is None

    def release(self) -> None:
        """In a child of a fork: the service is the parent's, whose end of the
        lifeline must be the last."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.returncode = 0
        self._unlock()

    def stop(self) -> None:
        """End the service, and with it its cells."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._remove()


def _tell(what: str) -> None:
    """Say what takes so long: to who looks at the log, or sits at a terminal."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(what)
    elif sys.stderr is not None and sys.stderr.isatty():
        print(f"cellblock: {what}", file=sys.stderr, flush=True)


def _hold(folder: str) -> int:
    """Lock a folder until this process ends, however that ends, for _sweep to see.
    The file has its name only when it is locked."""
    fd = os.open(os.path.join(folder, "locking"), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.rename(os.path.join(folder, "locking"), os.path.join(folder, "lock"))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sweep() -> None:
    """Remove the folders that processes of this user left which were killed."""
    try:
        entries = list(os.scandir(tempfile.gettempdir()))
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(_PREFIX):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            fd = os.open(os.path.join(entry.path, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # it is gone by now, or being made
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry.path, ignore_errors=True)
        except OSError:
            pass  # its process lives
        finally:
            os.close(fd)


def delegated_scope() -> List[str]:
    """What gives a user's service control groups of its own, where systemd can."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if not runtime or not Path(runtime, "systemd", "private").exists() or not shutil.which("systemd-run"):
        return []
    return ["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes", "--"]


_lock = threading.Lock()
_running: Dict[Own, _Service] = {}


def start(own: Own) -> Address:
    """Return where the service of this kind is, which is started if need be."""
    with _lock:
        service = _running.get(own)
        if service is None or not service.alive():
            service = _running[own] = _start(own)
        return service.address


def _start(own: Own) -> _Service:
    libraries = own.libraries()
    try:
        return _Service(own, libraries)
    except Unavailable as error:
        # A library that is there and broken must not keep all other code from running.
        if not libraries or "cannot preload" not in str(error):
            raise
        return _Service(own, [])


def has_libraries(own: Own) -> bool:
    """Say whether sessions of this service have what they should without asking."""
    with _lock:
        service = _running.get(own)
        return service is not None and service.libraries == own.libraries() and not own.root


def lives_at(own: Own, address: Address) -> bool:
    with _lock:
        service = _running.get(own)
        return service is not None and service.address == address and service.alive()


def stop_all() -> None:
    """End every service that this process started."""
    with _lock:
        services = list(_running.values())
        _running.clear()
    for service in services:
        service.stop()


def _forked() -> None:
    global _lock
    _lock = threading.Lock()
    for service in _running.values():
        service.release()
    _running.clear()


atexit.register(stop_all)
os.register_at_fork(after_in_child=_forked)
