"""One game of TextWorldExpress in the Java virtual machine of this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from selfreg_gym.envs._java import Jvm, JvmError, shared_jvm
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, shown
from selfreg_gym.utils.optional_packages import package_file

__all__ = ["Reply", "Simulator", "Start"]

_EXTRA = "twx"
_PACKAGE = "textworld_express"


class Start(NamedTuple):
    """A fresh game: the seed of its generator, and the fold ("train", "dev" or "test")."""

    seed: int
    fold: str


class Reply(NamedTuple):
    """What the game shows after a step: the answer to the action, the room, the inventory, the actions, the score."""

    answer: str
    look: str
    inventory: str
    actions: tuple[str, ...]
    score: float
    success: bool
    failure: bool


class Simulator:
    """A game in the Java virtual machine of this process, which is started at the first use.

    Several simulators of a process share the machine and do not affect each other. If the machine has died, or if this
    process is a forked child, the next call starts another machine and plays the actions of the episode again.

    Args:
        name: the game, by TextWorldExpress's name.
        parameters: its parameters, ``"name=value, ..."``.
        time_limit: seconds after which a step without an answer ends the machine.

    Raises:
        MissingPackageError: textworld-express is not installed.
    """

    def __init__(self, name: str, parameters: str, *, time_limit: float) -> None:
        self.name, self.parameters, self.time_limit = name, parameters, time_limit
        self.jar = str(
            package_file(
                _PACKAGE, "textworld-express.jar", user="TextWorldExpress", requirement=f"selfreg-gym[{_EXTRA}]"
            )
        )
        self._jvm: Jvm | None = None
        self._game: Any = None
        self._at: tuple[Start, list[str]] | None = None  # the position of the Java game; None: unknown

    def begin(self, start: Start) -> Reply:
        """A fresh game.

        Raises:
            InvalidArgumentError: the game cannot be made with these parameters.
            JvmError: the Java virtual machine failed twice.
        """
        try:
            return self._begin(start)
        except JvmError as error:
            if self._jvm is not None and self._jvm.alive:  # an exception of the game and not of the machine
                raise InvalidArgumentError(
                    f"the game {self.name!r} cannot be made with these parameters ({self.parameters}) for seed "
                    f"{start.seed} of fold {start.fold!r}: {error}"
                ) from error
            return self._begin(start)

    def go_to(self, start: Start, actions: Sequence[str], expected: Reply) -> None:
        """Bring the Java game to the position after ``actions``. If it is already there, nothing is played.

        Raises:
            TaskContractError: the last reply is not ``expected``.
            JvmError: the Java virtual machine failed.
        """
        alive = self._jvm is not None and self._jvm.alive
        if alive and self._at is not None and self._at[0] == start and self._at[1] == list(actions):
            return
        done = len(self._at[1]) if alive and self._at is not None and self._at[0] == start else -1
        if done < 0 or done > len(actions) or self._at[1] != list(actions[:done]):  # type: ignore[index]
            reply = self._begin(start)
            done = 0
        for action in actions[done:]:
            reply = self._step(action)
        if reply != expected:
            self._at = None
            raise TaskContractError(
                f"{self.name} must give the same answers to the same actions: replaying {len(actions)} actions from "
                f"seed {start.seed} of fold {start.fold!r} led to {shown(reply.answer)} in {shown(reply.look)} instead "
                f"of {shown(expected.answer)} in {shown(expected.look)}. Use the version of textworld-express with "
                "which the episode began."
            )

    def step(self, action: str) -> Reply:
        """Play an action at the current position."""
        return self._step(action)

    def gold_path(self, start: Start) -> tuple[str, ...]:
        """The solution of TextWorldExpress for a fresh game. Afterwards the position of this game is unknown."""
        self._begin(start, gold=True)
        assert self._jvm is not None
        path = tuple(self._jvm.call(lambda: list(self._game.getGoldActionSequence())))
        self._at = None
        return path

    def task_description(self) -> str:
        """The description of the task of the current game."""
        assert self._jvm is not None
        return str(self._jvm.call(self._game.getTaskDescription)).strip()

    def _begin(self, start: Start, *, gold: bool = False) -> Reply:
        jvm = self._ready()
        self._at = None
        reply = _read(jvm.call(self._game.generateNewGameJSON, start.seed, start.fold, gold))
        self._at = (start, [])
        return reply

    def _step(self, action: str) -> Reply:
        assert self._jvm is not None
        at, self._at = self._at, None  # unknown if the call raises
        reply = _read(self._jvm.call(self._game.stepJSON, action))
        if at is not None:
            at[1].append(action)
        self._at = at
        return reply

    def _ready(self) -> Jvm:
        """The machine, with this game loaded."""
        if self._jvm is None or not self._jvm.alive:
            self._at = None
            self._jvm = shared_jvm(self.jar, extra=_EXTRA, timeout=self.time_limit)
            self._game = self._jvm.new("textworldexpress.runtime.PythonInterface")
            if said := self._jvm.call(self._game.load, self.name, self.parameters):
                self._jvm = None
                raise InvalidArgumentError(
                    f"TextWorldExpress must know the parameters of {self.name!r}, received {self.parameters!r}: "
                    f"{shown(str(said))}."
                )
        return self._jvm

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_jvm": None, "_game": None, "_at": None}


def _read(text: str) -> Reply:
    read = json.loads(text)
    score = float(read["score"])
    return Reply(
        read["observation"].strip(),
        read["look"].strip(),
        read["inventory"].strip(),
        tuple(sorted(set(read["validActions"]))),  # the order of TextWorldExpress is random
        score,
        bool(read["tasksuccess"]) or score >= 1.0,
        bool(read["taskfailure"]),
    )
