"""The command line, run in the process of a test."""

from __future__ import annotations

import pytest

from selfreg_gym.cli import main

__all__ = ["said"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    try:
        main(list(words))
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return code, out, err
