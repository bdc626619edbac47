"""The same as _http.py, on asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any, AsyncIterable, AsyncIterator, Awaitable, Dict, Iterable, List, Optional, Set, Tuple, TypeVar, Union

from ._http import CONNECT_TIMEOUT, Address, problem
from .errors import TimedOut, Unavailable

_CHUNK = 1 << 16
_LINE = 64 << 20  # a frame with a result is one line
_HEADERS = 64 << 10

Body = Union[bytes, Iterable[bytes], AsyncIterable[bytes], None]
_T = TypeVar("_T")


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def close(self) -> None:
        self.writer.close()


class AsyncAnswer:
    """An answer whose body is still to be read. Close it, or read it to its end."""

    def __init__(self, transport: "AsyncTransport", connection: _Connection, status: int, headers: Dict[str, str], timeout: Optional[float]) -> None:
        self.status, self.headers = status, headers
        self._transport, self._connection, self._timeout = transport, connection, timeout
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length")
        self._left: Optional[int] = int(length) if length is not None and not self._chunked else None
        if status in (204, 304):
            self._left, self._chunked = 0, False
        self._ended = self._left == 0

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces as they arrive."""
        try:
            while not self._ended:
                chunk = await self._transport.wait(self._piece(), self._timeout)
                if chunk:
                    yield chunk
        finally:
            self.close()

    async def _piece(self) -> bytes:
        reader = self._connection.reader
        if self._chunked and not self._left:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()).strip():  # trailers
                    pass
                self._ended = True
                return b""
            self._left = size
        wanted = _CHUNK if self._left is None else min(self._left, _CHUNK)
        chunk = await reader.read(wanted)
        if not chunk:
            if self._left is not None:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._ended = True
        elif self._left is not None:
            self._left -= len(chunk)
            if not self._left and self._chunked:
                await reader.readexactly(2)
            elif not self._left:
                self._ended = True
        return chunk

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the body line by line."""
        rest = bytearray()
        async for chunk in self.chunks():
            rest += chunk
            if b"\n" in chunk:
                *lines, last = bytes(rest).split(b"\n")
                for line in lines:
                    yield line
                rest = bytearray(last)
            elif len(rest) > _LINE:
                raise Unavailable(f"the service at {self._transport.address} sent a line without end")
        if rest:
            yield bytes(rest)

    def close(self) -> None:
        """Give the connection back; one with an unread body is cut."""
        if self._ended and self._left in (0, None) and "close" not in self.headers.get("connection", "").lower():
            self._transport._give(self._connection)
        else:
            self._connection.close()


class AsyncTransport:
    """Asks a service, over connections that are kept. It belongs to one event loop."""

    def __init__(self, address: Address, token: Optional[str] = None, context: Optional[ssl.SSLContext] = None) -> None:
        self.address = address
        host = "localhost" if address.socket else str(address).partition("://")[2]
        self._headers = {"Host": host, "Accept": "application/json", "User-Agent": "cellblock-python"}
        if token:
            self._headers["Authorization"] = "Bearer " + token
        self._context = context or (ssl.create_default_context() if address.tls else None)
        self._idle: List[_Connection] = []
        self._open: Set[_Connection] = set()  # idle or in use
        self._pid = os.getpid()
        self._closed = False

    async def wait(self, step: Awaitable[_T], timeout: Optional[float]) -> _T:
        """Await one step of an exchange; what breaks it is an error of this package."""
        try:
            return await asyncio.wait_for(step, timeout)
        except asyncio.TimeoutError as error:
            raise TimedOut(f"the service at {self.address} did not answer in time") from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Unavailable(f"the connection to the service at {self.address} broke: {error or type(error).__name__}") from error

    async def ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> AsyncAnswer:
        """Send a request and return the answer. Raises what a bad status means."""
        headers = {**self._headers, **(headers or {})}
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        elif body is not None and "Content-Length" not in headers:
            headers["Transfer-Encoding"] = "chunked"
        elif body is None and method in ("POST", "PUT"):
            headers["Content-Length"] = "0"
        connection = await self._take()
        try:
            try:
                await self.wait(self._send(connection, method, path, body, headers), timeout)
            except Unavailable:
                pass  # a service that refuses a body may answer before it has read it
            status, answered = await self.wait(self._head(connection), timeout)
        except BaseException:
            connection.close()
            raise
        answer = AsyncAnswer(self, connection, status, answered, timeout)
        if status >= 400:
            raise problem(status, answered, await answer.read())
        return answer

    async def _send(self, connection: _Connection, method: str, path: str, body: Body, headers: Dict[str, str]) -> None:
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        writer = connection.writer
        writer.write(head.encode("latin-1") + (body if isinstance(body, bytes) else b""))
        if body is not None and not isinstance(body, bytes):
            chunked = "Transfer-Encoding" in headers
            async for chunk in _pieces(body):
                if chunk:
                    writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await writer.drain()
            if chunked:
                writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _head(self, connection: _Connection) -> Tuple[int, Dict[str, str]]:
        while True:
            head = await connection.reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ", 2)[1])
            if status >= 200:
                break  # what came before was informational
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return status, headers

    async def _take(self) -> _Connection:
        if self._closed:
            raise Unavailable("this client was closed")
        if self._pid != os.getpid():  # after a fork, they are the parent's
            self._idle, self._open, self._pid = [], set(), os.getpid()
        while self._idle:
            connection = self._idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.close()
        address = self.address
        opening: Any
        if address.socket:
            opening = asyncio.open_unix_connection(address.socket, limit=_HEADERS)
        else:
            opening = asyncio.open_connection(
                address.host, address.port, limit=_HEADERS, ssl=self._context, server_hostname=address.host if address.tls else None
            )
        try:
            connection = _Connection(*await asyncio.wait_for(opening, CONNECT_TIMEOUT))
        except (OSError, asyncio.TimeoutError) as error:
            raise address.refused(error) from error
        self._open.add(connection)
        return connection

    def _give(self, connection: _Connection) -> None:
        if not self._closed and len(self._idle) < 8 and connection not in self._idle:
            self._idle.append(connection)
        elif connection not in self._idle:
            connection.close()

    async def close(self) -> None:
        self._closed = True
        while self._open:
            connection = self._open.pop()
            connection.close()
            try:
                await connection.writer.wait_closed()
            except OSError:  # it had broken before
                pass


async def _pieces(body: Union[Iterable[bytes], AsyncIterable[bytes]]) -> AsyncIterator[bytes]:
    if isinstance(body, AsyncIterable):
        async for chunk in body:
            yield chunk
    else:
        for chunk in body:
            yield chunk
