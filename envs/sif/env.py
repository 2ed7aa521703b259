"""``SIF``: the Gymnasium env of the household simulator."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

from selfreg_gym.envs.sif import actions, text
from selfreg_gym.envs.sif.draws import Draws
from selfreg_gym.envs.sif.episodes import KINDS, SPLITS, make_task, split_size
from selfreg_gym.envs.sif.expert import plan
from selfreg_gym.envs.sif.hidden import sample_hidden
from selfreg_gym.envs.sif.keys import keys as keys_of
from selfreg_gym.envs.sif.renumbering import count_rooms, renumbered
from selfreg_gym.envs.sif.subgoals import subgoal
from selfreg_gym.envs.sif.vector import vector as vector_of
from selfreg_gym.envs.sif.world import MAX_DECISIONS, MAX_STEPS, World
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError, UnknownNameError
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_flag, check_invalid_action, check_name, check_render_mode

__all__ = ["SIF", "Snapshot"]


def _natural(name: str, value: Any) -> int:
    """Return ``value`` as an int; raise unless it is a non-negative integer of any integer type."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidArgumentError(f"{name} must be a non-negative integer, received {name}={value!r}.")
    return number


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of an episode, the random state included; an argument of ``SIF.restore``."""

    world: World
    history: str
    draws: Any
    generator: Any
    seed: int | None
    actions: int


class SIF(gym.Env[str, str]):
    """Situated Instruction Following: household commands in a house that may have changed since it was explored.

    ## Description
    A household robot has a map of a house from an earlier exploration, and a human gives it a command. There are three
    kinds of tasks:

    * ``pnp`` (pick and place): bring an object to a receptacle or a room. Nothing was moved since the exploration.
    * ``s_obj``: the same, but the object was moved. A remark of the human names its room (clear) or implies it by an
      activity (ambiguous).
    * ``s_hum``: bring an object to the human, who walks to another room and names it (clear) or does not (ambiguous:
      the robot has to follow or to search).

    Tasks, actions, clocks and success rules follow Situated Instruction Following (arXiv 2407.12061). The simulator,
    the houses and the wording are those of this package.

    ## Action Space
    Text, one of ``info["admissible_actions"]``: ``Explore Room 3`` (the current room), ``Go to Room 2``,
    ``Pick up the cup``, ``Put the cup on the table``, ``Give the cup to the human``, ``Follow the human`` and
    ``Done!``. Case, white space and punctuation are ignored, and of an answer ``Reasoning: ... Action: ...`` only the
    action is read. Any other text is an invalid action: it ends the episode as a failure
    (``invalid_action="terminate"``) or counts as a decision without effect (``"noop"``).

    ## Observation Space
    Text: the past actions and their results, the map, the command, the known position of the human (``s_hum``), the
    mapped places of the object and the receptacle, the admissible actions, the robot's position and the held object.

    ## Rewards
    1 on the last step of a successful episode, otherwise 0. Success depends on the final state, however the episode
    ends (except by an invalid action). It requires that an object of the named category

    * is on a receptacle of the named category (command "put it on the ..."), or
    * is in a room of the named function, and the gripper is empty ("put it in the ..."), or
    * was given to the human ("bring me ..."), whom the robot did not follow needlessly in a clear task.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines house, kind, positions of the objects
    and command; without it, the task is drawn at random. ``seed`` determines the random events: the receptacles seen on
    a visit, the human's pace and route, and failed picks.

    ## Episode End
    Terminated by ``Done!``, after 15 decisions (``Follow the human`` is not counted), after 600 low-level steps, or by
    an invalid action. Never truncated: both limits are rules of the task. ``info["steps_left"]`` is the number of
    counted decisions left. It is 0 exactly when the episode is over. On the last step, ``info["metrics"]`` has ``spl``
    (success weighted by path length), ``low_level_steps``, ``oracle_steps``, ``decisions`` (counted) and ``actions``
    (all).

    ## Arguments
    * ``kind``: ``"pnp"``, ``"s_obj"``, ``"s_hum"`` or ``"mixed"`` (default: the kinds in turn, by ``i % 3``).
    * ``split``: ``"train"`` (default), ``"val-seen"``, ``"test-seen"`` and ``"actor-train"`` have six houses,
      ``"val-unseen"`` and ``"test-unseen"`` four others. No two splits have a task in common.
    * ``invalid_action``: ``"terminate"`` (default) or ``"noop"``.
    * ``vector`` (bool, default False): add ``info["feature_vector"]``, float32 ``(41,)``: the robot's knowledge as
      positions, distances, clocks and beliefs (:data:`selfreg_gym.envs.sif.vector.ENTRIES`).
    * ``keys`` (bool, default True): False leaves out ``info["state_key"]`` and ``info["feature_key"]``, as in a task
      whose states are continuous.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    splits: ClassVar = {
        "collected": {"split": "train"},  # the tasks of the rollouts, with new seeds
        "seen": {"split": "test-seen"},  # new tasks in the same houses
        "unseen": {"split": "test-unseen"},  # new tasks in new houses
    }
    val_splits: ClassVar = {
        "val-seen": {"split": "val-seen"},
        "val-unseen": {"split": "val-unseen"},
    }
    split_titles: ClassVar = {
        "collected": "Collected tasks",
        "seen": "New tasks, seen houses",
        "unseen": "New tasks, unseen houses",
    }
    action_kinds: ClassVar = actions.KINDS
    checkpoints = "sif"

    def __init__(
        self,
        *,
        kind: str = "mixed",
        split: str = "train",
        invalid_action: str = "terminate",
        vector: bool = False,
        keys: bool = True,
        render_mode: str | None = None,
    ) -> None:
        check_name("kind of SIF task", kind, (*KINDS, "mixed"))
        check_name("split of SIF", split, SPLITS)
        self.kind, self.split = kind, split
        self.invalid_action = check_invalid_action(invalid_action)
        self.render_mode = check_render_mode(render_mode, self)
        self.vector, self.keys = check_flag("vector", vector), check_flag("keys", keys)
        self.num_episodes = split_size(split, kind)
        self.observation_space = FreeText()
        self.action_space = FreeText(1_000)
        self._draw = Draws(lambda: self.np_random)
        self._world: World | None = None
        self._history, self._actions = "", 0
        self._admissible: tuple[str, ...] = ()

    # ---------------------------------------------------------------- Gymnasium's methods

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seed of all random events of the episode.
            options: ``{"episode": i}``, the index of the task.

        Raises:
            InvalidArgumentError: a negative seed, an unknown option, or an index outside the split.
        """
        if seed is not None:
            # Making a generator takes longer than a step, so it is made when the first number is drawn.
            self._np_random, self._np_random_seed = None, _natural("seed", seed)
        self._draw.clear()
        world = self._world = World(make_task(self.split, self.kind, self._task_index(options)), self._draw)
        self._history, self._actions = "", 0
        self._admissible = actions.admissible(world)
        return text.observation(world, "", self._admissible), self._info(world, invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not text. (Other text is an invalid action, not an error.)
        """
        world = self._running_world()
        if not isinstance(action, str):
            raise InvalidArgumentError(f"an action of SIF must be a str, received {type(action).__name__}.")
        self._actions += 1
        read = actions.parse(action, self._admissible)
        invalid = read is None
        if read is None:
            world.left -= 1
            outcome = f"{text.INVALID}\n"
            world.over = self.invalid_action == "terminate"
        else:
            name, (op, argument) = read
            outcome = self._execute(world, op, argument)
            # The report of Follow contains the action ("Follow the human into Room 4."); that of Done! is empty.
            outcome = f"{outcome}\n" if op == actions.FOLLOW else f"{name}. {outcome}\n" if outcome else f"{name}\n"
        counted = MAX_DECISIONS - world.left
        if world.over or world.left <= 0 or world.clock >= MAX_STEPS:
            world.over, world.left = True, 0
        self._history += outcome
        self._admissible = actions.admissible(world)
        info = self._info(world, invalid=invalid)
        success = False
        if world.over:
            failed = invalid and self.invalid_action == "terminate"
            success = not failed and world.fulfilled()
            info["success"] = info["is_success"] = success
            info["metrics"] = self._metrics(world, success, counted)
        observation = text.observation(world, self._history, self._admissible)
        return observation, float(success), world.over, False, info

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        if self.render_mode is None:
            gym.logger.warn('SIF renders only with render_mode="ansi": gym.make("selfreg/SIF-v0", render_mode="ansi").')
            return None
        if self._world is None:
            raise NotResetError("render() needs an episode: call reset() first.")
        return text.observation(self._world, self._history, self._admissible)

    @property
    def np_random(self) -> np.random.Generator:
        """The env's random generator, made from the seed at the first use."""
        if self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(self._np_random_seed)
        return self._np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    # ---------------------------------------------------------------- beyond Gymnasium

    def snapshot(self) -> Snapshot:
        """The exact state; it may be restored any number of times, in any env with the same arguments."""
        if self._world is None:
            raise NotResetError("snapshot() needs an episode: call reset() first.")
        generator = None if self._np_random is None else self._np_random.bit_generator.state
        return Snapshot(
            self._world.copy(), self._history, self._draw.state(), generator, self._np_random_seed, self._actions
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a state that ``snapshot`` returned."""
        self._world = snapshot.world.copy()
        self._history, self._actions = snapshot.history, snapshot.actions
        self._draw.set_state(snapshot.draws)
        self._np_random, self._np_random_seed = None, snapshot.seed
        if snapshot.generator is not None:
            bits = np.random.PCG64(0)
            bits.state = snapshot.generator
            self._np_random = np.random.Generator(bits)
        self._admissible = actions.admissible(self._world)

    def reseed(self, seed: int) -> None:
        """Draw all further random events from a new stream."""
        self._np_random, self._np_random_seed = None, _natural("seed", seed)
        self._draw.clear()

    def sample_hidden(self, rng: np.random.Generator) -> None:
        """Sample the unknown places of objects and the human's walk (:mod:`selfreg_gym.envs.sif.hidden`)."""
        sample_hidden(self._running_world(), rng)

    def expert_action(self) -> str:
        """The next action of a planner that knows the true state; always admissible."""
        world = self._running_world()
        return actions.action_text(world, *plan(world))

    def subgoal(self) -> str:
        """The current sub-goal by the robot's knowledge, one of :data:`selfreg_gym.envs.sif.subgoals.SUBGOALS`.

        Raises:
            NotResetError: before the first ``reset``.
        """
        if self._world is None:
            raise NotResetError("subgoal() needs an episode: call reset() first.")
        return subgoal(self._world)

    def augment(self, observation: str, rng: np.random.Generator) -> str:
        """The observation under a random numbering of the rooms, for training; needs no running episode."""
        return renumbered(observation, rng.permutation(count_rooms(observation)).tolist())

    # ---------------------------------------------------------------- private

    def _running_world(self) -> World:
        if self._world is None:
            raise NotResetError("the task has no episode yet: call reset() first.")
        if self._world.over:
            raise EpisodeOverError("the episode is over: call reset() before the next action.")
        return self._world

    def _task_index(self, options: dict[str, Any] | None) -> int:
        options = options or {}
        for name in options:
            if name != "episode":
                raise UnknownNameError("reset option of SIF", name, ("episode",))
        if options.get("episode") is None:
            return int(self.np_random.integers(self.num_episodes))
        index = _natural("episode", options["episode"])
        if index >= self.num_episodes:
            raise InvalidArgumentError(
                f"episode must be an integer from 0 to {self.num_episodes - 1} for split {self.split!r} and kind "
                f"{self.kind!r}, received episode={options['episode']!r}."
            )
        return index

    def _execute(self, world: World, op: int, argument: int) -> str:
        """Execute an action, count it as a decision, and return its report."""
        if op == actions.FOLLOW:
            return world.follow(self._draw)
        world.left -= 1
        if op == actions.GO:
            return world.go(argument, self._draw)
        if op == actions.EXPLORE:
            return world.explore(self._draw)
        if op == actions.PICK:
            return world.pick(argument, self._draw)
        if op == actions.PUT:
            return world.put(argument)
        if op == actions.GIVE:
            return world.give()
        world.over = True
        return ""

    def _info(self, world: World, *, invalid: bool) -> dict[str, Any]:
        info = {
            "task_id": world.task.task_id,
            "kind": world.task.kind,
            "admissible_actions": self._admissible,
            "steps_left": world.left,
            "invalid_action": invalid,
        }
        if self.keys:
            info["state_key"], info["feature_key"] = keys_of(world)
        if self.vector:
            info["feature_vector"] = vector_of(world)
        return info

    def _metrics(self, world: World, success: bool, counted: int) -> dict[str, float]:
        oracle = world.task.oracle_steps
        return {
            "spl": success * oracle / max(oracle, world.clock),
            "low_level_steps": float(world.clock),
            "oracle_steps": float(oracle),
            "decisions": float(counted),
            "actions": float(self._actions),
        }
