"""The old import path, as thin re-exports written into somebody's tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Union

from .errors import InvalidRequest

__all__ = ["PACKAGE", "write"]

PACKAGE = "backend.tools.python_coder.executor"

_MARK = "# Written by `python -m cellblock dropin`."

_MODULES: Dict[str, str] = {
    "__init__": '''"""Python in a sandbox: the package cellblock under its old name."""

from cellblock import (
    BLOCKED_IMPORTS,
    SUPPORTED_FILE_TYPES,
    CodeExecutor,
    ImportValidator,
    PersistentREPL,
    PythonExecutor,
    REPLManager,
    SandboxConfig,
)

from . import utils

__all__ = [
    "CodeExecutor",
    "PythonExecutor",
    "SandboxConfig",
    "ImportValidator",
    "PersistentREPL",
    "REPLManager",
    "BLOCKED_IMPORTS",
    "SUPPORTED_FILE_TYPES",
    "utils",
]
''',
    "core": "from cellblock.core import CodeExecutor, PythonExecutor\n",
    "sandbox": "from cellblock.sandbox import BLOCKED_IMPORTS, SUPPORTED_FILE_TYPES, SandboxConfig\n",
    "import_validator": "from cellblock.import_validator import ImportValidator\n",
    "repl_manager": "from cellblock.repl_manager import PersistentREPL, REPLManager\n",
    "utils": '''from cellblock.utils import (
    cleanup_execution_dir,
    enhance_error_detection,
    format_file_size,
    get_execution_env,
    log_execution_result,
    prepare_input_files,
    save_code_to_file,
    validate_file_path,
)
''',
}


def write(directory: "Union[str, os.PathLike[str]]", force: bool = False) -> List[Path]:
    """Write the package below ``directory`` and return the files' paths.

    Packages above it that are there keep their __init__.py. A file that is
    neither missing nor a re-export is replaced only with ``force``.
    """
    top = Path(directory)
    if not top.is_dir():
        raise InvalidRequest(f"{str(top)!r} is no directory")
    folder = top.joinpath(*PACKAGE.split("."))
    files = {folder / f"{name}.py": f"{_MARK}\n\n{text}" for name, text in _MODULES.items()}
    if not force:
        for path in files:
            if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_MARK):
                raise InvalidRequest(f"{path} is there and is something else: keep a copy, and use --force to replace it")
    # A directory that is there without one may be part of a namespace package.
    for package in (folder.parent.parent.parent, folder.parent.parent, folder.parent):
        if not package.exists():
            files[package / "__init__.py"] = f"{_MARK}\n"
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return sorted(files)
