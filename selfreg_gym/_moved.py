"""Former names of modules and functions, importable for one more release with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "install", "renamed"]

MOVED = {
    "dataset": "store.rollouts",
    "env": "intervention_env.env",
    "helpers": "adapters",
    "play": "playing.interactive",
    "rollout": "playing.loop",
    "sb3": "intervention_env.sb3",
    "snapshots": "intervention_env.snapshots",
    "vector_env": "intervention_env.vector_env",
}
"""Former name: present name, both without the prefix ``selfreg_gym.``."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Resolve a former module name to the module that replaces it."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return importlib.machinery.ModuleSpec(fullname, self) if package == "selfreg_gym" and name in MOVED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        name = spec.name.partition(".")[2]
        present = f"selfreg_gym.{MOVED[name]}"
        warnings.warn(
            f"{spec.name} is now {present}; the next release removes the former name.", DeprecationWarning, stacklevel=2
        )
        return importlib.import_module(present)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: ``create_module`` returned an imported module."""


def install() -> None:
    """Make the former names importable; the finder is the last one."""
    if not any(type(finder).__name__ == "_Finder" and type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module for its former public names.

    Args:
        module: the module's name.
        names: former name: present one, both in this module.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"{module}.{name} is now {names[name]}; the former name goes with the next release."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return __getattr__
