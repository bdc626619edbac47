"""Sessions over folders of this machine, under the names of the system that this replaces."""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from . import _names
from ._folder import Folder
from .client import Client, Session
from .errors import Busy, CellblockError, InvalidRequest, NotFound
from .results import Result, failure

__all__ = ["PersistentREPL", "REPLManager"]

PathLike = Union[str, "os.PathLike[str]"]

logger = logging.getLogger("cellblock")

# What this file system does not take: a name that is too long for it, or a place
# that something of the caller's has. All else (no room, say) is an error.
_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ}

# Files up to this size travel with the execution; larger ones before it.
_INLINE = 256 << 10


class PersistentREPL:
    """A Python that keeps its variables, over a folder that is kept like its workspace.

    Files that are put into ``execution_dir`` are there for the next execution,
    and what code creates, changes or deletes shows in the folder after it.
    ``timeout`` is in seconds. It is safe for concurrent use.
    """

    def __init__(
        self,
        execution_dir: PathLike,
        timeout: float = 30,
        *,
        client: Optional[Client] = None,
        max_memory_mb: Optional[int] = None,
        session_id: Optional[str] = None,
        shared: bool = False,
    ) -> None:
        self.execution_dir = Path(execution_dir)
        self.timeout = timeout
        self._client = client or default_client()
        self._limits = {"memory_mb": max_memory_mb} if max_memory_mb else {}
        self._id, self._shared = session_id, shared
        self._lock = threading.Lock()
        self._session: Optional[Session] = None
        self._folder = Folder(self.execution_dir)

    def start(self) -> bool:
        """Make the session, if that has not happened yet, and say whether it is there."""
        try:
            with self._lock:
                self._ready()
            return True
        except CellblockError as error:
            self.problem = error
            return False

    problem: Optional[CellblockError] = None  #: why start() returned False

    def execute(self, code: str, *, stage_name: Optional[str] = None, fresh_namespace: bool = False) -> Result:
        """Run code. What goes wrong around it is in the result as well."""
        try:
            with self._lock:
                return self._execute(code, stage_name, fresh_namespace)
        except (CellblockError, OSError) as error:
            return failure(str(error))

    def _execute(self, code: str, stage_name: Optional[str], fresh: bool) -> Result:
        lost = False
        while True:
            session = self._ready()
            try:
                result = session.execute(
                    code, timeout=self.timeout, stage_name=stage_name, input_files=self._send(session), fresh_namespace=fresh
                )
                break
            except NotFound:
                # Expired, or the service was started anew: nothing was run. A
                # session that was made just now cannot be meant.
                if lost:
                    raise
                lost = True
                self._drop()
        self._receive(session, result)
        state = result.setdefault("session", {})
        state["lost"] = state.get("lost", False) or lost
        if not self._shared:
            state["id"] = self._id or ""
        return result

    def _ready(self) -> Session:
        if self._session is None:
            self.execution_dir.mkdir(parents=True, exist_ok=True)
            self._folder.forget()
            self._session = self._make()
        return self._session

    def _make(self) -> Session:
        libraries = self._client._libraries()
        if not self._shared or self._id is None:
            return self._client.session(preload=libraries, limits=self._limits)
        try:
            return self._client.session(self._id, preload=libraries, limits=self._limits)
        except Busy:  # somebody else has made it, which is what sharing is about
            return self._client.attach(self._id)

    def _send(self, session: Session) -> Dict[str, bytes]:
        """Send what the workspace lacks; small files are returned, to travel
        with the execution."""
        small: Dict[str, bytes] = {}
        room = 4 * _INLINE
        for path in self._folder.changed():
            try:
                chunks = self._folder.send(path)
                if os.path.getsize(self.execution_dir / path) <= min(_INLINE, room):
                    small[path] = b"".join(chunks)
                    room -= len(small[path])
                else:
                    session.write(path, chunks)
            except FileNotFoundError:  # gone meanwhile
                continue
        return small

    def _receive(self, session: Session, result: Result) -> None:
        """Bring the folder to where the workspace is."""
        for change in result.get("files", ()):
            path = change["path"]
            try:
                if change["change"] == "deleted":
                    self._folder.delete(path)
                else:
                    self._folder.receive(path, session.chunks(path))
            except (NotFound, InvalidRequest) as error:
                # Code that still runs has removed it; or its name is one that
                # nothing here will touch.
                logger.warning("%r of the workspace is not in %s: %s", path, self.execution_dir, error)
            except OSError as error:
                if error.errno not in _IMPOSSIBLE:
                    raise
                logger.warning("%r of the workspace cannot be in %s: %s", path, self.execution_dir, error)

    def is_alive(self) -> bool:
        """Say whether the session is there and its variables live."""
        session = self._session
        if session is None:
            return False
        try:
            return session.info().get("state") != "lost"
        except CellblockError:
            return False

    def stop(self) -> None:
        """End the session; the folder stays."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except CellblockError:
                pass  # a service that is gone has taken it along


class REPLManager:
    """Keeps a :class:`PersistentREPL` for each session id. It is safe for concurrent use.

    Ids belong to the manager: two managers never meet in one session, unless
    ``shared`` is set, and all sessions end with the process.
    """

    def __init__(
        self,
        timeout: float = 30,
        *,
        client: Optional[Client] = None,
        max_memory_mb: Optional[int] = None,
        shared: bool = False,
    ) -> None:
        self.timeout = timeout
        self._client, self._max_memory_mb, self._shared = client, max_memory_mb, shared
        self._lock = threading.Lock()
        self._repls: Dict[str, PersistentREPL] = {}

    def get_or_create(self, session_id: str, execution_dir: PathLike) -> PersistentREPL:
        """Return the session's REPL, or start one over the folder.

        Raises RuntimeError when it cannot be started.
        """
        _names.check_session_id(session_id)
        with self._lock:
            repl = self._repls.get(session_id)
            if repl is None:
                repl = PersistentREPL(
                    execution_dir,
                    self.timeout,
                    client=self._client,
                    max_memory_mb=self._max_memory_mb,
                    session_id=session_id,
                    shared=self._shared,
                )
                self._repls[session_id] = repl
        if not repl.start():
            with self._lock:
                self._repls.pop(session_id, None)
            raise RuntimeError(f"cannot start a REPL for session {session_id}: {repl.problem}") from repl.problem
        return repl

    def cleanup_session(self, session_id: str) -> None:
        """End a session; its folder stays. An id that is not known is no error."""
        with self._lock:
            repl = self._repls.pop(session_id, None)
        if repl is not None:
            repl.stop()

    def cleanup_all(self) -> None:
        """End every session."""
        for session_id in list(self._repls):
            self.cleanup_session(session_id)

    def get_active_sessions(self) -> List[str]:
        """Return the ids of the sessions whose variables live."""
        with self._lock:
            repls = sorted(self._repls.items())
        return [session_id for session_id, repl in repls if repl.is_alive()]

    def get_stats(self) -> Dict[str, Any]:
        """Return how many REPLs are kept and which live."""
        active = self.get_active_sessions()
        return {
            "total_repls": len(self._repls),
            "active_repls": len(active),
            "timeout": self.timeout,
            "active_sessions": len(active),
            "sessions": active,
        }


_default: Optional[Client] = None
_default_lock = threading.Lock()


def default_client() -> Client:
    """The client of everything that was given none: see :class:`~cellblock.Client`."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Client()
        return _default
