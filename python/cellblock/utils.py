"""Functions around an execution, under the names of the system that this replaces."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Dict, MutableMapping, Optional, Tuple, TypeVar, Union

from ._names import check_stage_name, path_parts, script_name

__all__ = [
    "cleanup_execution_dir",
    "enhance_error_detection",
    "format_file_size",
    "get_execution_env",
    "log_execution_result",
    "prepare_input_files",
    "save_code_to_file",
    "validate_file_path",
]

logger = logging.getLogger("cellblock")

PathLike = Union[str, "os.PathLike[str]"]


def format_file_size(size_bytes: float) -> str:
    """Write a size for people: 1536 is "1.5 KB"."""
    size = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PB"


def get_execution_env() -> Dict[str, str]:
    """Return the environment that code in a cell has.

    Nothing of the caller's own environment is in it, nor in the cell.
    """
    return {
        "HOME": "/workspace",
        "USER": "cell",
        "PATH": "/usr/bin",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",  # true of every cell, whose Python runs in UTF-8 mode
    }


def validate_file_path(file_path: PathLike) -> bool:
    """Say whether the path names a regular file that can be read."""
    try:
        return os.path.isfile(file_path) and os.access(file_path, os.R_OK)
    except (OSError, ValueError, TypeError):  # a NUL byte, say
        return False


def save_code_to_file(code: str, execution_dir: PathLike, stage_name: Optional[str] = None) -> None:
    """Write the code to script.py, and to script_<stage>.py where a stage is named."""
    names = {script_name(None)}
    if stage_name:
        check_stage_name(stage_name)
        names.add(script_name(stage_name))
    for name in names:
        # Not through a link that somebody put there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(Path(execution_dir) / name, flags, 0o644)
        with open(fd, "w", encoding="utf-8", errors="surrogatepass", newline="") as f:
            f.write(code)


class _Copied(Dict[str, str]):
    """The input files of a session, with what their sources looked like when copied."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: Dict[str, Tuple[str, int, int]] = {}


def prepare_input_files(
    input_files: Dict[str, str],
    execution_dir: PathLike,
    file_cache: MutableMapping[str, Dict[str, str]],
    session_id: Optional[str] = None,
) -> None:
    """Copy files, given as {path: name}, into a folder.

    In a session a file is copied once, and again when it has changed;
    ``file_cache`` remembers which. What code made of its copy is kept otherwise.
    """
    cached = file_cache.get(session_id) if session_id else None
    copied = cached if isinstance(cached, _Copied) else _Copied()
    for source, name in input_files.items():
        path_parts(name)  # it must not lead out of the folder
        st = os.stat(source)
        look = (name, st.st_mtime_ns, st.st_size)
        target = Path(execution_dir) / name
        fresh = session_id is not None and copied.sources.get(os.fspath(source)) not in (None, look)
        if fresh or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        copied.sources[os.fspath(source)] = look
        copied[os.fspath(source)] = name
    if session_id:
        file_cache[session_id] = copied


def cleanup_execution_dir(execution_dir: PathLike, session_id: Optional[str] = None) -> None:
    """Remove the folder of an execution without a session; a session's stays."""
    if session_id:
        return
    try:
        shutil.rmtree(execution_dir)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("cannot remove %s: %s", execution_dir, error)


def log_execution_result(result: Dict[str, Any]) -> None:
    """Log how an execution ended, to the logger "cellblock"."""
    seconds = result.get("execution_time", 0)
    if result["success"]:
        logger.info("code ended well after %.2f s", seconds)
    else:
        logger.info("code failed with %s after %.2f s: %s", result.get("return_code", -1), seconds, result.get("error"))


# Looked for in the output, in any case.
_ERROR_SIGNS = (
    "error:", "failed:", "exception:", "traceback (most recent call last):", "not found",
    "does not contain", "does not exist", "no valid", "invalid",
)  # fmt: skip

_Result = TypeVar("_Result", bound=MutableMapping[str, Any])


def enhance_error_detection(result: _Result) -> _Result:
    """Make a failure of a success whose output reads like one, and give a
    failure without a text its output. The result is changed and returned."""
    output = result.get("output") or ""
    lowered = output.lower()
    if not any(sign in lowered for sign in _ERROR_SIGNS):
        return result
    if result.get("return_code", -1) == 0:
        result["success"] = False
        result["error"] = f"Error detected in output (code exited with 0 but printed error):\n{output}"
    elif not (result.get("error") or "").strip():
        result["error"] = f"Error detected in output (stderr was empty):\n{output}"
    return result
