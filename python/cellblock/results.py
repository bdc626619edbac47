"""The shape of a result: plain dicts, the same as the service's JSON.

The first seven keys are those of the system that this replaces. ``verdict``,
``signal``, ``usage``, ``files``, ``output`` and times are the host's own
observations; ``namespace``, ``value`` and ``exception`` are what the cell says.
"""

from __future__ import annotations

from typing import Dict, List, Optional, TypedDict

__all__ = ["ExceptionInfo", "FileChange", "FileInfo", "Result", "SessionState", "Usage", "Variable"]


class Variable(TypedDict, total=False):
    """A public variable of the session, as far as its type says something."""

    type: str
    shape: List[int]
    columns: List[str]
    dtype: str
    keys: List[str]
    length: int
    value: str


class ExceptionInfo(TypedDict, total=False):
    """What the code raised; ``line`` is in the user's code."""

    name: str
    value: str
    traceback: str
    line: int


class FileChange(TypedDict):
    """A file of the workspace that an execution touched."""

    path: str
    size: int
    change: str  # created, changed or deleted


class FileInfo(TypedDict, total=False):
    """A file of the workspace."""

    path: str
    size: int
    modified: str


class SessionState(TypedDict, total=False):
    """Where the execution ran. ``lost``: its variables are gone, its files are not."""

    id: str
    execution: int
    lost: bool


class Usage(TypedDict, total=False):
    """What one execution used."""

    wall_s: float
    cpu_s: float
    memory_peak_bytes: int
    processes_peak: int
    lifetime_peaks: List[str]


class Truncated(TypedDict, total=False):
    """Which streams hold less than was written, and whether the lists of files
    hold all that were touched."""

    output: bool
    stderr: bool
    files: bool


class IssueInfo(TypedDict):
    """Why the validator refused."""

    message: str
    line: int
    column: int
    kind: str
    name: str


class _Always(TypedDict):
    success: bool
    output: str
    error: Optional[str]
    execution_time: float
    return_code: int
    namespace: Dict[str, Variable]
    created_files: List[str]


class Result(_Always, total=False):
    """What came of an execution. A result of :class:`~cellblock.CodeExecutor`
    whose code never ran has the first seven keys only."""

    stderr: str
    value: Optional[str]
    exception: Optional[ExceptionInfo]
    verdict: str
    signal: str
    truncated: Truncated
    files: List[FileChange]
    session: SessionState
    usage: Usage
    hint: str
    issues: List[IssueInfo]


def failure(message: str) -> Result:
    """The result of code that never ran."""
    return {
        "success": False,
        "output": "",
        "error": message,
        "execution_time": 0,
        "return_code": -1,
        "namespace": {},
        "created_files": [],
    }
