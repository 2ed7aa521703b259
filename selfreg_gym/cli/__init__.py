"""The command line, ``selfreg``: each command reads its options and calls the function that does the work."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from selfreg_gym.cli import (  # noqa: F401 (they add their commands to the application)
    experiment_command,
    fork_command,
    stage_commands,
    utility_commands,
)
from selfreg_gym.cli.application import app
from selfreg_gym.cli.system_errors import complain, system_error
from selfreg_gym.errors import SelfRegError
from selfreg_gym.utils.printable import visible
from selfreg_gym.utils.user_cache import give_matplotlib_a_directory

__all__ = ["app", "main"]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Set before torch loads: small models run many times faster with one thread per process on a shared machine. Progress
bars of libraries would break up those of this package."""

MESSAGE = 4000
"""Maximum number of characters of an error message."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. An error is one message on standard error; exit code 2, or 1 for an error of the system."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows escapes
    give_matplotlib_a_directory()  # before Stable-Baselines3, which imports Matplotlib
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # meant for its developers
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="selfreg")
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = 2 if isinstance(error, SelfRegError) else 1
        message = str(error) if code == 2 else system_error(error)
        if debug or message is None:
            raise
    complain(f"selfreg: {visible(message, limit=MESSAGE, keep=chr(10))}")
    sys.exit(code)
