"""The lock of a run directory, or of the folder of a cell, in which one process at a time may work.

It is an ``flock`` on the file ``.lock``. The operating system releases it when the process ends, also after
``kill -9``, so a leftover lock file has no effect. On a platform or file system without such locks nothing is locked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from selfreg_gym.errors import RunDirectoryError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "locked"]

LOCK = ".lock"
"""Name of the lock file in a run directory. It holds the process id of its last owner."""

_held: dict[str, tuple[int, int]] = {}  # directory -> (thread, number of times this thread holds the lock)


@contextlib.contextmanager
def locked(directory: str | Path, *, what: str = "a run directory", option: str = "--out") -> Iterator[None]:
    """Hold the lock of an existing directory. The same thread may take it again inside the block.

    Args:
        directory: the directory.
        what: what it is, for the error.
        option: the option that chooses another one, for the error.

    Raises:
        RunDirectoryError: another process, or another thread of this one, holds it.
        OSError: the lock file cannot be created.
    """
    key, me = os.path.realpath(directory), threading.get_ident()
    owner, times = _held.get(key, (me, 0))
    if owner != me:
        raise RunDirectoryError(_taken(directory, "another thread of this process", what, option))
    if times:
        _held[key] = (me, times + 1)
        try:
            yield
        finally:
            _held[key] = (me, times)
        return
    with _flock(Path(directory), what, option):
        _held[key] = (me, 1)
        try:
            yield
        finally:
            del _held[key]


@contextlib.contextmanager
def _flock(directory: Path, what: str, option: str) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            owner = f"process {owner}" if owner else "another process"
            raise RunDirectoryError(_taken(directory, owner, what, option)) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            with contextlib.suppress(OSError):  # a full disk; the id only serves the message above
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(directory: str | Path, owner: str, what: str, option: str) -> str:
    return (
        f"one process at a time may work in {what}, and {owner} is working in {str(directory)!r}. Wait until it has "
        f"ended (the same command then continues), or choose another directory with {option}."
    )
