"""Cellblock: runs Python that nobody trusts, each session in a cell of its own.

::

    from cellblock import CodeExecutor

    executor = CodeExecutor(timeout=30)
    result = executor.execute("print('Hello')")
    print(result["output"] if result["success"] else result["error"])

:class:`CodeExecutor` and what belongs to it have the interface of the system
that this replaces. :class:`Client` and :class:`Session`, and
:class:`AsyncClient` and :class:`AsyncSession`, are what it is made of: streams,
files, interrupts, DataFrames.
"""

from . import utils
from ._judge import Issue
from .aio import AsyncClient, AsyncSession, AsyncStream
from .client import Client, Frame, Session, Stream
from .core import CodeExecutor, PythonExecutor
from .errors import (
    Busy,
    CellblockError,
    CodeFailed,
    Exhausted,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    SessionExpired,
    SessionLost,
    TimedOut,
    TooLarge,
    Unavailable,
    Unsupported,
)
from .import_validator import ImportValidator
from .repl_manager import PersistentREPL, REPLManager
from .results import Result
from .sandbox import BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES, SandboxConfig

__version__ = "0.1.0"

__all__ = [
    "BLOCKED_IMPORTS",
    "SUPPORTED_FILE_TYPES",
    "AsyncClient",
    "AsyncSession",
    "AsyncStream",
    "Busy",
    "CellblockError",
    "Client",
    "CodeExecutor",
    "CodeFailed",
    "Exhausted",
    "Forbidden",
    "Frame",
    "ImportValidator",
    "InternalError",
    "InvalidRequest",
    "Issue",
    "NotFound",
    "PersistentREPL",
    "PythonExecutor",
    "REPLManager",
    "Result",
    "SandboxConfig",
    "Session",
    "SessionExpired",
    "SessionLost",
    "Stream",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "Unsupported",
    "utils",
]
