"""The client on asyncio: the same as client.py, with await.

::

    async with AsyncClient() as client, await client.session() as session:
        async with await session.stream("for i in range(3): print(i)") as stream:
            async for frame in stream:
                print(frame.text, end="")
"""

from __future__ import annotations

import asyncio
import os
import ssl
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Dict,
    Generator,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
)

from . import _requests as wire
from ._http import json_body
from ._http_async import AsyncAnswer, AsyncTransport
from ._judge import Issue
from ._requests import Contents, Frame
from ._where import Place, place
from .errors import InternalError, NotFound
from .results import FileInfo, Result

if TYPE_CHECKING:
    import pandas

__all__ = ["AsyncClient", "AsyncSession", "AsyncStream"]

PathLike = Union[str, "os.PathLike[str]"]


class AsyncClient:
    """Asks a service from one event loop. The arguments are those of :class:`~cellblock.Client`."""

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
        self._opening: Optional[asyncio.Lock] = None
        self._transport: Optional[AsyncTransport] = None

    async def _open(self) -> AsyncTransport:
        if self._opening is None:
            self._opening = asyncio.Lock()  # of the loop that runs now
        async with self._opening:
            if self._transport is None or self._place.moved(self._transport.address):
                # A service of one's own takes a moment to start, and a root longer.
                if self._transport is not None:
                    await self._transport.close()
                address = await asyncio.get_running_loop().run_in_executor(None, self._place.address)
                self._transport = AsyncTransport(address, self._place.token, self._place.context)
            return self._transport

    async def close(self) -> None:
        """Close the connections. Sessions that are open stay open."""
        if self._transport is not None:
            await self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        await self.close()

    # -- what all methods come down to --

    async def _ask(
        self,
        method: str,
        path: str,
        fields: Optional[Dict[str, Any]] = None,
        headers: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> AsyncAnswer:
        body, given = json_body(fields) if fields is not None else (None, {})
        transport = await self._open()
        return await transport.ask(method, path, body, {**given, **(headers or {})}, timeout or wire.patience(None))

    async def _json(self, method: str, path: str, fields: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None) -> Any:
        body = await (await self._ask(method, path, fields, timeout=timeout)).read()
        return wire.parse(body) if body else None

    # -- one execution --

    async def execute(
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
        """Run code in a cell of its own, of which nothing is left afterwards."""
        fields = wire.execution(code, timeout, stage_name, input_files)
        fields.update(wire.creation(None, root, preload, limits))
        return wire.result(await self._json("POST", "/v1/execute", fields, wire.patience(timeout)))

    async def stream(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        root: Optional[str] = None,
        preload: Optional[List[str]] = None,
        limits: Optional[Mapping[str, Any]] = None,
    ) -> "AsyncStream":
        """Like :meth:`execute`, with output as it is printed."""
        fields = wire.execution(code, timeout, stage_name, input_files)
        fields.update(wire.creation(None, root, preload, limits))
        return AsyncStream(await self._ask("POST", "/v1/execute", fields, wire.NDJSON, wire.patience(timeout)))

    # -- sessions --

    async def session(
        self,
        session_id: Optional[str] = None,
        *,
        root: Optional[str] = None,
        preload: Optional[List[str]] = None,
        limits: Optional[Mapping[str, Any]] = None,
    ) -> "AsyncSession":
        """Make a session; without an id the service names it."""
        info = await self._json("POST", "/v1/sessions", wire.creation(session_id, root, preload, limits))
        return AsyncSession(self, info["id"])

    async def attach(self, session_id: str) -> "AsyncSession":
        """Return a session that exists; NotFound otherwise."""
        session = AsyncSession(self, session_id)
        await session.info()
        return session

    async def sessions(self) -> List[Dict[str, Any]]:
        """Return the sessions that this caller has, as the service describes them."""
        return wire.listed(await self._json("GET", "/v1/sessions"), "sessions")

    # -- other things --

    async def validate(self, code: str) -> Tuple[bool, List[Issue]]:
        """Ask the service's validator: whether it found nothing, and what it found."""
        answer = await self._json("POST", "/v1/validate", {"code": code})
        return bool(answer["valid"]), wire.issues(answer)

    async def stats(self) -> Dict[str, Any]:
        """Return the service's figures for this caller."""
        stats: Dict[str, Any] = await self._json("GET", "/v1/stats")
        return stats


class AsyncSession:
    """A cell with a Python and a workspace that live on between executions.

    As a context manager it ends with its block.
    """

    def __init__(self, client: AsyncClient, session_id: str) -> None:
        self.id = session_id
        self._client = client

    def __repr__(self) -> str:
        return f"<cellblock.AsyncSession {self.id}>"

    async def execute(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        fresh_namespace: bool = False,
    ) -> Result:
        """Run code with the variables and files that the session has."""
        fields = wire.execution(code, timeout, stage_name, input_files, fresh_namespace)
        return wire.result(await self._client._json("POST", wire.session_path(self.id, "execute"), fields, wire.patience(timeout)))

    async def stream(
        self,
        code: str,
        *,
        timeout: Optional[float] = None,
        stage_name: Optional[str] = None,
        input_files: Optional[Contents] = None,
        fresh_namespace: bool = False,
    ) -> "AsyncStream":
        """Run code and yield its output as it is printed.

        Leaving the stream before its end interrupts the code.
        """
        fields = wire.execution(code, timeout, stage_name, input_files, fresh_namespace)
        path = wire.session_path(self.id, "execute")
        return AsyncStream(await self._client._ask("POST", path, fields, wire.NDJSON, wire.patience(timeout)))

    async def interrupt(self) -> None:
        """Send what runs a KeyboardInterrupt; the variables live on."""
        await self._client._json("POST", wire.session_path(self.id, "interrupt"))

    async def last_result(self, *, timeout: Optional[float] = None) -> Result:
        """Return what the session's last execution came to, once nothing runs.

        It is for who was not told: the service was restarted, the connection was
        lost. ``timeout`` is that of the execution, if it runs still.
        """
        path = wire.session_path(self.id, "result")
        return wire.result(await self._client._json("GET", path, None, wire.patience(timeout)))

    async def info(self) -> Dict[str, Any]:
        """Return how the service describes the session."""
        info: Dict[str, Any] = await self._client._json("GET", wire.session_path(self.id))
        return info

    # -- files --

    async def files(self) -> List[FileInfo]:
        """Return the files of the workspace."""
        return wire.listed(await self._client._json("GET", wire.session_path(self.id, "files")), "files")

    async def read(self, path: str) -> bytes:
        """Return the content of a file of the workspace."""
        return await (await self._client._ask("GET", wire.file_path(self.id, path))).read()

    async def chunks(self, path: str) -> AsyncIterator[bytes]:
        """Yield the content of a file of the workspace in pieces."""
        answer = await self._client._ask("GET", wire.file_path(self.id, path))
        async for chunk in answer.chunks():
            yield chunk

    async def write(self, path: str, content: Union[bytes, str, Iterable[bytes], AsyncIterable[bytes]]) -> None:
        """Write a file into the workspace; text is UTF-8."""
        body: Any = content.encode("utf-8") if isinstance(content, str) else content
        transport = await self._client._open()
        answer = await transport.ask("PUT", wire.file_path(self.id, path), body, wire.BINARY, wire.patience(None))
        await answer.read()

    async def remove(self, path: str) -> None:
        """Delete a file of the workspace; one that is not there is no error."""
        await self._client._json("DELETE", wire.file_path(self.id, path))

    async def upload(self, source: PathLike, path: Optional[str] = None) -> None:
        """Copy a file of this machine into the workspace."""
        with open(source, "rb") as f:
            await self.write(path or os.path.basename(source), wire.pieces(f))

    async def download(self, path: str, target: PathLike) -> None:
        """Copy a file of the workspace to this machine."""
        answer = await self._client._ask("GET", wire.file_path(self.id, path))
        try:
            with open(target, "wb") as f:
                async for chunk in answer.chunks():
                    f.write(chunk)
        finally:
            answer.close()

    # -- DataFrames --

    async def put_dataframe(self, name: str, frame: "pandas.DataFrame") -> None:
        """Make a DataFrame of this process a variable of the session."""
        from . import dataframes

        path = dataframes.transfer()
        code = dataframes.load_code(name, path)
        await self.write(path, dataframes.pack(frame))
        dataframes.check(await self.execute(code))

    async def get_dataframe(self, name: str, max_bytes: int = 1 << 30) -> "pandas.DataFrame":
        """Return a copy of a DataFrame that is a variable of the session.

        See :meth:`cellblock.Session.get_dataframe`.
        """
        from . import dataframes

        path = dataframes.transfer()
        dataframes.check(await self.execute(dataframes.save_code(name, path)))
        try:
            data = bytearray()
            async for chunk in self.chunks(path):
                data += chunk
                dataframes.check_size(len(data), max_bytes)
            return dataframes.unpack(bytes(data), max_bytes)
        finally:
            await self.remove(path)

    # -- the end --

    async def close(self) -> None:
        """End the session and all that it holds. A session that is gone is no error."""
        try:
            await self._client._json("DELETE", wire.session_path(self.id))
        except NotFound:
            pass

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        await self.close()


class _Awaited:
    """What `await` gives the result of; a call gives the coroutine, as `result` was a method once."""

    def __init__(self, result: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, None, Result]:
        return self._result().__await__()

    def __call__(self) -> Coroutine[Any, Any, Result]:
        return self._result()


class AsyncStream:
    """Iterate over an execution's output; afterwards ``await stream.result`` is there.

    ::

        async with await session.stream("for i in range(3): print(i)") as stream:
            async for frame in stream:
                print(frame.kind, frame.text)
            print((await stream.result)["verdict"])
    """

    def __init__(self, answer: AsyncAnswer) -> None:
        self._answer = answer
        self._lines = answer.lines()
        self._result: Optional[Result] = None
        self._left = False

    async def __aiter__(self) -> AsyncIterator[Frame]:
        async for line in self._lines:
            frame = wire.frame(line)
            if frame is None:
                continue
            if frame.kind == "end":
                break
            if frame.kind == "result":
                self._result = frame.result
                continue
            yield frame
        if self._result is None:
            raise self._missing()

    @property
    def result(self) -> _Awaited:
        """To be awaited: what came of the execution; the rest of its output is skipped
        if need be. ``await stream.result()`` is the same."""
        return _Awaited(self._ended)

    async def _ended(self) -> Result:
        if self._result is None:
            async for _ in self:
                pass
        if self._result is None:
            raise self._missing()
        return self._result

    def _missing(self) -> Exception:
        """Why there is no result."""
        if self._left:
            return NotFound("the stream was left before the execution ended: last_result() of a session has what came of it")
        return InternalError("the stream ended before the execution did")

    async def close(self) -> None:
        """Leave the stream; code that still runs is interrupted."""
        self._left = self._result is None
        await self._lines.aclose()  # type: ignore[attr-defined]
        self._answer.close()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        await self.close()
