"""Which service a client asks: one that is named, or one of the caller's own."""

from __future__ import annotations

import os
import ssl
from typing import List, Optional, Sequence, Union

from . import _service
from ._http import Address
from .errors import InvalidRequest

PathLike = Union[str, "os.PathLike[str]"]


class Place:
    """Where a client's service is. One of the caller's own is started when its
    address is asked for, and again when it has ended."""

    def __init__(self, named: Optional[Address], own: _service.Own, token: Optional[str], context: Optional[ssl.SSLContext]) -> None:
        self.named, self.own, self.token, self.context = named, own, token, context

    def address(self) -> Address:
        return self.named or _service.start(self.own)

    def moved(self, address: Address) -> bool:
        """Say whether the service is no longer at an address that it had."""
        return self.named is None and not _service.lives_at(self.own, address)

    def libraries(self) -> Optional[List[str]]:
        """What new sessions are asked to have imported; None: what the service
        has for all of them, which is faster."""
        if self.named is None and _service.has_libraries(self.own):
            return None
        return _service.LIBRARIES


def place(
    url: Optional[str],
    socket: Optional[PathLike],
    token: Optional[str],
    context: Optional[ssl.SSLContext],
    binary: Optional[str],
    python: Optional[PathLike],
    venv: Optional[PathLike],
    packages: Optional[Sequence[str]],
    root: Optional[str],
    without: Optional[Sequence[str]],
) -> Place:
    if url and socket:
        raise InvalidRequest("url and socket both name a service: give one of them")
    if not url and not socket:
        url, socket = os.environ.get("CELLBLOCK_URL"), os.environ.get("CELLBLOCK_SOCKET")
        if url and socket:
            raise InvalidRequest("CELLBLOCK_URL and CELLBLOCK_SOCKET both name a service: set one of them")
    named = None
    if url:
        named = Address.parse(url)
    elif socket:
        named = Address(socket=os.path.abspath(os.fspath(socket)))
    layers = os.environ.get("CELLBLOCK_WITHOUT", "").split(",") if without is None else without
    own = _service.Own(
        binary=binary,
        python=os.fspath(python) if python else None,
        venv=os.fspath(venv) if venv else None,
        packages=tuple(packages) if packages is not None else None,
        root=root,
        without=tuple(layer.strip() for layer in layers if layer.strip()),
    )
    return Place(named, own, token or os.environ.get("CELLBLOCK_TOKEN") or None, context)
