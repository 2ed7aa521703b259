"""``manifest.json``: config, seeds, versions, and the content hashes of all artifacts of a run.

:meth:`Manifest.open` compares the config with that of the run in a directory, and :meth:`Manifest.is_current` compares
a stage's settings, inputs and outputs with those recorded when it finished. Hashes are compared, never dates, so a
directory can be copied.
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
from selfreg_gym.pipeline.config import FORMER_SECTIONS, RunConfig, differences, from_dict, to_dict
from selfreg_gym.pipeline.locking import LOCK, locked
from selfreg_gym.utils.files import write_text
from selfreg_gym.utils.json_text import dumps

__all__ = ["Manifest", "fingerprint", "provenance"]

FORMAT = 1
NAME = "manifest.json"
UNFINISHED = f".{NAME}.*.new"
"""Pattern of the temporary files of manifests, which a killed process may leave behind."""

LARGE = 1 << 24
"""Files of at least this many bytes are hashed once per process, until their size or modification time changes."""

LIBRARIES = (
    "selfreg-gym", "gymnasium", "numpy", "scipy", "numba", "torch", "transformers", "peft", "stable-baselines3",
)  # fmt: skip


class Manifest:
    """The manifest of a run directory. Every change is written immediately and atomically."""

    def __init__(self, directory: Path, data: dict[str, Any]) -> None:
        self.directory = directory
        self.data = data
        self._inputs: dict[str, dict[str, str | None]] = {}  # unfinished stage -> hashes of its inputs
        self._hashes: dict[tuple[str, int, int, int], str] = {}

    @classmethod
    def load(cls, directory: str | Path) -> Manifest:
        """Read the manifest of a run directory.

        Raises:
            RunDirectoryError: the manifest is missing, damaged, or has another format version.
        """
        directory = Path(directory)
        path = directory / NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data["format"]
        except (FileNotFoundError, NotADirectoryError):
            raise RunDirectoryError(
                f"a run directory must have a {NAME}, received {str(directory)!r}, which has none. Begin a run with "
                "`selfreg run --preset tiny --out DIRECTORY`."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunDirectoryError(
                f"{path} cannot be read: {_reason(error)}. Restore it from a copy, or begin in another directory "
                "with --out."
            ) from None
        if version != FORMAT:
            raise RunDirectoryError(
                f"{path} must have format {FORMAT}, received {version!r}. Use the selfreg_gym that wrote it, or "
                "begin in another directory with --out."
            )
        if not (isinstance(data.get("config"), dict) and _is_stages(data.get("stages"))):
            raise RunDirectoryError(
                f"{path} must have the tables 'config' and 'stages', and they are missing or malformed. Restore it "
                "from a copy, or begin in another directory with --out."
            )
        return cls(directory, data)

    @classmethod
    def open(cls, directory: str | Path, config: RunConfig, *, update: bool = False) -> Manifest:
        """Begin a run in ``directory``, or continue the one in it.

        Args:
            directory: created if it is missing.
            config: must equal that of the run in the directory, apart from keys that change no result.
            update: accept another config; stages that depend on the difference run again.

        Raises:
            RunDirectoryError: the directory holds a run with another config, or other files.
        """
        directory = Path(directory)
        cls._check_free(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"the run directory {str(directory)!r} cannot be created: {error.strerror}. Choose another with --out."
            ) from None
        with locked(directory):
            cls._check_free(directory)
            return cls._open(directory, config, update)

    @staticmethod
    def _check_free(directory: Path) -> None:
        """Raise if the directory holds files but no run."""
        if (directory / NAME).exists() or not (directory.exists() or directory.is_symlink()):
            return
        if not directory.is_dir() or any(
            path.name != LOCK and not path.match(UNFINISHED) for path in directory.iterdir()
        ):
            raise RunDirectoryError(
                f"a run directory must be empty or have a {NAME}, received {str(directory)!r}, which holds other "
                "files. Choose another with --out."
            )

    @classmethod
    def _open(cls, directory: Path, config: RunConfig, update: bool) -> Manifest:
        for left in directory.glob(UNFINISHED):
            left.unlink()
        if not (directory / NAME).exists():
            manifest = cls(directory, {"format": FORMAT, **provenance(), "config": {}, "stages": {}})
        else:
            manifest = cls.load(directory)
            changed = differences(manifest.config, config)
            if changed and not update:
                raise RunDirectoryError(
                    f"{str(directory)!r} holds a run with another config (its value -> the value received): "
                    + "; ".join(f"{key}: {old!r} -> {new!r}" for key, old, new in changed)
                    + ". Choose another directory with --out, or repeat the dependent stages with --update."
                )
        manifest.data["config"] = to_dict(config)
        manifest.data["seeds"] = {
            name: section["seed"] for name, section in manifest.data["config"].items() if "seed" in section
        }
        manifest.save()
        return manifest

    def refresh(self) -> None:
        """Read the file again, because another process may have written it since.

        Raises:
            RunDirectoryError: another process has changed the config.
        """
        current = Manifest.load(self.directory)
        if changed := differences(current.config, self.config):
            raise RunDirectoryError(
                f"another process has changed the config in {str(self.directory)!r}: "
                + ", ".join(key for key, *_ in changed)
                + ". Run the command again."
            )
        self.data = current.data

    @property
    def config(self) -> RunConfig:
        """The run's config."""
        try:
            return from_dict({FORMER_SECTIONS.get(name, name): part for name, part in self.data["config"].items()})
        except ConfigError as error:
            raise RunDirectoryError(
                f"the config in {self.directory / NAME} is not valid in this version of selfreg_gym: {error}"
            ) from None

    def is_current(self, stage: str, *, settings: Any, inputs: Iterable[str], outputs: Iterable[str]) -> bool:
        """Return whether ``stage`` was finished with these settings and inputs, and its outputs are intact."""
        record = self.data["stages"].get(stage)
        if record is None or record["settings"] != _digest(settings):
            return False
        found = {name: self._hash(name) for name in (*inputs, *outputs)}
        return record["artifacts"] == found and None not in found.values()

    def begin(self, stage: str, *, settings: Any, inputs: Iterable[str]) -> bool:
        """Record that ``stage`` is unfinished, with the hashes of its settings and inputs.

        Returns:
            Whether the previous attempt had the same settings and inputs, so that it can be continued.
        """
        self._inputs[stage] = {name: self._hash(name) for name in inputs}
        made_from = _digest([settings, self._inputs[stage]])
        unfinished = self.data.setdefault("unfinished", {})
        last = self.data["stages"].pop(stage, {}).get("made_from", unfinished.get(stage))
        unfinished[stage] = made_from
        self.save()
        return last == made_from

    def renew(self, stage: str, former: Any, settings: Any, *, inputs: Iterable[str]) -> None:
        """Replace the hash of a stage's settings by that of ``settings``, if it is that of ``former``.

        Args:
            stage: its name; it is finished or unfinished.
            former: the settings as an earlier version recorded them.
            settings: the same settings as this version records them.
            inputs: the artifacts that the stage reads.
        """
        old, new = _digest(former), _digest(settings)
        if old == new:
            return
        record, unfinished = self.data["stages"].get(stage), self.data.get("unfinished", {})
        if record is not None and record["settings"] == old:
            read = {name: record["artifacts"].get(name) for name in inputs}
            record |= {"settings": new, "made_from": _digest([settings, read])}
            self.save()
        elif stage in unfinished:
            read = {name: self._hash(name) for name in inputs}
            if unfinished[stage] == _digest([former, read]):
                unfinished[stage] = _digest([settings, read])
                self.save()

    def finish(
        self, stage: str, *, settings: Any, inputs: Iterable[str], outputs: Iterable[str], seconds: float, **more: Any
    ) -> None:
        """Record that ``stage`` is finished, with ``more`` in the same record.

        The hashes of the inputs are those of :meth:`begin`, so that a change while the stage runs is detected later.
        """
        read = self._inputs.pop(stage, {})
        self.data["stages"][stage] = {
            "finished": now(),
            "seconds": round(seconds, 2),
            "settings": _digest(settings),
            "made_from": self.data.get("unfinished", {}).pop(stage, None),
            "artifacts": {
                **{name: read[name] if name in read else self._hash(name) for name in inputs},
                **{name: self._hash(name) for name in outputs},
            },
            **more,
        }
        self.save()

    def note(self, **values: Any) -> None:
        """Record values at the top level (``env_spec``, ``models``)."""
        self.data.update(values)
        self.save()

    def save(self) -> None:
        """Write the file."""
        write_text(self.directory / NAME, dumps(self.data, indent=2, default=str) + "\n")

    def changed(self, stage: str) -> list[str]:
        """Return the inputs and outputs of a finished stage whose content differs from the manifest."""
        recorded = self.data["stages"][stage]["artifacts"]
        return [name for name, sha in recorded.items() if self._hash(name) != sha]

    def _hash(self, name: str) -> str | None:
        path = self.directory / name
        if not path.exists():
            return None
        found = path.stat()
        if path.is_dir() or found.st_size < LARGE:
            return fingerprint(path)
        key = (name, found.st_ino, found.st_size, found.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = fingerprint(path)
        return self._hashes[key]


def _is_stages(stages: Any) -> bool:
    """Whether these are records of stages, each with its settings and the hashes of its files."""
    return isinstance(stages, dict) and all(
        isinstance(one, dict) and isinstance(one.get("settings"), str) and isinstance(one.get("artifacts"), dict)
        for one in stages.values()
    )


def _reason(error: Exception) -> str:
    """The reason why a file could not be read."""
    if isinstance(error, OSError):
        return str(error.strerror)
    return f"it is not a manifest in JSON ({type(error).__name__}: {error})"


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
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Return versions, git commit, Python and platform; nothing that names a person or a path."""
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
    """The commit of the checkout, ``-dirty`` if it has changes; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
