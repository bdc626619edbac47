"""What names may look like, the same here and in the service."""

from __future__ import annotations

import re
from typing import Any, Mapping, Tuple

from .errors import InvalidRequest

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STAGE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_session_id(session_id: str) -> None:
    if not isinstance(session_id, str) or not _SESSION.fullmatch(session_id):
        raise InvalidRequest(
            f"invalid session id {session_id!r}: 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )


def check_stage_name(stage_name: str) -> None:
    if not isinstance(stage_name, str) or not _STAGE.fullmatch(stage_name):
        raise InvalidRequest(f"invalid stage name {stage_name!r}: 1 to 64 of A-Z a-z 0-9 _ -")


def check_code(code: Any) -> None:
    if not isinstance(code, str):
        raise InvalidRequest(f"the code is of type {type(code).__name__}, and must be str")
    try:
        code.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"the code is no text that could be a file: {error}") from error


def check_files(input_files: Any) -> None:
    if input_files is not None and not isinstance(input_files, Mapping):
        raise InvalidRequest(f"input_files are of type {type(input_files).__name__}, and must be a mapping: a dict")


def script_name(stage_name: "str | None") -> str:
    """The name that tracebacks show, and under which the code is kept."""
    return f"script_{stage_name}.py" if stage_name else "script.py"


def is_script(path: str) -> bool:
    """Say whether a path at the top of a workspace is code that was executed."""
    return "/" not in path and path.startswith("script") and path.endswith(".py")


def path_parts(path: str) -> Tuple[str, ...]:
    """Split a path in a workspace. What leads out of it, or is none, is an error.

    Paths in results come from the cell: they are as untrusted as its code.
    """
    parts = tuple(path.split("/"))
    if not path or "\0" in path or any(p in ("", ".", "..") for p in parts):
        raise InvalidRequest(f"invalid path {path!r}: it must lie in the workspace, without '..' and empty parts")
    return parts
