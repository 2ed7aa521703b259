"""A plug-in as another distribution ships it: a task without features, its actor, and two interventions at two prices.

``ENTRY_POINTS`` are the entry points of that distribution; :func:`install` writes them into a folder which, on the
Python path, makes Python see the distribution as installed. :func:`exact_model` is the intervention problem itself, so
helpers can be compared with its exact optimum.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym import FreeText, Intervention, TransitionModel
from selfreg_gym.types import Decision

__all__ = ["ENTRY_POINTS", "Guide", "Hint", "Relay", "SignReader", "exact_model", "install", "text_of"]

IDS = ("relay/Relay-v0",)
LAMPS = {"azure": 0.98, "ochre": 0.85, "sepia": 0.6, "umber": 0.35}  # how often the sign is right under each lamp
LEVERS = ("alder", "birch", "cedar", "dogwood")
HINT = 0.85  # how often a hint is right
HINT_COST, GUIDE_COST = 0.3, 1.0
STATIONS, LIVES = 8, 2

ENTRY_POINTS = {
    "selfreg_gym.envs": {"relay/Relay-v0": "relay:Relay"},
    "selfreg_gym.actors": {"sign-reader": "relay:SignReader"},
    "selfreg_gym.interventions": {"hint": "relay:Hint", "guide": "relay:Guide"},
}


def text_of(station: int, lives: int, lamp: str, sign: str) -> str:
    """The observation at a station."""
    return (
        f"Station {station + 1} of {STATIONS}. Strikes allowed: {lives - 1}. The {lamp} lamp glows.\n"
        f"A sign points at the {sign} lever. Pull one: {', '.join(LEVERS)}."
    )


class Relay(gym.Env[str, str]):
    """Pull the right lever at each of eight stations; the second wrong one ends the episode.

    A sign names a lever. How often it is right depends on the colour of the lamp. There is neither a state key nor a
    feature key: the observation is the state.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so
    num_episodes = 1000

    def __init__(self) -> None:
        self.observation_space, self.action_space = FreeText(), FreeText(100)
        self.index = self.station = 0
        self.lives = LIVES
        self.lamp, self.sign, self.lever = "", "", ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin at the first station."""
        super().reset(seed=seed)
        index = (options or {}).get("episode")
        self.index = int(self.np_random.integers(self.num_episodes)) if index is None else int(index)
        self.station, self.lives = 0, LIVES
        self._draw()
        return text_of(self.station, self.lives, self.lamp, self.sign), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Pull a lever."""
        self.lives -= action != self.lever
        self.station += 1
        over = self.lives == 0 or self.station == STATIONS
        success = over and self.lives > 0
        info = {**self._info(), "invalid_action": action not in LEVERS}
        if over:
            info |= {"admissible_actions": (), "success": success, "is_success": success}
            return "The shift is over.", float(success), True, False, info
        self._draw()
        return text_of(self.station, self.lives, self.lamp, self.sign), 0.0, False, False, info

    def _draw(self) -> None:
        self.lamp = str(self.np_random.choice(list(LAMPS)))
        self.lever = str(self.np_random.choice(LEVERS))
        others = [lever for lever in LEVERS if lever != self.lever]
        right = self.np_random.random() < LAMPS[self.lamp]
        self.sign = self.lever if right else str(self.np_random.choice(others))

    def _info(self) -> dict[str, Any]:
        return {
            "admissible_actions": LEVERS,
            "task_id": f"relay-{self.index}",
            "kind": "relay",
            "invalid_action": False,
        }


class SignReader:
    """Pulls the lever that the sign points at."""

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Answer every decision."""
        return [decision.observation.split("points at the ")[1].split()[0] for decision in decisions]


class _Told:
    """Names the right lever with this probability, otherwise any other one."""

    def __init__(self, right: float) -> None:
        self.right = right

    def act(self, decisions: Sequence[Decision]) -> list[str]:
        """Answer every decision."""
        answers = []
        for decision in decisions:
            lever = decision.task.unwrapped.lever
            others = [other for other in LEVERS if other != lever]
            answers.append(lever if decision.rng.random() < self.right else str(decision.rng.choice(others)))
        return answers


class Hint(Intervention):
    """A cheap hint, often right."""

    def __init__(self, cost: float = HINT_COST) -> None:
        super().__init__(_Told(HINT), name="hint", cost=cost)


class Guide(Intervention):
    """A dear guide, always right."""

    def __init__(self, cost: float = GUIDE_COST) -> None:
        super().__init__(_Told(1.0), name="guide", cost=cost)


def exact_model(interventions: Sequence[str] = ("hint", "guide")) -> tuple[TransitionModel, list[list[str]]]:
    """The intervention problem, and for each state the observations that show it (one for each sign)."""
    from scipy import sparse

    states = [(s, v, lamp) for s in range(STATIONS) for v in range(1, LIVES + 1) for lamp in LAMPS if v + s >= LIVES]
    place = {state: i for i, state in enumerate(states)}
    told = {"hint": (HINT, HINT_COST), "guide": (1.0, GUIDE_COST)}
    moves, success = [], np.zeros((1 + len(interventions), len(states)))
    for a in range(1 + len(interventions)):
        matrix = sparse.lil_array((len(states), len(states)))
        for (station, lives, lamp), i in place.items():
            right = LAMPS[lamp] if a == 0 else told[interventions[a - 1]][0]
            for chance, left in ((right, lives), (1 - right, lives - 1)):
                if not left or not chance:
                    continue
                if station + 1 == STATIONS:
                    success[a, i] += chance
                    continue
                for after in LAMPS:
                    matrix[i, place[station + 1, left, after]] += chance / len(LAMPS)
        moves.append(matrix.tocsr())
    start = np.array([(s == 0 and v == LIVES) / len(LAMPS) for s, v, _ in states])
    cost = np.array([0.0, *(told[name][1] for name in interventions)])
    texts = [[text_of(s, v, lamp, sign) for sign in LEVERS] for s, v, lamp in states]
    return TransitionModel(moves, success, start, cost), texts


def install(folder: Path, points: dict[str, dict[str, str]] = ENTRY_POINTS, *, name: str = "relay") -> dict[str, str]:
    """Write the distribution's metadata into ``folder``; return the environment of a process that has it installed."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n", encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    path = [str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
