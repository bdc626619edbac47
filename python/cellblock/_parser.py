"""Source is parsed in a child process, never in the caller's own.

Nothing of the source is executed, but CPython's parser can be made to crash,
or to take very long, by source alone. _facts.py is the program that the service
runs in a cell for the same purpose, byte for byte; here a plain child with
limits of its own runs it. The child ends when its socket does, so it never
outlives the caller.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Dict, Optional, Tuple

# The limits of the protocol, as in _facts.py, and of the Go validator.
MAX_SOURCE = 4 << 20
MAX_REPLY = 4 << 20
MAX_DELAY = 0.8  # seconds that one source may keep the parser
START_DELAY = 10.0

_CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
source, name = sys.stdin.buffer.read(), sys.argv[1]
sys.stdin.close()
facts = {"__name__": "facts"}
exec(compile(source, name, "exec"), facts)
facts["CONTROL"] = int(sys.argv[2])
facts["serve"]()
"""


class Unparsable(Exception):
    """The source was given to the parser, and no facts came back."""


# The child gets nothing of the caller's environment.
_NOTHING: Dict[str, str] = {}


class _Child:
    """One parser process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        path = os.path.join(os.path.dirname(__file__), "_facts.py")
        with open(path, "rb") as program, theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _CHILD, path, str(theirs.fileno())],
                    stdin=program,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_NOTHING,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a Ctrl-C in the terminal is the caller's
                )
            except BaseException:
                ours.close()
                raise
        self.socket = ours

    def ask(self, code: bytes, deadline: float) -> Dict[str, Any]:
        self._wait(deadline)
        self.socket.sendall(len(code).to_bytes(4, "little") + code)
        size = int.from_bytes(self._receive(4, deadline), "little")
        if size > MAX_REPLY:
            raise OSError("the parser sent nonsense")
        facts = json.loads(self._receive(size, deadline))
        if not isinstance(facts, dict):
            raise OSError("the parser sent nonsense")
        return facts

    def _receive(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait(deadline)
            chunk = self.socket.recv(min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError("the parser crashed")
            data += chunk
        return bytes(data)

    def _wait(self, deadline: float) -> None:
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


class Parser:
    """Keeps one child and starts another when that one is gone. It is safe for
    concurrent use; sources are parsed one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Optional[_Child] = None

    def facts(self, code: bytes) -> Dict[str, Any]:
        """Return what the source contains. Raises Unparsable."""
        if len(code) > MAX_SOURCE:
            raise Unparsable(f"more than {MAX_SOURCE} bytes")
        with self._lock:
            delay = MAX_DELAY
            while True:
                child, fresh = self._running()
                asked = time.monotonic()
                try:
                    return child.ask(code, asked + delay)
                except (OSError, EOFError, ValueError) as error:
                    self._drop()
                    delay -= time.monotonic() - asked
                    if isinstance(error, socket.timeout):
                        raise Unparsable("it takes longer than 800ms") from None
                    # One that had answered before may have died of an earlier
                    # source: this one is put to a fresh one, once.
                    if fresh or delay <= 0:
                        raise Unparsable("the parser crashed") from error

    def _running(self) -> Tuple[_Child, bool]:
        if self._child is not None:
            return self._child, False
        child = _Child()
        try:
            child.ask(b"", time.monotonic() + START_DELAY)
        except (OSError, EOFError, ValueError) as error:
            child.close()
            raise RuntimeError(f"cannot start {sys.executable!r} to parse source: {error}") from error
        self._child = child
        return child, True

    def _drop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def close(self) -> None:
        """End the child; the next source starts another."""
        with self._lock:
            self._drop()

    def forked(self) -> None:
        """In a child of a fork: the parser belongs to the parent."""
        self._lock = threading.Lock()
        if self._child is not None:
            self._child.socket.close()
            self._child.process.returncode = 0  # not ours to wait for
            self._child = None


shared = Parser()
os.register_at_fork(after_in_child=shared.forked)
