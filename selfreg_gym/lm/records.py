"""The JSON records beside saved weights, and the file mode of the weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfreg_gym.errors import CheckpointError

__all__ = ["is_number", "read_record", "usual_mode"]


def read_record(
    file: Path, *, what: str, keys: Sequence[str] = (), remedy: str = "copy the directory again, or train again"
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        file: the file.
        what: what the file holds, for the message ("a helper's record").
        keys: what the object must have.
        remedy: what to do if it cannot be read.

    Raises:
        CheckpointError: the file is missing, cut off, nested too deep, or holds something other than an object with
            these keys.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise CheckpointError(
            f"{str(file)!r} must hold {what} and cannot be read (nested too deep): {remedy}."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(file)!r} must hold {what} and cannot be read ({error}): {remedy}.") from error
    if not isinstance(data, dict):
        received = type(data).__name__
        raise CheckpointError(f"{str(file)!r} must hold {what}, an object, and cannot be read ({received}): {remedy}.")
    if missing := [key for key in keys if key not in data]:
        raise CheckpointError(
            f"{str(file)!r} must hold {what} and cannot be read ({missing[0]!r} is missing): {remedy}."
        )
    return data


def is_number(value: Any) -> bool:
    """Whether a value of a record is a finite number (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def usual_mode(folder: Path) -> None:
    """Give the weights in ``folder`` the mode that other new files get: safetensors writes files for the owner only."""
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        probe = Path(beside) / "mode"
        probe.touch()
        mode = probe.stat().st_mode & 0o777
    for file in folder.glob("*.safetensors"):
        file.chmod(mode)
