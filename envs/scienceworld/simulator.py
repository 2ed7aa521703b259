"""``Simulator``: one ScienceWorld simulator in the Java virtual machine of this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.envs._java import Jvm, JvmError, shared_jvm
from selfreg_gym.utils.optional_packages import package_file

__all__ = ["Seen", "Simulator", "gold_path", "jar"]

# Hash codes are addresses by default, and the simulator lists sets (the contents of a room) in their order. A simulator
# needs 12 MB, so this limit of the heap is enough for about 150 episodes at once; memory is taken when it is needed.
_OPTIONS = ("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2", "-Xmx2g")
_SPREAD = 0x5851F42D4C957F2D  # seeds of successive steps must be far apart: java.util.Random is linear
_CLASS = "scienceworld.runtime.pythonapi.PythonInterface"


def jar() -> Path:
    """The simulator's jar file.

    Raises:
        MissingPackageError: ScienceWorld is not installed.
    """
    return package_file(
        "scienceworld",
        "scienceworld.jar",
        user="the task selfreg/ScienceWorld-v0",
        requirement="selfreg-gym[scienceworld]",
    )


class Seen(NamedTuple):
    """What the simulator says after an action.

    Attributes:
        reply: its answer.
        look, inventory: descriptions of the place and of the inventory.
        goals: the state of the sub-goals of the task, one line each; the player does not see them.
        score: in [-1, 1]; negative if the task has failed.
        completed: whether the task has ended.
    """

    reply: str
    look: str
    inventory: str
    goals: str
    score: float
    completed: bool


class Simulator:
    """A simulator with one task loaded.

    A virtual machine that has ended is started again at the next :meth:`begin`.

    The animals of ScienceWorld move at random, by Scala's global generator, which has no seed and is shared by all
    simulators of the machine. Here it is seeded before each step with the number of the step. So the same actions in
    the same task always have the same result.

    Args:
        time_limit: seconds after which a call without an answer ends the machine.
    """

    def __init__(self, time_limit: float) -> None:
        self.time_limit = time_limit
        self._loaded: tuple[str, int, str] | None = None
        self._jvm: Any = None
        self._server: Any = None
        self._random: Any = None
        self._steps = 0

    def begin(self, task: str, variation: int, simplification: str) -> Seen:
        """Begin a task, or begin it again.

        Raises:
            JvmError: the virtual machine did not answer.
        """
        if self._jvm is None or not self._jvm.alive:
            self._jvm = _machine(self.time_limit)
            self._server, self._loaded = self._jvm.new(_CLASS), None
            scala = self._jvm.gateway.jvm.scala.util
            self._random = self._jvm.call(lambda: getattr(getattr(scala, "Random$"), "MODULE$"))
        self._steps = 0
        self._seed()
        if self._loaded != (task, variation, simplification):
            self._call("load", task, variation, simplification, False)
            self._loaded = (task, variation, simplification)
        self._call("reset")
        return self.send("look around")

    def send(self, action: str) -> Seen:
        """Carry out an action.

        Raises:
            JvmError: the virtual machine did not answer.
        """
        reply = self._step(action)
        return Seen(
            reply=reply.strip(),
            look=self._call("freeActionLook").strip(),
            inventory=self._call("freeActionInventory").strip(),
            goals=self._call("getGoalProgressStr").strip(),
            score=float(self._call("getScore")),
            completed=bool(self._call("getCompleted")),
        )

    def replay(self, task: str, variation: int, simplification: str, actions: Sequence[str]) -> Seen:
        """Begin a task and carry out actions; returns what the simulator says after the last of them.

        Descriptions are read only at the end. They take five of the six calls of a step, and do not change the world.

        Raises:
            JvmError: the virtual machine did not answer.
        """
        seen = self.begin(task, variation, simplification)
        for action in actions[:-1]:
            self._step(action)
        return self.send(actions[-1]) if actions else seen

    def description(self) -> str:
        """The description of the task."""
        return self._call("freeActionTaskDesc").strip()

    def actions(self) -> tuple[str, ...]:
        """The valid combinations of actions and objects, sorted."""
        found = json.loads(self._call("getValidActionObjectCombinationsJSON"))
        return tuple(sorted({one["action"] for one in found["validActions"]}))

    def _step(self, action: str) -> str:
        self._steps += 1
        self._seed()
        return str(self._call("step", action))

    def _seed(self) -> None:
        """Seed the global generator for the current step."""
        if self._jvm is not None:
            self._jvm.call(self._random.setSeed, (self._steps + 1) * _SPREAD % 2**63)

    def _call(self, method: str, *arguments: Any) -> Any:
        if self._jvm is None:
            raise JvmError("the simulator has no task: call begin first.")
        return self._jvm.call(getattr(self._server, method), *arguments)


@lru_cache(maxsize=4096)
def gold_path(task: str, variation: int, simplification: str, time_limit: float) -> tuple[str, ...]:
    """The solution of ScienceWorld for a task from its start, computed by another simulator.

    Raises:
        JvmError: the virtual machine did not answer.
    """
    jvm = _machine(time_limit)
    server = jvm.new(_CLASS)
    jvm.call(server.load, task, variation, simplification, True)
    return tuple(jvm.call(lambda: list(server.getGoldActionSequence())))


def _machine(time_limit: float) -> Jvm:
    """The virtual machine of this process."""
    return shared_jvm(jar(), extra="scienceworld", timeout=time_limit, options=_OPTIONS)
