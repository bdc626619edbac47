"""A folder of this machine that is kept like a session's workspace.

Before an execution what is new or changed in the folder is sent; after it, what
the code created, changed or deleted is done here as well:

- A file of the folder that is new or changed replaces the workspace's.
- A file that the code created or changed replaces the folder's, and a symbolic
  link that bore its name.
- A file that the code deleted is deleted here, unless it was changed here since
  it was last seen.
- A file that is deleted here stays in the workspace.
- Links, FIFOs, sockets and devices cross in neither direction.

Names come from the cell and are as untrusted as its code: every step goes
through descriptors of directories and follows no link.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import BinaryIO, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

from ._names import path_parts

PARTIAL = ".cellblock-partial-"  # begins the name of a file that is being written
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIR = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
# A file that was changed so recently might be changed again without its times
# showing it; then its content is compared as well.
_RECENT = 50_000_000  # ns


class _Seen(NamedTuple):
    look: Tuple[int, int, int, int]
    digest: Optional[bytes]  # None: the look says enough


def _look(st: os.stat_result) -> Tuple[int, int, int, int]:
    return st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


class Folder:
    """It belongs to one session, and is not safe for concurrent use."""

    def __init__(self, path: "Union[str, os.PathLike[str]]") -> None:
        self.path = os.fspath(path)
        self._seen: Dict[str, _Seen] = {}

    def forget(self) -> None:
        """Take every file for unsent: the workspace is a new one."""
        self._seen.clear()

    def changed(self) -> List[str]:
        """Return the paths of the files that the workspace lacks, sorted."""
        found = []
        for directory, _, files, top in self._walk():
            for name in files:
                if name.startswith(PARTIAL):
                    continue
                path = os.path.join(directory, name)[len("./") :]
                try:
                    st = os.stat(name, dir_fd=top, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(st.st_mode) and self._differs(path, st):
                    found.append(path)
        return sorted(found)

    def _walk(self) -> Iterator[Tuple[str, List[str], List[str], int]]:
        try:
            top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            yield from os.fwalk(".", dir_fd=top, follow_symlinks=False)
        finally:
            os.close(top)

    def _differs(self, path: str, st: os.stat_result) -> bool:
        seen = self._seen.get(path)
        if seen is None or seen.look != _look(st):
            return True
        if seen.digest is None:
            return False
        with self.open(path) as f:
            digest = hashlib.blake2b(b"")
            for chunk in iter(lambda: f.read(_CHUNK), b""):
                digest.update(chunk)
            if digest.digest() != seen.digest:
                return True
            self._remember(path, os.fstat(f.fileno()), digest.digest())
        return False

    def _remember(self, path: str, st: os.stat_result, digest: bytes) -> None:
        recent = time.time_ns() - max(st.st_mtime_ns, st.st_ctime_ns) < _RECENT
        self._seen[path] = _Seen(_look(st), digest if recent else None)

    def open(self, path: str) -> BinaryIO:
        """Open a regular file of the folder for reading."""
        *parents, name = path_parts(path)
        parent = self._directory(parents, make=False)
        try:
            fd = os.open(name, _READ, dir_fd=parent)
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(f"{path!r} in {self.path!r} is no regular file")
        return open(fd, "rb")

    def send(self, path: str) -> Iterator[bytes]:
        """Yield a file's content; when all of it was taken, it counts as sent."""
        with self.open(path) as f:
            st = os.fstat(f.fileno())
            digest = hashlib.blake2b(b"")
            for chunk in iter(lambda: f.read(_CHUNK), b""):
                digest.update(chunk)
                yield chunk
            self._remember(path, st, digest.digest())

    def receive(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file of the workspace into the folder: all of it, or nothing."""
        *parents, name = path_parts(path)
        parent = self._directory(parents, make=True)
        partial = PARTIAL + os.urandom(8).hex()
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent)
            try:
                digest = hashlib.blake2b(b"")
                with open(fd, "wb") as f:
                    for chunk in chunks:
                        digest.update(chunk)
                        f.write(chunk)
                self._make_way(name, parent)
                os.rename(partial, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(partial, dir_fd=parent)
                raise
            self._remember(path, os.stat(name, dir_fd=parent, follow_symlinks=False), digest.digest())
        finally:
            os.close(parent)

    def _make_way(self, name: str, parent: int) -> None:
        """An empty directory, which the code replaced by a file, goes."""
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            pass

    def delete(self, path: str) -> None:
        """Delete what the code deleted, unless it was changed here meanwhile."""
        *parents, name = path_parts(path)
        seen = self._seen.pop(path, None)
        try:
            parent = self._directory(parents, make=False)
        except OSError:
            return
        try:
            st = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if seen is not None and seen.look == _look(st):
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        finally:
            os.close(parent)
        for depth in range(len(parents), 0, -1):
            if not self._remove_empty(parents[:depth]):
                break

    def _remove_empty(self, parts: List[str]) -> bool:
        *parents, name = parts
        try:
            parent = self._directory(parents, make=False)
            try:
                os.rmdir(name, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError:  # not empty, or gone
            return False
        return True

    def _directory(self, parts: List[str], make: bool) -> int:
        """Return a descriptor of a directory below the folder."""
        if make:
            os.makedirs(self.path, exist_ok=True)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in parts:
            try:
                if make:
                    self._make_directory(name, fd)
                deeper = os.open(name, _DIR, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        return fd

    def _make_directory(self, name: str, parent: int) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            return
        except FileExistsError:
            pass
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)  # a file or link that the code replaced by a directory
            os.mkdir(name, 0o755, dir_fd=parent)
