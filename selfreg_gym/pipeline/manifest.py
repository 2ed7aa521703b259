"""``manifest.json``: what a run directory holds, what it was made from, and by what.

The manifest answers two questions. *May this directory be used for that config?* (:meth:`Manifest.open`), and *is this
stage's output still what its config and its inputs say?* (:meth:`Manifest.is_current`). Both compare content hashes,
never dates, so a directory that was copied elsewhere is still whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfreg_gym.errors import ConfigError, RunDirectoryError
from selfreg_gym.pipeline.config import RunConfig, differences, from_dict, to_dict

__all__ = ["Manifest", "fingerprint", "provenance"]

FORMAT = 1
NAME = "manifest.json"
LIBRARIES = (
    "selfreg-gym", "gymnasium", "numpy", "scipy", "numba", "torch", "transformers", "peft", "stable-baselines3",
)  # fmt: skip


class Manifest:
    """The manifest of one run directory. Every change is written at once, atomically."""

    def __init__(self, directory: Path, data: dict[str, Any]) -> None:
        self.directory = directory
        self.data = data

    # -- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, directory: str | Path) -> Manifest:
        """Read the manifest of a directory that holds a run.

        Raises:
            RunDirectoryError: there is none, or it cannot be read, or another version wrote it.
        """
        directory = Path(directory)
        path = directory / NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data["format"]
        except FileNotFoundError:
            raise RunDirectoryError(
                f"a run directory has a {NAME}, received {str(directory)!r}, which has none. "
                "Begin one with `selfreg run --preset tiny --out DIRECTORY`."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"{path} cannot be read ({error}). Mend it or begin in another directory."
            ) from None
        if version != FORMAT:
            raise RunDirectoryError(
                f"{path} has format {version!r}, this version of selfreg_gym reads format {FORMAT}. "
                "Use the version that made it, or begin in another directory."
            )
        return cls(directory, data)

    @classmethod
    def open(cls, directory: str | Path, config: RunConfig, *, update: bool = False) -> Manifest:
        """Begin a run in ``directory``, or continue the one that is there.

        Args:
            directory: made if need be.
            config: of the run; must equal that of the run already there, apart from keys that only change the speed.
            update: take ``config`` in place of the one that is there; stages that depend on the difference run again.

        Raises:
            RunDirectoryError: the directory holds a run with another config, or something that is no run.
        """
        directory = Path(directory)
        if not (directory / NAME).exists():
            if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
                raise RunDirectoryError(
                    f"a run begins in an empty directory or continues in its own, received {str(directory)!r}, which "
                    f"holds something else (no {NAME}). Choose another with --out."
                )
            directory.mkdir(parents=True, exist_ok=True)
            manifest = cls(directory, {"format": FORMAT, **provenance(), "config": {}, "stages": {}})
        else:
            manifest = cls.load(directory)
            changed = differences(manifest.config, config)
            if changed and not update:
                raise RunDirectoryError(
                    f"{str(directory)!r} holds another run. What differs (there -> here): "
                    + "; ".join(f"{key}: {old!r} -> {new!r}" for key, old, new in changed)
                    + ". Choose another directory with --out, or say --update to run again only what depends on it."
                )
        manifest.data["config"] = to_dict(config)
        manifest.data["seeds"] = {
            name: section["seed"] for name, section in manifest.data["config"].items() if "seed" in section
        }
        manifest.save()
        return manifest

    @property
    def config(self) -> RunConfig:
        """The run's config."""
        try:
            return from_dict(self.data["config"])
        except ConfigError as error:
            raise RunDirectoryError(
                f"the config in {self.directory / NAME} is not one of this version: {error}"
            ) from None

    # -- stages -------------------------------------------------------------------------------------------------------

    def is_current(self, stage: str, *, settings: Any, inputs: Iterable[str], outputs: Iterable[str]) -> bool:
        """Return whether ``stage`` was finished from exactly these settings and inputs, and its outputs are intact."""
        record = self.data["stages"].get(stage)
        if record is None or record["settings"] != _digest(settings):
            return False
        found = {name: self._hash(name) for name in (*inputs, *outputs)}
        return record["artifacts"] == found and None not in found.values()

    def begin(self, stage: str, *, settings: Any, inputs: Iterable[str]) -> bool:
        """Forget that ``stage`` was finished, and note what it is now being made from.

        Returns:
            Whether the last attempt was made from the same, so that what it left can be continued.
        """
        made_from = _digest([settings, {name: self._hash(name) for name in inputs}])
        unfinished = self.data.setdefault("unfinished", {})
        last = self.data["stages"].pop(stage, {}).get("made_from", unfinished.get(stage))
        unfinished[stage] = made_from
        self.save()
        return last == made_from

    def finish(
        self, stage: str, *, settings: Any, inputs: Iterable[str], outputs: Iterable[str], seconds: float, **more: Any
    ) -> None:
        """Record that ``stage`` ended well; ``more`` is kept beside its timing."""
        self.data["stages"][stage] = {
            "finished": now(),
            "seconds": round(seconds, 2),
            "settings": _digest(settings),
            "made_from": self.data.get("unfinished", {}).pop(stage, None),
            "artifacts": {name: self._hash(name) for name in (*inputs, *outputs)},
            **more,
        }
        self.save()

    def note(self, **values: Any) -> None:
        """Keep something at the top level (``env_spec``, ``models``)."""
        self.data.update(values)
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        path = self.directory / NAME
        temporary = path.with_suffix(".json.tmp")
        temporary.write_text(json.dumps(self.data, indent=2, sort_keys=False, default=str) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    def _hash(self, name: str) -> str | None:
        path = self.directory / name
        return fingerprint(path) if path.exists() else None


def fingerprint(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, or of a folder's names and contents."""
    path = Path(path)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return _digest([(file.relative_to(path).as_posix(), fingerprint(file)) for file in inside])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(value: Any) -> str:
    """Return the SHA-256 of plain values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Return who made this: versions, git commit, Python, platform. Nothing that names a person or a path."""
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "created": now(),
        "versions": versions,
        "git": _git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "byteorder": sys.byteorder,
    }


def _git_commit() -> str | None:
    """The commit of the checkout that this package lies in, ``-dirty`` if changed; None in an installed package."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(here.parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
