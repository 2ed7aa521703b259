"""``BabyAI``: the Gymnasium env of BabyAI's levels as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from selfreg_gym.envs.babyai import text
from selfreg_gym.envs.babyai.expert import Expert
from selfreg_gym.envs.babyai.levels import DEFAULT_LEVELS, SPLITS, level_names, make_level
from selfreg_gym.envs.babyai.mission import Mission
from selfreg_gym.envs.babyai.situation import Pose, Situation, feature_key, situation, subgoal
from selfreg_gym.envs.babyai.state import LevelState, StateReader
from selfreg_gym.envs.babyai.vector import vector as vector_of
from selfreg_gym.envs.babyai.view import View, look
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError, shown
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import (
    check_count,
    check_flag,
    check_invalid_action,
    check_name,
    check_render_mode,
    chosen_task,
)

__all__ = ["BabyAI", "Snapshot"]

_NO_EFFECT = 6  # minigrid's action "done", which only takes a step
_MOVES = frozenset(text.ACTIONS.index(name) for name in ("left", "right", "forward")) | {_NO_EFFECT}
_DROP = text.ACTIONS.index("drop")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of an episode, the random state included; an argument of ``BabyAI.restore``."""

    index: int
    state: LevelState
    taken: tuple[int, ...]
    over: bool
    generator: Any


class BabyAI(gym.Env[str, str]):
    """BabyAI: carry out an instruction in a grid of rooms of which only a part is visible.

    ## Description
    An agent in a grid of rooms carries out a mission such as "go to the red ball", "pick up the box on your left",
    "put the blue key next to a ball" or "open the red door, then go to the key". Levels, missions, moves and the check
    of success come from the package ``minigrid`` (Chevalier-Boisvert et al. 2019, arXiv 1810.08272; 2023, arXiv
    2306.13831). The texts are written by this package. Each level has its own task id, for instance
    ``selfreg/BabyAI-GoToLocal-v0``. ``selfreg/BabyAI-v0`` alternates between GoToLocal, PickupLoc and PutNextLocal.

    Levels that the bot of ``minigrid`` cannot solve are left out: PutNext...Carrying, KeyInBox, UnlockToUnlock, and two
    levels for debugging (OpenDoorsOrder...Debug).

    ## Action Space
    Text: ``left`` and ``right`` (turn), ``forward``, ``pickup`` (the object directly ahead), ``drop`` (onto the cell
    ahead), ``toggle`` (open or close the door ahead, with its key if it is locked; open a box). All actions are
    admissible in every state. An action that is impossible takes a step and has no effect. Case, white space and
    punctuation are ignored. Any other text is an invalid action: it ends the episode as a failure
    (``invalid_action="terminate"``) or takes a step without effect (``"noop"``).

    ## Observation Space
    Text: the number of free cells ahead, to the left and to the right; the position of each object in view; the carried
    object; the direction; the steps left; the mission, and which of its instructions are done. The agent sees 7 x 7
    cells, and walls and closed doors hide what is behind them. If the mission has a direction ("on your left"), the
    text also has the position and the direction of the agent at the start, because the mission refers to them.

    ## Rewards
    That of ``minigrid``: ``1 - 0.9 * steps / limit`` when the mission is done, otherwise 0.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines the grid, the mission and the start.
    Without it, the task is drawn at random with ``seed``. With several levels, task ``i`` is of level
    ``i % len(levels)``. Steps are deterministic, so ``seed`` has no other effect.

    ## Episode End
    Terminated when the mission is done (success), after an invalid action (failure), and, in levels with a fixed order
    of instructions, when the wrong instruction is carried out first (failure). Truncated after ``max_steps`` steps
    (failure). ``info["steps_left"]`` is 0 exactly when the episode is over. On the last step, ``info["metrics"]`` has
    ``steps`` and ``done``, the share of the instructions that are done.

    ## Arguments
    * ``levels``: the name of a level, or a list of names; default: the level of the task id.
    * ``split``: ``"train"`` (default), ``"val"``, ``"test"`` or ``"actor-train"``: separate ranges of seeds.
    * ``max_steps``: the largest number of steps; None (default) is the limit of the level, from 64 in GoToLocal to
      2,880 in BossLevel.
    * ``invalid_action``: ``"terminate"`` (default) or ``"noop"``.
    * ``vector`` (bool, default False): add ``info["feature_vector"]``, float32 ``(33,)``: what the agent sees as
      positions, distances and clocks (:data:`selfreg_gym.envs.babyai.vector.ENTRIES`).
    * ``render_mode``: None, ``"ansi"`` (the observation) or ``"rgb_array"`` (a picture of the whole grid).

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it
    distributions = ("minigrid",)
    checkpoints = "babyai"
    splits: ClassVar = {"collected": {"split": "train"}, "new": {"split": "test"}}
    val_splits: ClassVar = {"val": {"split": "val"}}
    split_titles: ClassVar = {"collected": "Collected tasks", "new": "New tasks"}
    action_kinds: ClassVar = text.ACTIONS

    def __init__(
        self,
        *,
        levels: str | Sequence[str] = DEFAULT_LEVELS,
        split: str = "train",
        max_steps: int | None = None,
        invalid_action: str = "terminate",
        vector: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.levels = _checked_levels(levels)
        check_name("split of BabyAI", split, SPLITS)
        self.split, self.vector = split, check_flag("vector", vector)
        self.invalid_action = check_invalid_action(invalid_action)
        self.render_mode = check_render_mode(render_mode, self)
        self.max_steps = None if max_steps is None else check_count("max_steps", max_steps)
        self.num_episodes = SPLITS[split][1] * len(self.levels)
        self.observation_space = FreeText()
        self.action_space = FreeText(1_000)
        self._level: Any = None
        self._index, self._over, self._taken, self._changed = 0, True, list[int](), "|"

    # ---------------------------------------------------------------- Gymnasium's methods

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seed of the draw of a task without ``options``.
            options: ``{"episode": i}``, the index of the task.

        Raises:
            InvalidArgumentError: an unknown option, or an index outside the split.
        """
        super().reset(seed=seed)
        self._begin(chosen_task(options, self))
        return self._observe(look(self._level), invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not text. (Other text is an invalid action, not an error.)
        """
        level = self._running_level()
        if not isinstance(action, str):
            raise InvalidArgumentError(f"an action of BabyAI must be a str, received {type(action).__name__}.")
        number = text.parse(action)
        invalid = number is None
        if invalid and self.invalid_action == "terminate":
            self._over = True
            answer, info = self._observe(look(level), invalid=True)
            self._end(info, success=False)
            return answer, 0.0, True, False, info
        number = _NO_EFFECT if number is None else number
        before = None if number in _MOVES else self._reader.reach()
        _, reward, terminated, truncated, _ = level.step(number)
        self._taken.append(number)
        # A drop also notes the positions of objects anew.
        if before is not None and ((number == _DROP and self._changed != "|") or self._reader.reach() != before):
            self._changed = self._objects_key()
        self._over = bool(terminated or truncated)
        answer, info = self._observe(look(level), invalid=invalid)
        if self._over:
            self._end(info, success=terminated and reward > 0)
        return answer, float(reward), bool(terminated), bool(truncated and not terminated), info

    def render(self) -> Any:
        """The observation (``render_mode="ansi"``), or a picture of the whole grid, uint8 ``(h, w, 3)``."""
        if self.render_mode is None:
            gym.logger.warn('BabyAI renders only with a render_mode: gym.make(..., render_mode="ansi").')
            return None
        if self._level is None:
            raise NotResetError("render() needs an episode: call reset() first.")
        if self.render_mode == "rgb_array":
            return self._level.get_frame()
        return self._observe(look(self._level), invalid=False)[0]

    # ---------------------------------------------------------------- beyond Gymnasium

    def snapshot(self) -> Snapshot:
        """The exact state. It can be restored any number of times, in any env with the same arguments."""
        if self._level is None:
            raise NotResetError("snapshot() needs an episode: call reset() first.")
        generator = None if self._np_random is None else self._np_random.bit_generator.state
        return Snapshot(self._index, self._reader.read(), tuple(self._taken), self._over, generator)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a state that ``snapshot`` returned."""
        if self._level is None or self._index != snapshot.index:
            self._begin(snapshot.index)
        self._reader.write(snapshot.state)
        self._taken, self._over = list(snapshot.taken), snapshot.over
        self._changed = self._objects_key()
        if snapshot.generator is not None:
            bits = np.random.PCG64(0)
            bits.state = snapshot.generator
            self._np_random = np.random.Generator(bits)

    def reseed(self, seed: int) -> None:
        """Draw the tasks of later resets from a new random stream. Steps have no random events."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def expert_action(self) -> str:
        """The next action of the bot of ``minigrid``, which plans from what was seen so far; always admissible.

        Raises:
            TaskContractError: the bot has no plan.
        """
        self._running_level()
        return text.ACTIONS[self._expert.action(self._taken)]

    def subgoal(self) -> str:
        """The current sub-goal by what the agent sees, for instance "find the red ball"."""
        if self._level is None:
            raise NotResetError("subgoal() needs an episode: call reset() first.")
        return subgoal(self._situation(look(self._level)))

    # ---------------------------------------------------------------- private

    def _begin(self, index: int) -> None:
        """Make the level of task ``index``."""
        number, name = index // len(self.levels), self.levels[index % len(self.levels)]
        make = partial(make_level, name, SPLITS[self.split][0] + number, self.max_steps)
        level = self._level = make()
        self._mission = Mission(level)
        self._reader, self._expert = StateReader(level, self._mission), Expert(make)
        self._index, self._kind, self._task_id = index, name, f"{name}/{self.split}/{number}"
        self._start = self._pose()
        self._taken, self._over, self._changed = [], False, "|"

    def _running_level(self) -> Any:
        if self._level is None:
            raise NotResetError("the task has no episode yet: call reset() first.")
        if self._over:
            raise EpisodeOverError("the episode is over: call reset() before the next action.")
        return self._level

    def _pose(self) -> Pose:
        level = self._level
        x, y = level.agent_pos
        return Pose(int(x), int(y), int(level.agent_dir))

    def _carried(self) -> tuple[str, str] | None:
        one = self._level.carrying
        return None if one is None else (one.color, one.type)

    def _objects_key(self) -> str:
        """The part of the state key that only pickup, drop and toggle change."""
        return f"{self._reader.layout_key()}|{self._reader.positions_key()}"

    def _situation(self, view: View) -> Situation:
        return situation(self._mission.remaining(), view, self._carried(), self._pose(), self._start)

    def _observe(self, view: View, *, invalid: bool) -> tuple[str, dict[str, Any]]:
        """The observation and the info of the current state."""
        level, mission, pose, carried = self._level, self._mission, self._pose(), self._carried()
        steps_left = 0 if self._over else level.max_steps - level.step_count
        remaining = mission.remaining()
        waiting = {id(one) for one in remaining}
        answer = text.observation(
            view,
            carried=carried,
            direction=pose.direction,
            start=(*pose.offset(*self._start[:2]), self._start.direction) if mission.relative else None,
            steps_left=steps_left,
            mission=mission.text,
            done=[one.text for one in mission.instructions if id(one) not in waiting],
            over=self._over,
        )
        now = situation(remaining, view, carried, pose, self._start)
        where = f"{pose.x},{pose.y},{pose.direction}|{self._changed}|{self._reader.memory_key()}"
        info: dict[str, Any] = {
            "task_id": self._task_id,
            "kind": self._kind,
            "admissible_actions": () if self._over else text.ACTIONS,
            "state_key": f"{self._task_id}|{'over' if self._over else where}",
            "feature_key": f"{self._kind}|{'over' if self._over else feature_key(now, view)}",
            "steps_left": steps_left,
            "invalid_action": invalid,
        }
        if self.vector:
            info["feature_vector"] = vector_of(
                now, view, pose=pose, start=self._start, steps_left=steps_left, max_steps=level.max_steps
            )
        return answer, info

    def _end(self, info: dict[str, Any], *, success: bool) -> None:
        """Add the results of the episode to the last info."""
        whole = self._mission.instructions
        done = 1.0 if success else 1 - len(self._mission.remaining()) / len(whole)
        info["success"] = info["is_success"] = bool(success)
        info["metrics"] = {"steps": float(len(self._taken)), "done": done}


def _checked_levels(levels: Any) -> tuple[str, ...]:
    """The names of levels as a tuple."""
    names = (levels,) if isinstance(levels, str) else levels
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError(
            f"levels must be the name of a level such as 'GoToLocal', or a list of names, received {shown(levels)}."
        )
    for name in names:
        check_name("level of BabyAI", name, level_names())
    return tuple(names)
