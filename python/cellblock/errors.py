"""Errors: what is not the code's doing.

Whatever code did in its cell, a crash included, is in the result and raises
nothing. These are raised by :class:`~cellblock.Client` and
:class:`~cellblock.Session`; :class:`~cellblock.CodeExecutor` puts them into the
``error`` of a result, as the system did that it replaces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Type

if TYPE_CHECKING:
    from .results import Result

__all__ = [
    "CellblockError",
    "Busy",
    "CodeFailed",
    "Exhausted",
    "Forbidden",
    "InternalError",
    "InvalidRequest",
    "NotFound",
    "SessionExpired",
    "SessionLost",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "Unsupported",
]


class CellblockError(Exception):
    """The base of all errors here.

    ``status`` is the HTTP status and ``problem`` the service's own account
    (RFC 9457); None and {} where the service was not asked.
    """

    status: Optional[int] = None
    retry_after: Optional[float] = None  #: seconds, where the service named them

    def __init__(self, message: str, problem: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.problem: Dict[str, Any] = problem or {}


class InvalidRequest(CellblockError, ValueError):
    """The request makes no sense; nothing was run."""


class TooLarge(InvalidRequest):
    """A request, or a file for its workspace, is too large."""


class NotFound(CellblockError, LookupError):
    """There is no such session or file, or it is somebody else's."""


class SessionExpired(NotFound):
    """The session was not used for too long and was ended; nothing was run."""


class SessionLost(CellblockError):
    """The session ended under the call: how far its code got is not known."""


class Busy(CellblockError):
    """Something else is under way; try again."""


class Exhausted(CellblockError):
    """A quota or the machine is used up; ``retry_after`` may say for how long."""


class TimedOut(CellblockError, TimeoutError):
    """The service, or the way to it, took too long."""


class Forbidden(CellblockError, PermissionError):
    """The service does not know this caller, or does not let it do this."""


class Unsupported(CellblockError):
    """This machine or this service cannot do it."""


class InternalError(CellblockError):
    """The service failed."""


class Unavailable(CellblockError, ConnectionError):
    """No service answers, it is shutting down, or it could not be started."""


class CodeFailed(CellblockError):
    """Code that this package ran in a session for its own purpose failed;
    ``result`` is what came of it."""

    def __init__(self, message: str, result: "Result") -> None:
        super().__init__(message)
        self.result = result


# By the kind that a problem detail names, and by HTTP status for answers
# without one (from something between here and the service).
_KINDS: Dict[str, Type[CellblockError]] = {
    "invalid": InvalidRequest,
    "not-found": NotFound,
    "lost": SessionLost,
    "expired": SessionExpired,
    "busy": Busy,
    "too-large": TooLarge,
    "exhausted": Exhausted,
    "timed-out": TimedOut,
    "unauthorized": Forbidden,
    "forbidden": Forbidden,
    "unsupported": Unsupported,
    "unavailable": Unavailable,
    "internal": InternalError,
}
_STATUSES: Dict[int, Type[CellblockError]] = {
    400: InvalidRequest,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    408: TimedOut,
    409: Busy,
    410: SessionExpired,
    413: TooLarge,
    415: InvalidRequest,
    422: InvalidRequest,
    429: Exhausted,
    501: Unsupported,
    503: Unavailable,
    504: TimedOut,
}


def from_problem(details: Dict[str, Any], status: Optional[int] = None, otherwise: str = "") -> CellblockError:
    """The error that a problem detail tells of."""
    kind = str(details.get("kind") or str(details.get("type", "")).rpartition("/")[2].rpartition(":")[2])
    message = details.get("detail") or details.get("title") or otherwise or "the service says no more"
    if status is None:
        status = details.get("status")
    error_type: Type[CellblockError] = _KINDS.get(kind, _STATUSES.get(status or 500, InternalError))
    error = error_type(f"{message} (HTTP {status})" if status else str(message), details)
    error.status = status
    return error
