"""``ScienceWorld``: the Gymnasium env of the ScienceWorld simulator."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from selfreg_gym.envs._text_game import GameState, TextGame
from selfreg_gym.envs.scienceworld.expert import Played, advice, place_of
from selfreg_gym.envs.scienceworld.simulator import Seen, Simulator, gold_path, jar
from selfreg_gym.envs.scienceworld.variations import SPLITS, VARIATIONS
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError, shown
from selfreg_gym.utils.arguments import check_count, check_name, check_number

__all__ = ["ScienceWorld"]

_SIMPLIFICATIONS = ("teleportAction", "selfWateringFlowerPots", "openContainers", "openDoors", "noElectricalAction")
_NOT_OFFERED = frozenset({"reset task"})  # it would begin the task again


class ScienceWorld(TextGame):
    """Experiments of elementary science in a house with a workshop, a greenhouse and a foundry.

    ## Description
    The 30 tasks of ScienceWorld (arXiv 2203.07540): boil water, find an animal, grow a plant, measure a melting point,
    test a conductivity, and others, each with 10 to 1,386 variations of places and substances. The
    simulator is that of the package ``scienceworld``. It runs in a Java virtual machine, one per process.

    ## Action Space
    Text, one of ``info["admissible_actions"]``: the valid combinations of actions and objects by the simulator, 114 at
    the beginning of most tasks and up to a few thousand later. Case and white space are ignored. Any other text is an
    invalid action, which is not sent to the simulator. ``reset task`` is not offered.

    ## Observation Space
    Text: the task, the last action and its result, the place, the inventory, the progress and the number of steps left.
    The actions are in the text only with ``list_actions=True``.

    ## Rewards
    The increase of the score, which is in [0, 1]. A failed task has the score 0.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines task and variation. The 30
    tasks alternate, until all variations of the split are used. The simulator has no seed.

    ## Episode End
    Terminated when the score is 1 (success) or the task has failed (for instance by ``focus on`` a wrong object).
    Truncated after ``max_steps`` steps. ``info["steps_left"]`` is the number of steps left. On the last step
    ``info["metrics"]`` has ``progress``, the score.

    ## Arguments
    * ``task``: ``"all"`` (default) or the name of a task (``"boil"``; see
      :data:`selfreg_gym.envs.scienceworld.variations.VARIATIONS`).
    * ``variation`` (int, optional): only this variation of ``task``, in any split.
    * ``split``: ``"train"`` (default), ``"dev"`` or ``"test"``, the published split of the variations.
    * ``simplification``: ``"easy"`` (default: all simplifications that the task allows), ``""`` (none), or
      names separated by commas (``"openDoors,teleportAction"``).
    * ``list_actions`` (bool, default False): whether the observation ends in the list of admissible actions.
    * ``max_steps`` (int, default 100): steps per episode.
    * ``invalid_action``: ``"noop"`` (default: a step without effect) or ``"terminate"``.
    * ``time_limit`` (float, default 120): seconds for one call of the Java virtual machine. Loading a task takes a few.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    Raises:
        MissingPackageError: ScienceWorld or a Java runtime is not installed.

    ## Version History
    * v0: initial version.
    """

    distributions = ("scienceworld",)
    splits: ClassVar = {"collected": {"split": "train"}, "unseen": {"split": "test"}}
    val_splits: ClassVar = {"val-unseen": {"split": "dev"}}
    split_titles: ClassVar = {"collected": "Variations of the training split", "unseen": "New variations"}
    action_kinds: ClassVar = (
        "open", "close", "activate", "deactivate", "connect", "disconnect", "use", "look", "read", "move", "pick up",
        "put down", "pour", "dunk", "mix", "go", "teleport", "eat", "flush", "focus", "wait", "task", "inventory",
    )  # fmt: skip

    def __init__(
        self,
        *,
        task: str = "all",
        variation: int | None = None,
        split: str = "train",
        simplification: str = "easy",
        list_actions: bool = False,
        max_steps: int = 100,
        invalid_action: str = "noop",
        time_limit: float = 120.0,
        render_mode: str | None = None,
    ) -> None:
        check_name("task of ScienceWorld", task, (*VARIATIONS, "all"))
        check_name("split of ScienceWorld", split, SPLITS)
        if not isinstance(simplification, str):
            raise InvalidArgumentError(f"simplification must be a str, received {shown(simplification)}.")
        for name in simplification.split(",") if simplification not in ("", "easy") else ():
            if name not in _SIMPLIFICATIONS:
                raise UnknownNameError("simplification of ScienceWorld", name, ("easy", *_SIMPLIFICATIONS))
        jar()
        self.task, self.split, self.simplification = task, split, simplification
        self.variation = None if variation is None else self._checked(variation)
        self._plays = self._all_plays()
        super().__init__(
            num_episodes=len(self._plays),
            max_steps=max_steps,
            invalid_action=invalid_action,
            list_actions=list_actions,
            render_mode=render_mode,
        )
        self.time_limit = check_number("time_limit (seconds)", time_limit, above=True)
        self._simulator = Simulator(self.time_limit)
        self._goal = ""
        self._played: tuple[Played, ...] = ()
        self._seen: Seen | None = None

    def expert_action(self) -> str:
        """The next action of the solution of ScienceWorld (:mod:`selfreg_gym.envs.scienceworld.expert`)."""
        game_state = self._running()
        assert self._seen is not None
        solution = gold_path(*self._plays[self._index], self.simplification, self.time_limit)
        return advice(solution, self._played, game_state.actions, place_of(self._seen.look))

    def subgoal(self) -> str:
        """The score so far: a call with ``duration="subgoal"`` ends when it changes."""
        return f"{self._current().progress:.2f}"

    # ---------------------------------------------------------------- parts of TextGame

    def _begin(self, index: int) -> GameState:
        seen = self._simulator.begin(*self._plays[index], self.simplification)
        self._goal, self._played = self._simulator.description(), ()
        return self._game_state_of(seen._replace(reply=""))

    def _send(self, command: str) -> GameState:
        assert self._seen is not None
        played = Played(command, self._current().actions, place_of(self._seen.look))
        game_state = self._game_state_of(self._simulator.send(command))
        self._played = (*self._played, played)
        return game_state

    def _position(self) -> tuple[tuple[Played, ...], Seen | None, str]:
        return self._played, self._seen, self._goal

    def _return_to(self, index: int, position: Any, game_state: GameState) -> None:
        """Replay the actions.

        Raises:
            TaskContractError: the replay has another outcome.
        """
        played, expected, self._goal = position
        actions = [step.action for step in played]
        seen = self._simulator.replay(*self._plays[index], self.simplification, actions)
        if not played:
            seen = seen._replace(reply="")
        self._played, self._seen = played, expected
        if seen != expected:
            task, variation = self._plays[index]
            raise TaskContractError(
                f"ScienceWorld's outcomes must be determined by the actions, and a replay of {len(played)} actions of "
                f"{task} (variation {variation}) had another outcome: {shown(_difference(seen, expected))}. Up to its "
                "version 1.2 some tasks draw random numbers without a seed: leave out searches on this task, or "
                "install a newer version of scienceworld."
            )

    def _task_id(self) -> str:
        task, variation = self._plays[self._index]
        return f"{task}/{variation}"

    def _kind(self) -> str:
        return self._plays[self._index][0]

    # ---------------------------------------------------------------- private

    def _checked(self, variation: int) -> int:
        if self.task == "all":
            raise InvalidArgumentError(f"variation needs the name of a task, received variation={variation!r} of all.")
        return check_count(f"the variation of {self.task}", variation, low=0, high=VARIATIONS[self.task][-1] - 1)

    def _all_plays(self) -> list[tuple[str, int]]:
        """The tasks with their variations, in the order of the episodes."""
        if self.variation is not None:
            return [(self.task, self.variation)]
        part = SPLITS.index(self.split)
        ranges = {
            name: range((0, *edges)[part], edges[part])
            for name, edges in VARIATIONS.items()
            if self.task in (name, "all")
        }
        longest = max(map(len, ranges.values()))
        return [(name, found[i]) for i in range(longest) for name, found in ranges.items() if i < len(found)]

    def _game_state_of(self, seen: Seen) -> GameState:
        self._seen = seen
        score = max(0.0, seen.score)
        ended = seen.completed or seen.score < 0
        won = ended and score >= 0.995
        offered = () if ended else tuple(one for one in self._simulator.actions() if one not in _NOT_OFFERED)
        state = "\n".join((seen.look, seen.inventory, seen.goals))
        name = self._kind()
        place = place_of(seen.look)
        return GameState(
            goal=self._goal,
            text="\n\n".join(part for part in (seen.reply, seen.look, seen.inventory) if part),
            actions=offered,
            progress=1.0 if won else score,
            won=won,
            lost=ended and not won,
            key=hashlib.blake2b(state.encode(), digest_size=12).hexdigest(),
            feature=f"{name}|{score:.2f}|{place}",
        )


def _difference(one: Seen, other: Seen | None) -> str:
    """The first field in which two outcomes differ."""
    if other is None:
        return one.reply
    a, b = next((a, b) for a, b in zip(one, other, strict=True) if a != b)
    return f"{a} instead of {b}"
