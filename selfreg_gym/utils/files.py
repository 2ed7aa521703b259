"""Atomic writing of files, with the modes of the user's umask."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path", "remove", "set_default_modes", "write_text"]


@contextlib.contextmanager
def atomic_path(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; the file written there replaces ``path`` when the block ends.

    A reader sees the former file or the new one, never a part. If the block raises, the former file stays and the
    temporary one is removed. Missing parent folders are created.

    Raises:
        FileExistsError: ``overwrite`` is False and ``path`` exists, also if another process has just created it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)  # of a killed process; if it is a link, its target is not written
    try:
        yield temporary
        if overwrite:
            temporary.replace(path)
            return
        try:
            os.link(temporary, path)  # unlike a rename, fails if the file exists
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, atomically (:func:`atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with everything in it; a missing path is not an error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def set_default_modes(*paths: Path) -> None:
    """Give files and folders of one parent, with everything in them, the modes that the umask gives to new ones.

    Libraries such as safetensors create files that only their owner can read, and a run is often shared.
    """
    if not paths:
        return
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as folder:
        probe = Path(folder) / "probe"
        probe.mkdir()
        mode = probe.stat().st_mode & 0o777
    for path in paths:
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if not one.is_symlink():
                one.chmod(mode if one.is_dir() else mode & 0o666)
