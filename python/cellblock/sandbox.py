"""What a sandbox allows by default: limits, blocked names, file types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Union

__all__ = ["BLOCKED_IMPORTS", "SUPPORTED_FILE_TYPES", "SandboxConfig"]

#: What an :class:`~cellblock.ImportValidator` blocks by default. It is a lint:
#: the cell, which has no network and starts no program, is the boundary.
BLOCKED_IMPORTS: List[str] = [
    "socket", "subprocess", "os.system", "eval", "exec", "__import__",
    "importlib", "shutil.rmtree", "pickle",
]  # fmt: skip

#: The endings that an input file may have.
SUPPORTED_FILE_TYPES: List[str] = [
    ".txt", ".md", ".log", ".rtf",
    ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml",
    ".xlsx", ".xls", ".xlsm", ".docx", ".doc", ".pdf",
    ".dat", ".h5", ".hdf5", ".nc", ".parquet", ".feather",
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tiff", ".svg",
    ".zip", ".tar", ".gz", ".bz2", ".7z",
]  # fmt: skip


class SandboxConfig:
    """The settings of an executor.

    ``timeout`` is the wall clock of one execution in seconds, ``max_memory_mb``
    limits the memory of one session in MiB (processes and files in its
    workspace together, enforced by the kernel), and every session has a folder
    of its own below ``execution_base_dir``, which is made here.
    """

    def __init__(
        self,
        timeout: float = 30,
        max_memory_mb: int = 512,
        execution_base_dir: Union[str, "os.PathLike[str]"] = "./data/scratch",
        use_persistent_repl: bool = True,
    ) -> None:
        self.timeout = timeout
        self.max_memory_mb = max_memory_mb
        self.execution_base_dir = Path(execution_base_dir).resolve()
        self.use_persistent_repl = use_persistent_repl
        self.execution_base_dir.mkdir(parents=True, exist_ok=True)

    @property
    def blocked_imports(self) -> List[str]:
        """A copy of :data:`BLOCKED_IMPORTS`."""
        return list(BLOCKED_IMPORTS)

    @property
    def supported_file_types(self) -> List[str]:
        """A copy of :data:`SUPPORTED_FILE_TYPES`."""
        return list(SUPPORTED_FILE_TYPES)

    def is_file_type_supported(self, file_path: Union[str, "os.PathLike[str]"]) -> bool:
        """Say whether the path ends in a supported type, in any case."""
        return Path(file_path).suffix.lower() in SUPPORTED_FILE_TYPES

    def get_execution_dir(self, session_id: str) -> Path:
        """Return the folder of a session on this machine; it is made if need be.

        Raises :class:`~cellblock.InvalidRequest` for what is no session id.
        """
        from . import _names

        _names.check_session_id(session_id)
        folder = self.execution_base_dir / session_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def to_dict(self) -> Dict[str, Any]:
        """Return the settings as a dict, as ``get_stats()`` shows them."""
        return {
            "timeout": self.timeout,
            "max_memory_mb": self.max_memory_mb,
            "execution_base_dir": str(self.execution_base_dir),
            "use_persistent_repl": self.use_persistent_repl,
            "blocked_imports": self.blocked_imports,
            "supported_file_types_count": len(SUPPORTED_FILE_TYPES),
        }

    def __repr__(self) -> str:
        return (
            f"SandboxConfig(timeout={self.timeout!r}, max_memory_mb={self.max_memory_mb!r}, "
            f"execution_base_dir={str(self.execution_base_dir)!r}, use_persistent_repl={self.use_persistent_repl!r})"
        )
