"""HTTP/1.1 over a Unix socket or TCP: where the service is, and how to ask it."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import urlsplit

from .errors import CellblockError, InvalidRequest, TimedOut, Unavailable, from_problem

CONNECT_TIMEOUT = 10.0
_CHUNK = 1 << 16

Body = Union[bytes, Iterable[bytes], None]


@dataclass(frozen=True)
class Address:
    """Where a service listens: a Unix socket, or a host and port."""

    socket: str = ""
    host: str = "localhost"
    port: int = 0
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "Address":
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        if parts.scheme == "unix" and not parts.netloc and path.startswith("/"):
            return cls(socket=path)
        if parts.scheme in ("http", "https") and parts.hostname and not path and not parts.query and parts.username is None:
            tls = parts.scheme == "https"
            return cls(host=parts.hostname, port=parts.port or (443 if tls else 80), tls=tls)
        raise InvalidRequest(f"{url!r} is no address of a service: use unix:///path/of.sock, http://host:port or https://host:port")

    def __str__(self) -> str:
        if self.socket:
            return "unix://" + self.socket
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def refused(self, error: BaseException) -> Unavailable:
        return Unavailable(f"no Cellblock service answers at {self}: {error}")


def problem(status: int, headers: Mapping[str, str], body: bytes) -> CellblockError:
    """The error that an answer of 400 and above is."""
    details: Dict[str, Any] = {}
    if "json" in headers.get("content-type", ""):
        try:
            parsed = json.loads(body)
            details = parsed if isinstance(parsed, dict) else {}
        except ValueError:
            pass
    error = from_problem(details, status, body[:200].decode("utf-8", "replace").strip())
    try:
        error.retry_after = float(headers["retry-after"])
    except (KeyError, ValueError):
        pass
    return error


class _Connection(http.client.HTTPConnection):
    """One connection; http.client does the rest."""

    close_after = False  # it broke while it was written to

    def __init__(self, address: Address, context: Optional[ssl.SSLContext]) -> None:
        super().__init__(address.host, address.port or 80, timeout=CONNECT_TIMEOUT)
        self._address, self._context = address, context

    def connect(self) -> None:
        if self._address.socket:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(CONNECT_TIMEOUT)
            try:
                self.sock.connect(self._address.socket)
            except BaseException:
                self.sock.close()
                raise
            return
        super().connect()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._address.tls:
            context = self._context or ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self._address.host)


class Answer:
    """An answer whose body is still to be read. Close it, or read it to its end."""

    def __init__(self, transport: "Transport", connection: _Connection, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self._transport, self._connection, self._response = transport, connection, response

    def read(self) -> bytes:
        try:
            with self._transport.failures():
                return self._response.read()
        finally:
            self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces as they arrive."""
        try:
            while True:
                with self._transport.failures():
                    chunk = self._response.read1(_CHUNK)
                if not chunk:
                    return
                yield chunk
        finally:
            self.close()

    def lines(self) -> Iterator[bytes]:
        """Yield the body line by line."""
        try:
            while True:
                with self._transport.failures():
                    line = self._response.readline()
                if not line:
                    return
                yield line
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back; one with an unread body is cut."""
        if self._response.isclosed() and not self._response.will_close and not self._connection.close_after:
            self._transport._give(self._connection)
        else:
            self._response.close()
            self._connection.close()


class _Failures:
    """Turns what a connection raises into errors of this package."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: Optional[BaseException], _: object) -> None:
        if isinstance(error, socket.timeout):
            raise TimedOut(f"the service at {self._address} did not answer in time") from error
        if isinstance(error, (OSError, http.client.HTTPException)) and not isinstance(error, CellblockError):
            raise Unavailable(f"the connection to the service at {self._address} broke: {error or type(error).__name__}") from error


class Transport:
    """Asks a service, over connections that are kept. It is safe for concurrent use."""

    def __init__(self, address: Address, token: Optional[str] = None, context: Optional[ssl.SSLContext] = None) -> None:
        self.address = address
        self._headers = {"Accept": "application/json", "User-Agent": "cellblock-python"}
        if token:
            self._headers["Authorization"] = "Bearer " + token
        self._context = context
        self._lock = threading.Lock()
        self._idle: List[_Connection] = []
        self._pid = os.getpid()
        self._closed = False

    def failures(self) -> _Failures:
        return _Failures(self.address)

    def ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> Answer:
        """Send a request and return the answer. Raises what a bad status means.

        ``timeout`` is how long the service may be silent, in seconds.
        """
        headers = {**self._headers, **(headers or {})}
        connection = self._take()
        try:
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError as error:
                raise self.address.refused(error) from error
            assert connection.sock is not None
            connection.sock.settimeout(timeout)
            with self.failures():
                try:
                    connection.request(method, path, body=body, headers=headers, encode_chunked="Transfer-Encoding" in headers)
                except (BrokenPipeError, ConnectionResetError):
                    # A service that refuses a body may answer before it has read it.
                    connection.close_after = True
                response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        answer = Answer(self, connection, response)
        if answer.status >= 400:
            raise problem(answer.status, answer.headers, answer.read())
        return answer

    def _take(self) -> _Connection:
        with self._lock:
            if self._closed:
                raise Unavailable("this client was closed")
            if self._pid != os.getpid():  # after a fork, they are the parent's
                self._idle, self._pid = [], os.getpid()
            while self._idle:
                connection = self._idle.pop()
                # One that can be read though nothing was asked is at its end.
                if connection.sock is not None and not _readable(connection.sock):
                    return connection
                connection.close()
        return _Connection(self.address, self._context)

    def _give(self, connection: _Connection) -> None:
        with self._lock:
            if not self._closed and self._pid == os.getpid() and len(self._idle) < 8 and connection not in self._idle:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def json_body(value: Any) -> Tuple[bytes, Dict[str, str]]:
    """Encode a request."""
    return json.dumps(value, separators=(",", ":")).encode("ascii"), {"Content-Type": "application/json"}
