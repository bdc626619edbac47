"""CodeExecutor: the interface of the system that this replaces."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union, cast

from . import _names, utils
from .client import Client
from .errors import CellblockError
from .import_validator import ImportValidator
from .repl_manager import PersistentREPL, REPLManager
from .results import Result, failure
from .sandbox import SandboxConfig

__all__ = ["CodeExecutor", "PythonExecutor"]

PathLike = Union[str, "os.PathLike[str]"]

_INLINE = 4 << 20  # input files that travel with an execution that has no session


class CodeExecutor:
    """Runs Python that nobody trusts, each session in a cell of its own.

    ``timeout`` is the wall clock of one execution in seconds, ``max_memory_mb``
    the memory of one session in MiB, and every session has a folder below
    ``execution_base_dir`` that is kept like its workspace. With
    ``use_persistent_repl`` a session keeps its variables between executions;
    ``fresh_namespace`` gives each execution clean ones, as the system did that
    this replaces.

    Session ids belong to this executor and end with its process;
    ``share_sessions`` lets every executor of the same user and service meet in
    a session by its id. ``url``, ``socket``, ``token`` and the arguments after
    them are those of :class:`Client`; a ``client`` can be given instead.

    Nothing is raised by :meth:`execute`: what goes wrong is in the result.
    """

    def __init__(
        self,
        timeout: float = 30,
        max_memory_mb: int = 512,
        execution_base_dir: PathLike = "./data/scratch",
        use_persistent_repl: bool = True,
        *,
        fresh_namespace: bool = False,
        share_sessions: bool = False,
        client: Optional[Client] = None,
        url: Optional[str] = None,
        socket: Optional[PathLike] = None,
        token: Optional[str] = None,
        binary: Optional[str] = None,
        python: Optional[PathLike] = None,
        venv: Optional[PathLike] = None,
        packages: Optional[Sequence[str]] = None,
        root: Optional[str] = None,
        without: Optional[Sequence[str]] = None,
    ) -> None:
        self.sandbox = SandboxConfig(timeout, max_memory_mb, execution_base_dir, use_persistent_repl)
        self.timeout = timeout
        self.max_memory_mb = max_memory_mb
        self.execution_base_dir: Path = self.sandbox.execution_base_dir
        self.use_persistent_repl = use_persistent_repl
        self.fresh_namespace = fresh_namespace
        self.import_validator = ImportValidator()
        self.client = client or Client(
            url, socket=socket, token=token, binary=binary, python=python, venv=venv, packages=packages, root=root, without=without
        )
        self.repl_manager: Optional[REPLManager] = None
        if use_persistent_repl:
            self.repl_manager = REPLManager(timeout, client=self.client, max_memory_mb=max_memory_mb, shared=share_sessions)
        self._file_cache: Dict[str, Dict[str, str]] = {}
        self._lock = threading.Lock()
        self._busy: Dict[str, threading.Lock] = {}

    def validate_imports(self, code: str) -> Tuple[bool, List[str]]:
        """Return whether the validator finds nothing, and what it found."""
        return self.import_validator.validate(code)

    def validate_file_type(self, file_path: PathLike) -> bool:
        """Say whether the file's ending is a supported one."""
        return self.sandbox.is_file_type_supported(file_path)

    def execute(
        self,
        code: str,
        input_files: Optional[Mapping[str, str]] = None,
        session_id: Optional[str] = None,
        stage_name: Optional[str] = None,
        *,
        fresh_namespace: Optional[bool] = None,
    ) -> Dict[str, Any]:
        """Run code and return what came of it: see :class:`Result`.

        ``input_files`` maps paths of this machine to names in the workspace.
        With a ``session_id`` files live on in the session's folder, and with
        ``use_persistent_repl`` variables do too; without one nothing stays.
        ``stage_name`` is kept in the name of the script, script_<stage>.py.
        """
        fresh = self.fresh_namespace if fresh_namespace is None else fresh_namespace
        try:
            _names.check_code(code)
            _names.check_files(input_files)
            if stage_name:
                _names.check_stage_name(stage_name)
            if session_id:
                with self._turn(session_id):
                    result = self._in_session(code, dict(input_files or {}), session_id, stage_name, fresh)
            else:
                result = self._alone(code, dict(input_files or {}), stage_name)
        except (CellblockError, OSError, RuntimeError, ValueError) as error:
            result = failure(str(error))
        return utils.enhance_error_detection(cast(Dict[str, Any], result))

    def _turn(self, session_id: str) -> threading.Lock:
        """Executions of one session follow each other, with their files."""
        with self._lock:
            return self._busy.setdefault(session_id, threading.Lock())

    def _in_session(self, code: str, input_files: Dict[str, str], session_id: str, stage: Optional[str], fresh: bool) -> Result:
        folder = self.sandbox.get_execution_dir(session_id)
        if input_files:
            utils.prepare_input_files(input_files, folder, self._file_cache, session_id)
        utils.save_code_to_file(code, folder, stage)
        if self.repl_manager is not None:
            return self.repl_manager.get_or_create(session_id, folder).execute(code, stage_name=stage, fresh_namespace=fresh)
        return self._once(code, folder, session_id, stage)

    def _alone(self, code: str, input_files: Dict[str, str], stage: Optional[str]) -> Result:
        """Without a session: a cell that is gone afterwards, and nothing on this machine."""
        files = {name: Path(source) for source, name in input_files.items()}
        limits = {"memory_mb": self.max_memory_mb}
        if sum(source.stat().st_size for source in files.values()) <= _INLINE:
            return self.client.execute(
                code, timeout=self.timeout, stage_name=stage, input_files=files, preload=self.client._libraries(), limits=limits
            )
        with self.client.session(preload=self.client._libraries(), limits=limits) as session:
            for name, source in files.items():
                session.upload(source, name)
            return session.execute(code, timeout=self.timeout, stage_name=stage)

    def _once(self, code: str, folder: Path, session_id: str, stage: Optional[str]) -> Result:
        """A cell of its own over the files of a session."""
        repl = PersistentREPL(folder, self.timeout, client=self.client, max_memory_mb=self.max_memory_mb, session_id=session_id)
        try:
            return repl.execute(code, stage_name=stage)
        finally:
            repl.stop()

    def cleanup_session(self, session_id: str) -> None:
        """End a session and forget its input files. Its folder stays."""
        if self.repl_manager is not None:
            self.repl_manager.cleanup_session(session_id)
        with self._lock:
            self._file_cache.pop(session_id, None)
            self._busy.pop(session_id, None)

    def get_stats(self) -> Dict[str, Any]:
        """Return the settings, the number of sessions with input files, and the REPLs."""
        manager = self.repl_manager or REPLManager(self.timeout, client=self.client)
        return {
            "config": self.sandbox.to_dict(),
            "file_cache_sessions": len(self._file_cache),
            "repl_stats": manager.get_stats(),
        }

    def close(self) -> None:
        """End all sessions."""
        if self.repl_manager is not None:
            self.repl_manager.cleanup_all()

    def __enter__(self) -> "CodeExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


PythonExecutor = CodeExecutor
