"""Game files of TextWorld's challenges: each is built once on this machine, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selfreg_gym.errors import TaskResetError
from selfreg_gym.utils.optional_packages import optional_package
from selfreg_gym.utils.user_cache import cache_directory

__all__ = ["PACKAGE", "game_file"]

PACKAGE = {"user": "the task selfreg/TextWorld", "requirement": "selfreg-gym[textworld]"}
"""Arguments of ``optional_package``."""

_ATTEMPTS = 20  # seeds that are tried for one game; some give no treasure hunt
_FILES = ("game.json", "game.z8")


def game_file(challenge: str, settings: Mapping[str, Any], seed: int, *, goal_only: bool) -> Path:
    """Return the path of a game's ``game.z8``, with ``game.json`` beside it; build them if they are not in the cache.

    Files in the cache are always complete: a game is built in a temporary folder, which is then renamed. If several
    processes build the same game at the same time, all use the files of the first one.

    Args:
        challenge: the name of TextWorld's challenge, for instance ``"tw-cooking"``.
        settings: the settings of the challenge.
        seed: seed of the game; equal arguments give equal games.
        goal_only: whether the objective names only the last action of the quest, instead of all.

    Raises:
        MissingPackageError: TextWorld is not installed.
        TaskResetError: the game cannot be built.
    """
    specification = json.dumps([version("textworld"), challenge, settings, seed, goal_only], sort_keys=True)
    name = hashlib.blake2b(specification.encode(), digest_size=12).hexdigest()
    folder = _root() / name
    if not all((folder / file).is_file() for file in _FILES):
        _build(folder, challenge, settings, seed, goal_only)
    return folder / "game.z8"


@cache
def _root() -> Path:
    """The folder of all games: in the user's cache, or else temporary and removed at the end of the process."""
    found = cache_directory("textworld")
    if found is not None:
        return found
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="selfreg_textworld_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _build(folder: Path, challenge: str, settings: Mapping[str, Any], seed: int, goal_only: bool) -> None:
    generator = optional_package("textworld.generator", **PACKAGE)
    compiler = optional_package("textworld.generator.inform7", **PACKAGE)
    make = optional_package("textworld.challenges", **PACKAGE).CHALLENGES[challenge][1]
    building = Path(tempfile.mkdtemp(prefix=".building_", dir=folder.parent))
    try:
        for attempt in range(_ATTEMPTS):
            options = generator.GameOptions()
            options.seeds = seed + attempt
            options.path = str(building / "game.z8")
            options.force_recompile = True
            options.grammar.only_last_action = goal_only
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the interpreter warns for each game that it does not know it
                    game = make(dict(settings), options)
            except generator.QuestGenerationError:
                continue
            break
        else:
            raise TaskResetError(
                f"TextWorld makes no game of {challenge} with {dict(settings)} and seeds {seed} to "
                f"{seed + _ATTEMPTS - 1}: choose an easier setting."
            )
        try:
            generator.compile_game(game, options)
        except (compiler.CouldNotCompileGameError, OSError) as error:
            raise TaskResetError(
                f"TextWorld's compiler cannot build {challenge} with {dict(settings)} and seed {seed}: "
                f"{str(error)[:400]}"
            ) from error
        (building / "game.ni").unlink(missing_ok=True)
        with suppress(OSError):  # another process has built it
            os.rename(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
