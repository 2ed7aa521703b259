"""Optional packages: imported where they are needed, with an error that names the line to type."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from selfreg_gym.errors import MissingPackageError

__all__ = ["optional_package", "package_file"]


def optional_package(module: str, *, user: str, requirement: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: its name, for instance ``"pyarrow.parquet"``.
        user: what needs it, the subject of the message: ``"the task selfreg/SIF-v0"``.
        requirement: what pip installs: an extra of this distribution (``"selfreg-gym[data]"``) or a distribution.

    Raises:
        MissingPackageError: the package or one of its own requirements is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, user, requirement, f"which cannot be imported ({error})") from error


def package_file(package: str, name: str, *, user: str, requirement: str) -> Path:
    """The path of a file in the folder of an optional package, which is not imported; other arguments as above.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # the module is set to None
        spec = None
    if spec is None or spec.origin is None:
        raise _missing(package, user, requirement, "which is not installed")
    return Path(spec.origin).with_name(name)


def _missing(module: str, user: str, requirement: str, why: str) -> MissingPackageError:
    package = module.split(".")[0]
    words = f"'{requirement}'" if "[" in requirement else requirement
    return MissingPackageError(f"{user} needs the package {package!r}, {why}: pip install {words}.")
