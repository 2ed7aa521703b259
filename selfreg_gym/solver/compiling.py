"""Compilation with Numba, with a cache of the machine code in the user's cache directory.

Numba's default is ``__pycache__`` in the source folder, which pip leaves behind at an uninstall and many users cannot
write to. Here the directory is ``$NUMBA_CACHE_DIR`` if it is set, else
:func:`selfreg_gym.utils.user_cache.cache_directory`. It has one folder per version of the sources, of Numba and of the
processor, because Numba itself checks only the file of the compiled function, not the files of functions that it calls.

Entries that are damaged or of another version are compiled again, and entries that cannot be written (full disk) are
skipped, so the cache never changes a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core.caching import FunctionCache

from selfreg_gym.utils.user_cache import cache_directory, is_usable

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Any:
    """Return the function compiled by Numba (nopython mode, without the GIL), with its machine code cached on disk.

    Warns once per process if no directory for the cache is writable; the function is then compiled in each process.
    """
    dispatcher, directory = numba.njit(nogil=True)(function), _directory()
    if directory is None:
        return dispatcher
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(directory)  # the user's functions keep theirs
    try:
        found = _SafeCache(function)
    except (RuntimeError, OSError):  # this function cannot be cached
        return dispatcher
    finally:
        numba.config.CACHE_DIR = before
    if Path(function.__code__.co_filename).parent not in Path(found.cache_path).parents:  # not in the source folder
        dispatcher._cache = found  # what `cache=True` does, with this class and directory
    return dispatcher


class _SafeCache(FunctionCache):
    """Numba's cache on disk, without its errors: an unreadable entry is compiled again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged entry: pickle raises many kinds of errors
            with contextlib.suppress(OSError):
                self.flush()
            return None
        # Two processes that save different signatures at the same time use the same file name; one index remains.
        if found is not None and tuple(found.signature.args) != tuple(getattr(sig, "args", sig)):
            return None
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # full disk, quota, removed directory
            super().save_overload(sig, data)


@cache
def _directory() -> Path | None:
    """The cache folder of this version; one warning per process if there is none."""
    key = _key()
    if numba.config.CACHE_DIR:
        directory = Path(numba.config.CACHE_DIR) / f"selfreg_gym-{key}"
        if is_usable(directory):
            return directory
    found = cache_directory("compiled", key)
    if found is None:
        warnings.warn(
            "no directory for compiled code is writable, so the solver is compiled again in each process (some "
            "seconds): set NUMBA_CACHE_DIR or XDG_CACHE_HOME to a writable directory.",
            stacklevel=2,
        )
    return found


def _key() -> str:
    """A hash of everything that compiled code depends on: the sources, Numba, the processor."""
    digest = hashlib.sha256()
    sources = importlib.resources.files("selfreg_gym.solver")
    for source in sorted(sources.iterdir(), key=lambda entry: entry.name):
        if source.name.startswith("kernels") or source.name in ("modes.py", "compiling.py"):
            digest.update(source.name.encode() + source.read_bytes() if source.is_file() else b"")
    processor = (llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten())
    digest.update(repr((numba.__version__, processor, numba.config.CPU_NAME, numba.config.CPU_FEATURES)).encode())
    version = sys.modules["selfreg_gym"].__version__
    return f"{version}-{digest.hexdigest()[:16]}"
