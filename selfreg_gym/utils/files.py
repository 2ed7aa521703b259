"""File modes: libraries such as safetensors make files that only their owner can read, and a run is often shared."""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["give_usual_modes"]


def give_usual_modes(*paths: Path) -> None:
    """Give files, and folders with everything in them, the modes that the user's umask gives to new ones.

    Args:
        paths: files and folders beside each other.
    """
    if not paths:
        return
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as beside:
        probe = Path(beside) / "probe"
        probe.mkdir()
        mode = probe.stat().st_mode & 0o777
    for path in paths:
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if not one.is_symlink():
                one.chmod(mode if one.is_dir() else mode & 0o666)
