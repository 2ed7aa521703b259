"""Optional packages of tasks: imported when a task is made, with an error that names the line to type."""

from __future__ import annotations

import importlib
from typing import Any

from selfreg_gym.errors import MissingPackageError

__all__ = ["optional_package"]


def optional_package(name: str, *, extra: str, task: str) -> Any:
    """Import a package that a task needs.

    Args:
        name: the module.
        extra: the extra of this distribution that installs it.
        task: the task, for the message.

    Raises:
        MissingPackageError: it is not installed, or one of its own requirements is not.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise MissingPackageError(
            f"the task {task} needs the package {package!r}, which cannot be imported ({error}): "
            f"pip install 'selfreg-gym[{extra}]'"
        ) from error
