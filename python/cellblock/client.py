"""A client of the service: sessions, executions, streams, files.

::

    with Client() as client, client.session() as session:
        session.execute("x = 6")
        print(session.execute("print(x * 7)")["output"])
"""

from __future__ import annotations

import os
import ssl
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, Union

from . import _requests as wire
from ._http import Answer, Transport, json_body
from ._judge import Issue
from ._requests import Contents, Frame
from ._where import Place, place
from .errors import InternalError, NotFound
from .results import FileInfo, Result

if TYPE_CHECKING:
    import pandas

__all__ = ["Client", "Frame", "Session", "Stream"]

PathLike = Union[str, "os.PathLike[str]"]


class Client:
    """Asks a service. It is safe for concurrent use by threads.

    ``url`` is ``unix:///path/of.sock``, ``http://host:port`` or
    ``https://host:port``; ``socket`` is the path of a Unix socket. Without
    either, ``CELLBLOCK_URL`` and ``CELLBLOCK_SOCKET`` are asked; without those,
    a service of the caller's own is started at first use and ends with the
    process. A service that is named and does not answer is an error, and never
    replaced.

    ``token`` (``CELLBLOCK_TOKEN``) goes with TCP; ``ssl_context`` says whom to
    trust there. The other arguments are for a service of the caller's own:
    ``root`` names a prepared root; otherwise one is built from ``python`` or
    ``venv`` with ``packages``, by default the caller's own Python with all that
    it has installed. ``without`` names layers that may be missing, and
    ``binary`` the ``cellblock`` program (``CELLBLOCK_BIN``).
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        socket: Optional[PathLike] = None,
        token: Optional[str] = None,
        ssl_context: Optional[ssl.SSLContext] = None,
        binary: Optional[str] = None,
        python: Optional[PathLike] = None,
        venv: Optional[PathLike] = None,
        packages: Optional[Sequence[str]] = None,
        root: Optional[str] = None,
        without: Optional[Sequence[str]] = None,
    ) -> None:
        self._place: Place = place(url, socket, token, ssl_context, binary, python, venv, packages, root, without)
        self._lock = threading.Lock()
        self._transport: Optional[Transport] = None

    def _open(self) -> Transport:
        with self._lock:
            if self._transport is not None and self._place.moved(self._transport.address):
                self._transport.close()
                self._transport = None
            if self._transport is None:
                self._transport = Transport(self._place.address(), self._place.token, self._place.context)
            return self._transport

    def _libraries(self) -> Optional[List[str]]:
        self._open()
        return self._place.libraries()

    @property
    def address(self) -> str:
        """Where the service is; asking starts a service of one's own."""
        return str(self._open().address)

    def close(self) -> None:
        """Close the connections. Sessions that are open stay open."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        self.close()

    # -- what all methods come down to --

    def _ask(
        self,
        method: str,
        path: str,
        fields: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> Answer:
        body, given = json_body(fields) if fields is not None else (None, {})
        return self._open().ask(method, path, body, {**given, **(headers or {})}, timeout or wire.patience(None))

    def _json(self, method: str, path: str, fields: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None) -> Any:
        body = self._ask(method, path, fields, timeout=timeout).read()
        return wire.parse(body) if body else None

    # -- one execution --

    def execute(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        root: Optional[str] = None,
        preload: Optional[List[str]] = None,
        limits: Optional[Mapping[str, Any]] = None,
    ) -> Result:
        """Run code in a cell of its own, of which nothing is left afterwards.

        ``timeout`` is in seconds; ``input_files`` maps names in the workspace to
        contents: bytes, or a path of this machine. Whatever the code does is in
        the result; an error is raised for what is not its doing.
        """
        fields = wire.execution(code, timeout, stage_name, input_files)
        fields.update(wire.creation(None, root, preload, limits))
        return wire.result(self._json("POST", "/v1/execute", fields, wire.patience(timeout)))

    def stream(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        root: Optional[str] = None,
        preload: Optional[List[str]] = None,
        limits: Optional[Mapping[str, Any]] = None,
    ) -> "Stream":
        """Like :meth:`execute`, with output as it is printed."""
        fields = wire.execution(code, timeout, stage_name, input_files)
        fields.update(wire.creation(None, root, preload, limits))
        return Stream(self._ask("POST", "/v1/execute", fields, wire.NDJSON, wire.patience(timeout)))

    # -- sessions --

    def session(
        self,
        session_id: Optional[str] = None,
        *,
        root: Optional[str] = None,
        preload: Optional[List[str]] = None,
        limits: Optional[Mapping[str, Any]] = None,
    ) -> "Session":
        """Make a session; without an id the service names it."""
        info = self._json("POST", "/v1/sessions", wire.creation(session_id, root, preload, limits))
        return Session(self, info["id"])

    def attach(self, session_id: str) -> "Session":
        """Return a session that exists; NotFound otherwise."""
        session = Session(self, session_id)
        session.info()
        return session

    def sessions(self) -> List[Dict[str, Any]]:
        """Return the sessions that this caller has, as the service describes them."""
        return wire.listed(self._json("GET", "/v1/sessions"), "sessions")

    # -- other things --

    def validate(self, code: str) -> Tuple[bool, List[Issue]]:
        """Ask the service's validator: whether it found nothing, and what it found."""
        answer = self._json("POST", "/v1/validate", {"code": code})
        return bool(answer["valid"]), wire.issues(answer)

    def stats(self) -> Dict[str, Any]:
        """Return the service's figures for this caller."""
        stats: Dict[str, Any] = self._json("GET", "/v1/stats")
        return stats


class Session:
    """A cell with a Python and a workspace that live on between executions.

    As a context manager it ends with its block. It is safe for concurrent use;
    its executions run one after the other.
    """

    def __init__(self, client: Client, session_id: str) -> None:
        self.id = session_id
        self._client = client

    def __repr__(self) -> str:
        return f"<cellblock.Session {self.id}>"

    def execute(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        fresh_namespace: bool = False,
    ) -> Result:
        """Run code with the variables and files that the session has.

        ``fresh_namespace`` starts with clean variables. See :meth:`Client.execute`.
        """
        fields = wire.execution(code, timeout, stage_name, input_files, fresh_namespace)
        return wire.result(self._client._json("POST", wire.session_path(self.id, "execute"), fields, wire.patience(timeout)))

    def stream(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        fresh_namespace: bool = False,
    ) -> "Stream":
        """Run code and yield its output as it is printed.

        Leaving the stream before its end interrupts the code.
        """
        fields = wire.execution(code, timeout, stage_name, input_files, fresh_namespace)
        return Stream(self._client._ask("POST", wire.session_path(self.id, "execute"), fields, wire.NDJSON, wire.patience(timeout)))

    def interrupt(self) -> None:
        """Send what runs a KeyboardInterrupt; the variables live on."""
        self._client._json("POST", wire.session_path(self.id, "interrupt"))

    def last_result(self, *, timeout: Optional[float] = None) -> Result:
        """Return what the session's last execution came to, once nothing runs.

        It is for who was not told: the service was restarted, the connection was
        lost. ``timeout`` is that of the execution, if it runs still.
        """
        path = wire.session_path(self.id, "result")
        return wire.result(self._client._json("GET", path, None, wire.patience(timeout)))

    def info(self) -> Dict[str, Any]:
        """Return how the service describes the session."""
        info: Dict[str, Any] = self._client._json("GET", wire.session_path(self.id))
        return info

    # -- files --

    def files(self) -> List[FileInfo]:
        """Return the files of the workspace."""
        return wire.listed(self._client._json("GET", wire.session_path(self.id, "files")), "files")

    def read(self, path: str) -> bytes:
        """Return the content of a file of the workspace."""
        return self._client._ask("GET", wire.file_path(self.id, path)).read()

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the content of a file of the workspace in pieces."""
        return self._client._ask("GET", wire.file_path(self.id, path)).chunks()

    def write(self, path: str, content: Union[bytes, str, Iterable[bytes]]) -> None:
        """Write a file into the workspace; text is UTF-8."""
        body: Any = content.encode("utf-8") if isinstance(content, str) else content
        headers = wire.BINARY
        if not isinstance(body, bytes):
            headers = {**headers, "Transfer-Encoding": "chunked"}
        self._client._open().ask("PUT", wire.file_path(self.id, path), body, headers, wire.patience(None)).read()

    def remove(self, path: str) -> None:
        """Delete a file of the workspace; one that is not there is no error."""
        self._client._json("DELETE", wire.file_path(self.id, path))

    def upload(self, source: PathLike, path: Optional[str] = None) -> None:
        """Copy a file of this machine into the workspace."""
        with open(source, "rb") as f:
            self.write(path or os.path.basename(source), wire.pieces(f))

    def download(self, path: str, target: PathLike) -> None:
        """Copy a file of the workspace to this machine."""
        answer = self._client._ask("GET", wire.file_path(self.id, path))
        try:
            with open(target, "wb") as f:
                for chunk in answer.chunks():
                    f.write(chunk)
        finally:
            answer.close()

    # -- DataFrames --

    def put_dataframe(self, name: str, frame: "pandas.DataFrame") -> None:
        """Make a DataFrame of this process a variable of the session."""
        from . import dataframes

        path = dataframes.transfer()
        code = dataframes.load_code(name, path)
        self.write(path, dataframes.pack(frame))
        dataframes.check(self.execute(code))

    def get_dataframe(self, name: str, max_bytes: int = 1 << 30) -> "pandas.DataFrame":
        """Return a copy of a DataFrame that is a variable of the session.

        Nothing of it is unpickled: what comes from a cell is as untrusted as
        its code. More than ``max_bytes`` is refused.
        """
        from . import dataframes

        path = dataframes.transfer()
        dataframes.check(self.execute(dataframes.save_code(name, path)))
        try:
            return dataframes.unpack(dataframes.limited(self.chunks(path), max_bytes), max_bytes)
        finally:
            self.remove(path)

    # -- the end --

    def close(self) -> None:
        """End the session and all that it holds. A session that is gone is no error."""
        try:
            self._client._json("DELETE", wire.session_path(self.id))
        except NotFound:
            pass

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        self.close()


class Stream:
    """Iterate over an execution's output; afterwards ``result`` is there.

    ::

        with session.stream("for i in range(3): print(i)") as stream:
            for frame in stream:
                print(frame.kind, frame.text)
        print(stream.result["verdict"])
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lines = answer.lines()
        self._result: Optional[Result] = None
        self._left = False

    def __iter__(self) -> Iterator[Frame]:
        for line in self._lines:
            frame = wire.frame(line)
            if frame is None:
                continue
            if frame.kind == "end":
                self.close()
                return
            if frame.kind == "result":
                self._result = frame.result
                continue
            yield frame
        if self._result is None:
            raise self._missing()

    @property
    def result(self) -> Result:
        """What came of the execution; the rest of its output is skipped if need be."""
        if self._result is None:
            for _ in self:
                pass
        if self._result is None:
            raise self._missing()
        return self._result

    def _missing(self) -> Exception:
        """Why there is no result."""
        if self._left:
            return NotFound("the stream was left before the execution ended: last_result() of a session has what came of it")
        return InternalError("the stream ended before the execution did")

    def close(self) -> None:
        """Leave the stream; code that still runs is interrupted."""
        self._left = self._result is None
        self._lines.close()  # type: ignore[attr-defined]
        self._answer.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        self.close()
