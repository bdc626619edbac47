"""What goes over the wire, the same for both clients."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, NamedTuple, Optional, Union, cast
from urllib.parse import quote

from ._judge import Issue
from ._names import check_code, check_files, check_session_id, check_stage_name, path_parts
from .errors import InternalError, from_problem
from .results import Result

# What an execution may take beyond its own limit before the service counts as
# silent: the grace after an interrupt, other executions of the same session
# before it, and a root that is still being built.
PATIENCE = 900.0
DEFAULT_TIMEOUT = 30.0

NDJSON = {"Accept": "application/x-ndjson"}
BINARY = {"Content-Type": "application/octet-stream"}

Contents = Mapping[str, "Union[bytes, os.PathLike[str]]"]


class Frame(NamedTuple):
    """A piece of a stream: kind "stdout" or "stderr" with text, or "result"."""

    kind: str
    text: str = ""
    result: Optional[Result] = None


def patience(timeout: Optional[float]) -> float:
    return (timeout or DEFAULT_TIMEOUT) + PATIENCE


def creation(
    session_id: Optional[str],
    root: Optional[str],
    preload: Optional[List[str]],
    limits: Optional[Mapping[str, Any]],
) -> Dict[str, Any]:
    """The fields of a new session."""
    if session_id is not None:
        check_session_id(session_id)
    given = {"id": session_id, "root": root, "preload": preload, "limits": dict(limits) if limits else None}
    return {k: v for k, v in given.items() if v is not None}


def execution(
    code: str,
    timeout: Optional[float] = None,
    stage_name: Optional[str] = None,
    input_files: Optional[Contents] = None,
    fresh_namespace: bool = False,
) -> Dict[str, Any]:
    """The fields of an execution."""
    check_code(code)
    check_files(input_files)
    body: Dict[str, Any] = {"code": code}
    if timeout is not None:
        body["timeout"] = timeout
    if stage_name is not None:
        check_stage_name(stage_name)
        body["stage_name"] = stage_name
    if input_files:
        body["input_files"] = [
            {"name": "/".join(path_parts(name)), "content_base64": base64.b64encode(content(c)).decode("ascii")}
            for name, c in input_files.items()
        ]
    if fresh_namespace:
        body["fresh_namespace"] = True
    return body


def content(given: "Union[bytes, os.PathLike[str]]") -> bytes:
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    with open(given, "rb") as f:
        return f.read()


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: stream.read(1 << 16), b"")


def session_path(session_id: str, *rest: str) -> str:
    return "/".join(["/v1/sessions", quote(session_id, safe=""), *rest])


def file_path(session_id: str, path: str) -> str:
    return session_path(session_id, "files", *(quote(part, safe="") for part in path_parts(path)))


def parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise InternalError(f"the service did not answer in JSON: {body[:100]!r}") from error


def issues(answer: Any) -> List[Issue]:
    return [Issue(i["message"], i["line"], i["column"], i["kind"], i["name"]) for i in answer["issues"]]


def result(answer: Any) -> Result:
    return cast(Result, answer)


def listed(answer: Any, key: str) -> List[Any]:
    found: List[Any] = answer[key]
    return found


def frame(line: bytes) -> Optional[Frame]:
    """One line of a stream; None for a keep-alive, and for kinds yet unknown."""
    if not line.strip():
        return None
    fields = parse(line)
    kind = fields.get("kind")
    if kind in ("stdout", "stderr"):
        return Frame(kind, fields.get("text", ""))
    if kind == "result":
        return Frame(kind, result=result(fields["result"]))
    if kind == "error":
        raise from_problem(fields["error"])
    if kind == "end":
        return Frame(kind)
    return None
