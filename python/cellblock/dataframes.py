"""DataFrames into a session and out of it."""

from __future__ import annotations

import os
import pkgutil
from typing import TYPE_CHECKING, Any, Iterable

from .errors import CodeFailed, InvalidRequest
from .results import Result

if TYPE_CHECKING:
    import pandas


def transfer() -> str:
    """A name in the workspace for one transfer."""
    return f".cellblock-frame-{os.urandom(8).hex()}"


def pack(frame: "pandas.DataFrame") -> bytes:
    from . import _frames

    try:
        data: bytes = _frames.pack(frame)  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise InvalidRequest(f"cannot send the DataFrame: {error}") from error
    return data


def unpack(data: bytes, max_bytes: int) -> "pandas.DataFrame":
    from . import _frames

    try:
        frame: pandas.DataFrame = _frames.unpack(data, max_bytes)  # type: ignore[no-untyped-call]
    except Exception as error:  # the bytes are hostile: anything may be wrong with them
        raise ValueError(f"what the session gave is no DataFrame: {error}") from error
    return frame


def limited(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        check_size(len(data), max_bytes)
    return bytes(data)


def check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f"what the session gave is more than {max_bytes} bytes")


def load_code(name: str, path: str) -> str:
    """Code that makes a transferred DataFrame a variable, and leaves nothing else."""
    return f"{_variable(name)} = {_with_frames(f'load({path!r})')}"


def save_code(name: str, path: str) -> str:
    """Code that writes a variable for the transfer."""
    return f"None if {_with_frames(f'save({_variable(name)}, {path!r})')} else None"


def _variable(name: str) -> str:
    if not name.isidentifier():
        raise InvalidRequest(f"{name!r} is no name of a variable")
    return name


_SIDES = '''
def load(path):
    import os
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    return unpack(data, len(data))

def save(frame, path):
    with open(path, "wb") as f:
        f.write(pack(frame))
'''


def _with_frames(call: str) -> str:
    """An expression that makes a call in _frames.py, without a trace in the
    session's names."""
    source = (pkgutil.get_data(__package__, "_frames.py") or b"").decode("utf-8") + _SIDES
    function, _, arguments = call.partition("(")
    return f"(lambda m: exec({source!r}, m) or m[{function!r}])({{'__name__': 'cellblock_frames'}})({arguments}"


def check(result: Result) -> None:
    """Raise where the session's side of a transfer failed."""
    if not result["success"]:
        exception: Any = result.get("exception")
        what = f"{exception['name']}: {exception['value']}" if exception else result["error"]
        raise CodeFailed(f"the session could not transfer the DataFrame: {what}", result)
