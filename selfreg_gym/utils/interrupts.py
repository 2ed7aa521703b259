"""Ctrl-C while the command line is still being imported: exit code 130, without a traceback."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["exit_quietly_on_ctrl_c", "is_command"]


def is_command() -> bool:
    """Whether this process is ``selfreg`` or ``python -m selfreg_gym``, and not a program that imports the package."""
    if sys.argv and os.path.basename(sys.argv[0]) == "selfreg":
        return True
    words = sys.orig_argv
    modules = [words[i + 1] for i in range(1, len(words) - 1) if words[i] == "-m"]
    return bool(modules) and modules[0].partition(".")[0] == "selfreg_gym"


def exit_quietly_on_ctrl_c() -> None:
    """Replace the traceback of an uncaught KeyboardInterrupt in this process by exit code 130."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(130)

    sys.excepthook = hook
