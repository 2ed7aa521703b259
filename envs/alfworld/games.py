"""The game files in the user's data folder of ALFWorld, by split and type of task."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from selfreg_gym.errors import InvalidArgumentError, MissingPackageError, shown

__all__ = ["SPLITS", "TASK_TYPES", "data_folder", "game_files"]

TASK_TYPES = ("pick_and_place_simple", "look_at_obj_in_light", "pick_clean_then_place_in_recep",
              "pick_heat_then_place_in_recep", "pick_cool_then_place_in_recep", "pick_two_obj_and_place")  # fmt: skip
SPLITS = ("train", "train-fit", "train-val", "valid_seen", "valid_unseen")
"""The published splits, and two parts of ``train``: every 20th game, and the others."""

_PART = 20
_FILE = "game.tw-pddl"
_SOLVABLE = re.compile(rb'"solvable":\s*true')
_HOW = (
    "pip install 'selfreg-gym[alfworld]', then download the games by `alfworld-download` (into ~/.cache/alfworld, or "
    "into the folder that the variable ALFWORLD_DATA names), or pass data=FOLDER."
)


def data_folder(data: str | Path | None) -> Path:
    """The folder with the subfolders ``train``, ``valid_seen`` and ``valid_unseen``.

    Args:
        data: this folder, or a folder that contains it; None: ``$ALFWORLD_DATA``, else ``~/.cache/alfworld``.

    Raises:
        MissingPackageError: there is none; the message says how to download the games.
    """
    root = Path(data or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    candidates = [root, *sorted(root.glob("json_*"), reverse=True)] if root.is_dir() else []
    for folder in candidates:
        if any((folder / split).is_dir() for split in ("train", "valid_seen", "valid_unseen")):
            return folder
    where = "data" if data else "ALFWORLD_DATA" if os.environ.get("ALFWORLD_DATA") else "the default folder"
    raise MissingPackageError(
        "the task selfreg/ALFWorld-v0 needs ALFWorld's games, a folder with the subfolders train, valid_seen and "
        f"valid_unseen (also below json_2.1.1), and {where} is {root}, which has none: {_HOW}"
    )


@lru_cache(maxsize=64)
def game_files(folder: Path, split: str, task_types: Sequence[str]) -> tuple[Path, ...]:
    """The game files of a split in the order of their paths, as ALFWorld selects them.

    Left out are games that are not marked as solvable, and games with movable receptacles or slices.

    Args:
        folder: see :func:`data_folder`.
        split: one of :data:`SPLITS`.
        task_types: some of :data:`TASK_TYPES`, as a tuple.

    Raises:
        MissingPackageError: the data folder lacks the split.
        InvalidArgumentError: no game of these types.
    """
    published = "train" if split.startswith("train") else split
    place = folder / published
    if not place.is_dir():
        raise MissingPackageError(f"ALFWorld's data folder {folder} has no folder {published}: {_HOW}")
    found = []
    for path in sorted(place.rglob(_FILE)):
        inside = path.relative_to(place).as_posix()
        if "movable" in inside or "Sliced" in inside or inside.split("-")[0] not in task_types:
            continue
        if _SOLVABLE.search(path.read_bytes()):
            found.append(path)
    if split in ("train-fit", "train-val"):
        found = [path for i, path in enumerate(found) if (i % _PART == 0) == (split == "train-val")]
    if not found:
        names = sorted(one.name for one in place.iterdir())[:5]
        raise InvalidArgumentError(
            f"the split {split} in {folder} has no solvable game of the types {', '.join(task_types)}; its "
            f"folders must be named like {TASK_TYPES[0]}-Mug-None-Desk-308, received {shown(names)}."
        )
    return tuple(found)
