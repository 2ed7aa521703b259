"""The registry of tasks, actors, interventions, helpers and experiments. Listing names imports none of them.

A plug-in is a file. In ``agents/`` and ``selfreg_gym/experiments/studies/`` its id is the file name with hyphens
(``every_k.py`` is ``every-k``), and ``__all__`` names its one class. In ``envs/`` a file, or the ``__init__.py`` of a
package, declares two literals, which are read from the source: ``IDS = ("selfreg/Coin-v0",)``, and the class of these
ids, ``ENTRY = "Coin"``. ``IDS`` may also be a dict from each id to arguments of the class, for one class with several
ids: ``{"selfreg/Coin-v0": {"heads": 0.5}}``. Files whose names begin with an underscore are not plug-ins. Other
distributions use the entry-point groups ``selfreg_gym.envs`` (name: the id), ``selfreg_gym.actors``,
``selfreg_gym.interventions``, ``selfreg_gym.helpers`` and ``selfreg_gym.experiments``, with values ``module:Class``.

The folders are read again only when a file in them or an installed distribution changes.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import ENV_ID_RE

from selfreg_gym.errors import PluginImportError, RegistryError, SelfRegError, UnknownNameError, shown

__all__ = ["GROUPS", "SINGULAR", "Entry", "describe", "load", "names", "register_tasks"]

_NAME = re.compile(r"[\w./:+-]{1,200}")  # shown in terminals, reports and file names

GROUPS = {
    "envs": "selfreg_gym.envs",
    "actors": "selfreg_gym.agents.actors",
    "interventions": "selfreg_gym.agents.interventions",
    "helpers": "selfreg_gym.agents.helpers",
    "experiments": "selfreg_gym.experiments.studies",
}
"""Group -> the package whose files are its plug-ins."""

_OWN = "selfreg_gym"
SINGULAR = {
    "envs": "task",
    "actors": "actor",
    "interventions": "intervention",
    "helpers": "helper",
    "experiments": "experiment",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered plug-in.

    Attributes:
        name: its id.
        group: one of ``GROUPS``.
        module: dotted name of its module.
        origin: its distribution; ``"selfreg_gym"`` for the files of this repository.
        attribute: name of the class in the module; None if ``__all__`` of the module names it.
        summary: first line of the docstring of the class or module, read from the source; for another distribution
            whose source is not found, the summary of the distribution. For other distributions only :func:`describe`
            sets it.
        flags: names that the body of a class in the module sets to the literal True; empty for other distributions.
        kwargs: arguments of the class that belong to the id of a task.
    """

    name: str
    group: str
    module: str
    origin: str
    attribute: str | None = None
    summary: str = ""
    flags: frozenset[str] = frozenset()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def names(group: str, *, flag: str | None = None) -> list[str]:
    """Return the names of a group, sorted; with ``flag``, only those with ``flag`` in ``Entry.flags``.

    Raises:
        UnknownNameError: there is no such group.
        RegistryError: two plug-ins have the same name.
    """
    return sorted(name for name, entry in _scan(group).items() if flag is None or flag in entry.flags)


def describe(group: str) -> list[Entry]:
    """Return the plug-ins of a group, sorted by name; nothing is imported."""
    return [
        entry if entry.origin == _OWN else replace(entry, summary=_foreign_summary(entry))
        for _, entry in sorted(_scan(group).items())
    ]


def load(group: str, name: str) -> type[Any]:
    """Import a plug-in and return its class.

    Raises:
        UnknownNameError: no such group, or no such name in it.
        PluginImportError: the module cannot be imported; the message names the distribution.
        RegistryError: ``__all__`` or ``ENTRY`` does not name exactly one class.
    """
    entries = _scan(group)
    if name not in entries:
        raise UnknownNameError(SINGULAR[group], name, entries)
    entry = entries[name]
    try:
        module = importlib.import_module(entry.module)
    except SelfRegError:
        raise
    except Exception as error:
        own = entry.origin == _OWN
        origin = _OWN if own else f"the distribution {entry.origin!r}"
        remedy = f"repair {_source(entry.module) or 'its file'}" if own else f"update or uninstall {entry.origin}"
        raise PluginImportError(
            f"{SINGULAR[group]} {name!r} of {origin} cannot be imported: {entry.module} raised "
            f"{type(error).__name__}: {shown(str(error))}. Install the packages that it needs, or {remedy}."
        ) from error
    attribute = entry.attribute
    if attribute is None:
        exported = list(getattr(module, "__all__", ()))
        if len(exported) != 1:
            raise RegistryError(
                f"the module {entry.module} of the {SINGULAR[group]} {name!r} must name exactly one class in __all__, "
                f"received __all__ = {exported!r}."
            )
        attribute = exported[0]
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not inspect.isclass(found):
        raise RegistryError(
            f"the {SINGULAR[group]} {name!r} must be a class, received {entry.module}:{attribute}, which is "
            f"{type(found).__name__}."
        )
    return found


def register_tasks() -> None:
    """Register every task id with Gymnasium. The module of a task is imported by ``gym.make``.

    Raises:
        RegistryError: another package has registered the id with Gymnasium.
    """
    for name, entry in _scan("envs").items():
        entry_point = f"{entry.module}:{entry.attribute}"
        known = gym.registry.get(name)
        if known is not None and known.entry_point != entry_point:
            raise RegistryError(
                f"a task id must be unique, and {name!r} of {entry.module} is registered for {known.entry_point!r}."
            )
        if known is None:
            gym.register(name, entry_point=entry_point, kwargs=dict(entry.kwargs))


def _scan(group: str) -> dict[str, Entry]:
    """Name -> plug-in of a group: files of this repository, and entry points of other distributions."""
    if group not in GROUPS:
        raise UnknownNameError("registry group", group, GROUPS)
    entries: dict[str, Entry] = {}
    for entry in [*_files(group), *_entry_points(group)]:
        if entry.name in entries:
            raise RegistryError(
                f"the id of a {SINGULAR[entry.group]} must be unique, and two have {entry.name!r}: "
                f"{entries[entry.name].module} ({entries[entry.name].origin}) and {entry.module} ({entry.origin}). "
                "Rename one of them."
            )
        entries[entry.name] = entry
    return entries


def _foreign_summary(entry: Entry) -> str:
    """First docstring line of another distribution's class or module; else the summary of the distribution."""
    path = _source(entry.module)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8") if path is not None else "")
    except (OSError, ValueError, SyntaxError):
        tree = ast.Module([], [])
    wanted = (entry.attribute or "").partition(".")[0]
    nodes: list[ast.ClassDef | ast.Module] = [
        *(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == wanted),
        tree,
    ]
    for node in nodes:
        if summary := (ast.get_docstring(node) or "").partition("\n")[0]:
            return summary
    try:
        return distribution(entry.origin).metadata["Summary"] or ""
    except (PackageNotFoundError, KeyError):
        return ""


def _source(module: str) -> Path | None:
    """The source file of a module, found without importing its packages."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _files(group: str) -> tuple[Entry, ...]:
    spec = importlib.util.find_spec(GROUPS[group])
    folders = tuple(spec.submodule_search_locations or ()) if spec is not None else ()
    return _plugins(group, GROUPS[group], folders, tuple(map(_contents, folders)))


def _contents(folder: str) -> tuple[tuple[str, int], ...]:
    """Names and times of change of a folder's plug-ins; empty for a folder in a zip file, which is read once."""
    found = os.scandir(folder) if os.path.isdir(folder) else ()
    return tuple(sorted((one.name, _changed(one.path)) for one in found if not one.name.startswith("_")))


@lru_cache(maxsize=32)
def _plugins(group: str, package: str, folders: tuple[str, ...], contents: Any) -> tuple[Entry, ...]:
    """The plug-ins in the folders of a package. ``contents`` is only a part of the cache's key."""
    entries = []
    for found in pkgutil.iter_modules(folders):
        if found.name.startswith("_"):
            continue
        module = f"{package}.{found.name}"
        tree = _parse(found)
        if tree is None:
            continue
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        if group != "envs":
            bodies = [_literals(node.body) for node in tree.body if isinstance(node, ast.ClassDef)]
            flags = frozenset(name for body in bodies for name, value in body.items() if value is True)
            entries.append(Entry(found.name.replace("_", "-"), group, module, _OWN, None, summary, flags))
            continue
        literals = _literals(tree.body)
        ids, attribute = literals.get("IDS"), literals.get("ENTRY")
        if not isinstance(ids, tuple | dict) or not isinstance(attribute, str):
            warnings.warn(
                f'a file in the folder of tasks must declare the literals IDS = ("namespace/Name-v0",) and ENTRY = '
                f'"ClassName", and {module} has {ids!r} and {attribute!r}. If it is not a task, begin its name with an '
                "underscore.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        arguments = ids if isinstance(ids, dict) else {name: {} for name in ids}
        entries += [
            Entry(name, group, module, _OWN, attribute, summary, kwargs=kwargs) for name, kwargs in arguments.items()
        ]
    return tuple(entries)


def _parse(found: pkgutil.ModuleInfo) -> ast.Module | None:
    """Parse a module without importing it; None, with a warning, if it has a syntax error."""
    # From the loader and not from a path, because the package may lie in a zip file.
    spec = found.module_finder.find_spec(found.name, None)
    source = spec.loader.get_source(found.name) if spec and hasattr(spec.loader, "get_source") else None  # type: ignore[union-attr]
    try:
        return ast.parse(source or "", filename=(spec and spec.origin) or found.name)
    except SyntaxError as error:
        # A warning, because an error would make the whole package impossible to import.
        text = f"the plug-in file {found.name!r} is skipped, because it is not valid Python: {error.msg}"
        where = f" ({error.filename}, line {error.lineno})"
        warnings.warn(f"{text}{where}. Repair or remove it.", RuntimeWarning, stacklevel=2)
        return None


def _literals(body: list[ast.stmt]) -> dict[str, Any]:
    """Name -> value of the assignments of literals in the body of a module or class."""
    values: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            with contextlib.suppress(ValueError, TypeError):
                if isinstance(target, ast.Name):
                    values[target.id] = ast.literal_eval(node.value)
    return values


@lru_cache(maxsize=32)
def _installed(group: str, path: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The entry points of other distributions. ``path``, the folders with their times of change, is the cache's key."""
    return tuple(entry_points(group=group))


def _changed(path: str) -> int:
    """The time of change of a file or folder in ns; 0 if it does not exist."""
    return os.stat(path or ".").st_mtime_ns if os.path.exists(path or ".") else 0


def _entry_points(group: str) -> list[Entry]:
    entries = []
    for point in _installed(f"selfreg_gym.{group}", tuple((folder, _changed(folder)) for folder in sys.path)):
        origin = point.dist.name if point.dist is not None else "unknown"
        if not _NAME.fullmatch(point.name):
            warnings.warn(
                f"the {SINGULAR[group]} {shown(point.name)} of the distribution {origin!r} is skipped: its name must "
                "consist of letters, digits and the characters . _ - / :. Rename its entry point.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        if group == "envs" and (not ENV_ID_RE.fullmatch(point.name) or not point.attr):
            warnings.warn(
                f"the task {shown(point.name)} of the distribution {origin!r} is skipped: the name of its entry point "
                "must be an id like 'namespace/Name-v0', and its value 'module:Class', received "
                f"{shown(point.value)}.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        entries.append(Entry(point.name, group, point.module, origin, point.attr or None))
    return entries
