"""The user's cache directory, for results that are expensive to compute and belong to no run, such as compiled code.

Nothing is written beside the installed modules: pip would not remove such files at an uninstall, and a remaining
directory would be importable as an empty namespace package.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

__all__ = ["cache_directory", "give_matplotlib_a_directory", "is_usable"]

NAME = "selfreg_gym"


def cache_directory(*parts: str) -> Path | None:
    """Return a private, writable directory, created if necessary, or None if there is none.

    The first usable one of

    1. the user's cache directory: ``$XDG_CACHE_HOME/selfreg_gym``, by default ``~/.cache/selfreg_gym`` (macOS:
       ``~/Library/Caches/selfreg_gym``, Windows: ``%LOCALAPPDATA%\\selfreg_gym\\Cache``);
    2. a directory of this user in the directory for temporary files.

    Args:
        parts: subdirectories.
    """
    for candidate in (_in_home(), _in_temporary_files()):
        if candidate is not None and is_usable(candidate) and is_usable(directory := candidate.joinpath(*parts)):
            return directory
    return None


def give_matplotlib_a_directory() -> None:
    """Set ``MPLCONFIGDIR`` where Matplotlib's default directories, in the home directory, are not writable.

    Without one, Matplotlib warns and rebuilds its list of fonts, for seconds, in each process. An existing value is
    kept. Call it before Matplotlib is imported; later it has no effect.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        return
    home = Path(os.path.expanduser("~"))
    defaults = [home / ".matplotlib"]
    if sys.platform.startswith(("linux", "freebsd")):
        defaults = [
            Path(os.environ.get(name) or home / folder)
            for name, folder in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
        ]
    if all(map(_can_be_written, defaults)):
        return
    directory = cache_directory("matplotlib")
    if directory is not None:
        os.environ["MPLCONFIGDIR"] = str(directory)


def _can_be_written(directory: Path) -> bool:
    """Whether the directory is writable or can be created; nothing is created."""
    there = next((place for place in (directory, *directory.parents) if os.path.exists(place)), directory)
    return directory.is_absolute() and os.access(there, os.W_OK | os.X_OK)


def is_usable(directory: Path) -> bool:
    """Whether the directory exists or can be created, accepts files, and is writable by this user only.

    The last condition is for security: cached code is executed, so it must not come from another user.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "geteuid"):
            found = directory.lstat()
            foreign = found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if foreign or not stat.S_ISDIR(found.st_mode):
                return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _in_home() -> Path | None:
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named) / NAME
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        return Path(local) / NAME / "Cache" if os.path.isabs(local) else None
    home = os.path.expanduser("~")
    folder = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path(home) / folder / NAME if os.path.isabs(home) else None


def _in_temporary_files() -> Path | None:
    try:
        folder = tempfile.gettempdir()
    except OSError:
        return None
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    return Path(folder) / f"{NAME}{user}"
