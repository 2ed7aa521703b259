"""One-line messages for errors of the system on the command line, also if the streams themselves fail."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import Any

__all__ = ["complain", "system_error"]


def system_error(error: BaseException) -> str | None:
    """Return one line for an error of the operating system or of SQLite; None for an error of the program itself."""
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        names = " -> ".join(repr(str(name)) for name in (error.filename, error.filename2) if name is not None)
        subject = f"{names}: {what}" if names else what
        return (
            f"{subject}. Finished work is kept: remove the cause (free space, permissions, the path) and run the same "
            "command again, or choose another directory with --out."
        )
    if isinstance(error, sqlite3.Error):
        return (
            f"the rollout store (rollouts.sqlite) cannot be used: {error}. Finished work is kept: remove the cause "
            "(free space, permissions, another program that uses the file) and run the same command again."
        )
    if isinstance(error, MemoryError):
        return "there is not enough memory. Use smaller batches (num_envs, batch_size) or fewer workers."
    text = f"{type(error).__name__}: {error}"
    if any(sign in text for sign in ("IoError", "os error", "No space left", "file write failed", "I/O error")):
        return f"a file cannot be read or written ({text}). Remove the cause and run the same command again."
    return None


def complain(message: str) -> None:
    """Print to standard error; a stream that cannot be written (a full disk) is discarded silently."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _give_up(sys.stdout)


def _give_up(stream: Any) -> None:
    """Discard the rest of a stream's buffer, so that the interpreter does not fail on it at exit."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
