"""Units: the files of measured cells, one per cell and seed, so that an experiment continues after an interruption.

The name of a unit is a hash of the experiment, its source file, the cell and the config of the trial. Changes of other
files of the package do not invalidate it. Each unit records the commit at which it was measured, and the manifest of an
experiment lists these commits. ``redo`` measures all units again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfreg_gym.errors import CheckpointError
from selfreg_gym.pipeline.locking import LOCK
from selfreg_gym.pipeline.manifest import fingerprint, now, provenance
from selfreg_gym.utils.files import remove, write_text
from selfreg_gym.utils.json_text import dumps, read_object

__all__ = ["Unit"]

MACHINE = ("versions", "python", "platform", "cpus")
"""What a unit records of the machine that measured it."""


@dataclass(frozen=True)
class Unit:
    """The file of a measured cell.

    Attributes:
        folder: the folder of units of the experiment.
        module: dotted name of the module that defines the experiment.
        cell: name of the cell.
        seed: number of the trial.
        identity: all settings of the trial that can change a result.
    """

    folder: Path
    module: str
    cell: str
    seed: int
    identity: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file."""
        spec = importlib.util.find_spec(self.module)
        source = Path(spec.origin) if spec is not None and spec.origin else None
        code = fingerprint(source) if source is not None and source.is_file() else self.module
        made_of = json.dumps([code, self.cell, self.seed, self.identity], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:24]}.json"

    @property
    def parts(self) -> Path:
        """The folder for finished parts of an unfinished measurement."""
        return self.path.with_suffix(".parts")

    def load(self) -> dict[str, Any] | None:
        """The unit, or None if it has not been measured: ``value, cpu_seconds, git, finished``.

        Newer units also have ``machine``: the versions of packages and Python, and the platform of the measurement.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.path
        if not path.exists():
            return None
        keys = ("value", "cpu_seconds", "git", "finished")
        return read_object(path, what="a measured cell", remedy="delete it", keys=keys, error=CheckpointError)

    def forget_parts(self) -> None:
        """Remove the finished parts, but not the lock of the folder."""
        for path in self.parts.iterdir():
            if path.name != LOCK:
                remove(path)

    def save(self, value: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Write the measured value atomically, remove the parts, and return the content of the unit.

        Args:
            value: plain JSON values.
            seconds: CPU seconds of the measurement.
        """
        made = provenance()
        unit = {
            "cell": self.cell,
            "seed": self.seed,
            "git": made["git"],
            "machine": {name: made[name] for name in MACHINE},
            "finished": now(),
            "cpu_seconds": round(seconds, 2),
            "value": dict(value),
        }
        write_text(self.path, dumps(unit) + "\n")
        remove(self.parts)
        return unit
