"""``Engine``: a running game of ALFWorld in the PDDL environment of TextWorld."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["PACKAGE", "Engine", "entity_names"]

PACKAGE = {"user": "the task selfreg/ALFWorld-v0", "requirement": "selfreg-gym[alfworld]"}
"""Arguments of ``optional_package``."""


class Engine:
    """A running game.

    Args:
        path: a ``game.tw-pddl`` file.

    Attributes:
        path: the file.
        actions: the admissible commands, sorted.
        won: whether the goal is reached.

    Raises:
        MissingPackageError: TextWorld or its PDDL planner is not installed.
    """

    def __init__(self, path: Path) -> None:
        optional_package("fast_downward", **PACKAGE)
        textworld = optional_package("textworld", **PACKAGE)
        pddl = optional_package("textworld.envs.pddl", **PACKAGE)
        self.path = path
        self._env = pddl.PddlEnv(textworld.EnvInfos(admissible_commands=True, won=True))
        self._env.load(str(path))
        entities = self._env._entity_infos
        for identifier, name in entity_names(entities).items():
            entities[identifier].name = name
        self._start: list[Any] | None = None  # the facts at the beginning
        self.actions: tuple[str, ...] = ()
        self.won = False

    def begin(self) -> str:
        """Begin the game, or begin it again, and return its first text."""
        if self._start is None:
            self._env.reset()
            self._start = list(self._env._pddl_state.facts)
        return self._read(self._again())

    def _again(self) -> Any:
        """``PddlEnv.reset`` without the translation of the PDDL problem, which takes most of the time."""
        env, world = self._env, self._env._pddl_state
        world.downward_lib.load_sas(world.sas.encode("utf-8"))
        world.downward_lib.load_sas_replan(world.sas_replan.encode("utf-8"))
        for fact in list(world.facts):
            world.remove_fact(fact)
        world.add_facts(self._start)
        core = optional_package("textworld.core", **PACKAGE)
        env.prev_state, env.state, env._last_action, env._moves = None, core.GameState(), None, 0
        context = {"state": world, "facts": list(world.facts), "variables": {}, "mapping": {},
                   "entity_infos": env._entity_infos}  # fmt: skip
        env.state.feedback = env.state.raw = env._logic.grammar.derive("#intro#", context)
        env._gather_infos()
        return env.state

    def send(self, command: str) -> str:
        """Carry out a command and return the reply."""
        return self._read(self._env.step(command)[0])

    def facts(self) -> tuple[str, ...]:
        """The facts of the game's world, sorted."""
        return tuple(sorted(str(fact) for fact in self._env.state["_facts"] if not fact.name.startswith("new-axiom")))

    def held(self) -> str:
        """The name of the object in the player's hand; empty if there is none."""
        for fact in self._env.state["_facts"]:
            if fact.name == "holds":
                return self._env._entity_infos[fact.arguments[1].name].name
        return ""

    def plan(self) -> list[str]:
        """The commands of the planner from the current state. This can take long."""
        return self._env._pddl_state.replan(self._env._entity_infos)

    def _read(self, state: Any) -> str:
        self.actions, self.won = tuple(state["admissible_commands"]), bool(state["won"])
        return state.feedback.replace("-= Welcome to TextWorld, ALFRED! =-", "").strip()


def entity_names(identifiers: Iterable[str]) -> dict[str, str]:
    """The names that ALFWorld gives to the entities of a game: ``Mug_bar__minus_00_dot_30`` is ``mug 1``.

    Entities of a kind are numbered from the last one in alphabetical order, as in ALFWorld.
    """
    kinds: dict[str, str] = {}
    for identifier in sorted(identifiers):
        kind, bar, _ = identifier.partition("_bar_")
        kinds[identifier] = kind + ("basin" if "basin" in identifier else "") if bar else ""
    left = Counter(kind for kind in kinds.values() if kind)
    names = {}
    for identifier, kind in kinds.items():
        if kind:
            names[identifier] = f"{kind} {left[kind]}"
            left[kind] -= 1
        else:
            names[identifier] = f"{_plain(identifier)} "
    return names


def _plain(identifier: str) -> str:
    for word, sign in (("_minus_", "-"), ("_plus_", "+"), ("_dot_", "."), ("_comma_", ",")):
        identifier = identifier.replace(word, sign)
    return identifier
