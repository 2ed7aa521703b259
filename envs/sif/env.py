"""``SIF``: the Gymnasium env around the household simulator."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

from selfreg_gym.envs.sif import actions, text
from selfreg_gym.envs.sif.draws import Draws
from selfreg_gym.envs.sif.episodes import KINDS, SPLITS, make_task, split_size
from selfreg_gym.envs.sif.expert import plan
from selfreg_gym.envs.sif.keys import keys
from selfreg_gym.envs.sif.renumbering import renumbered, rooms_of
from selfreg_gym.envs.sif.world import MAX_DECISIONS, MAX_STEPS, World
from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError, UnknownNameError
from selfreg_gym.spaces import FreeText

__all__ = ["SIF", "Snapshot"]


def _natural(name: str, value: Any) -> int:
    """``value`` as an int, if it is a non-negative integer of any type."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidArgumentError(f"{name} must be a non-negative integer, received {name}={value!r}.")
    return number


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of an episode, random state included. Opaque: hand it to ``SIF.restore``."""

    world: World
    history: str
    draws: Any
    generator: Any
    seed: int | None
    actions: int


class SIF(gym.Env[str, str]):
    """Situated Instruction Following: household commands in a house that has changed.

    ## Description
    The robot has explored a house and holds a map of it. A human gives a command. ``pnp``: nothing has changed since.
    ``s_obj``: the target was moved, and what the human said earlier names (clear) or implies (ambiguous) the room.
    ``s_hum``: the object is to be brought to the human, who walks off and says where to (clear) or not (ambiguous:
    follow, or search). What the robot knows (its map) and what is true differ. Tasks, actions, clocks and success rules
    follow arXiv 2407.12061; simulator, houses and wording are ours.

    ## Action Space
    Text, one of ``info["admissible_actions"]`` (see ``actions``). Case, white space and closing punctuation do not
    matter, and of ``Reasoning: ... Action: ...`` the action counts. Anything else ends the episode as a failure
    (``invalid_action="terminate"``), or passes as a decision without effect (``"noop"``).

    ## Observation Space
    Text: past actions with what they revealed, the map, what the human said, the offers, where the robot is.

    ## Rewards
    1 at the end of a successful episode, otherwise 0. Success is judged on the final state, however the episode ended
    (except by an invalid action): an object of the goal category lies on a receptacle of the goal category; or in a
    room with the goal function while the gripper is empty; or the human holds it, and in a clear ``s_hum`` episode was
    not followed needlessly.

    ## Starting State
    ``options={"episode": i}``, 0 <= i < ``num_episodes``, fixes house, kind, placement and command; ``seed`` drives
    what a visit reveals, the human's pace and route, and picks that slip. Without ``episode`` one is drawn.

    ## Episode End
    Terminated by ``Done!``, after 15 decisions (``Follow the human`` is not counted) or 600 low-level steps, or by an
    invalid action. Never truncated: both limits are rules of the task. ``info["steps_left"]`` is the number of counted
    decisions left; following keeps it, everything else lowers it by one, and it is 0 exactly when the episode is over.

    ## Arguments
    ``kind``: ``"pnp"``, ``"s_obj"``, ``"s_hum"`` or ``"mixed"`` (episode ``i`` is of the ``i % 3``-th kind).
    ``split``: ``"train"``, ``"val-seen"``, ``"test-seen"``, ``"val-unseen"``, ``"test-unseen"`` or ``"actor-train"``.
    ``invalid_action``: ``"terminate"`` or ``"noop"``. ``render_mode``: None or ``"ansi"`` (the observation).

    At the end ``info["metrics"]`` has ``spl`` (success weighted by path length), ``low_level_steps``, ``oracle_steps``,
    ``decisions`` (counted), ``actions`` (all).

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        *,
        kind: str = "mixed",
        split: str = "train",
        invalid_action: str = "terminate",
        render_mode: str | None = None,
    ) -> None:
        if kind not in (*KINDS, "mixed"):
            raise UnknownNameError("kind of SIF task", kind, (*KINDS, "mixed"))
        if split not in SPLITS:
            raise UnknownNameError("split of SIF", split, SPLITS)
        if invalid_action not in ("terminate", "noop"):
            raise UnknownNameError("way to treat an invalid_action", invalid_action, ("terminate", "noop"))
        if render_mode not in (None, "ansi"):
            raise UnknownNameError("render_mode of SIF", render_mode, ("ansi",))
        self.kind, self.split, self.invalid_action, self.render_mode = kind, split, invalid_action, render_mode
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
            seed: drives everything that ``episode`` does not fix.
            options: ``{"episode": i}``, which task to play.

        Raises:
            InvalidArgumentError: a negative seed, an option that does not exist, or an episode outside the split.
        """
        if seed is not None:
            # Making a generator takes longer than playing a step: it is made when the first number is drawn.
            self._np_random, self._np_random_seed = None, _natural("seed", seed)
        self._draw.clear()
        world = self._world = World(make_task(self.split, self.kind, self._episode(options)), self._draw)
        self._history, self._actions = "", 0
        self._admissible = actions.offered(world)
        return text.observation(world, "", self._admissible), self._info(world, invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not text (text that is no action is the actor's failure, no error).
        """
        world = self._live()
        if not isinstance(action, str):
            raise InvalidArgumentError(f"an action of SIF is a str, received {type(action).__name__}.")
        self._actions += 1
        read = actions.parse(action, self._admissible)
        invalid = read is None
        if read is None:
            world.left -= 1
            outcome = f"{text.not_offered()}\n"
            world.over = self.invalid_action == "terminate"
        else:
            said, (op, argument) = read
            outcome = self._carry_out(world, op, argument)
            # Following reports itself ("Follow the human into Room 4."), and nothing is to be said of Done!
            outcome = f"{outcome}\n" if op == actions.FOLLOW else f"{said}. {outcome}\n" if outcome else f"{said}\n"
        counted = MAX_DECISIONS - world.left
        if world.over or world.left <= 0 or world.clock >= MAX_STEPS:
            world.over, world.left = True, 0
        self._history += outcome
        self._admissible = actions.offered(world)
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
        """The page that the robot reads, for ``render_mode="ansi"``."""
        if self.render_mode is None:
            gym.logger.warn('SIF renders only with render_mode="ansi": gym.make("selfreg/SIF-v0", render_mode="ansi").')
            return None
        if self._world is None:
            raise NotResetError("render() needs an episode: call reset() first.")
        return text.observation(self._world, self._history, self._admissible)

    @property
    def np_random(self) -> np.random.Generator:
        """The env's random generator, made from the seed when it is first needed."""
        if self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(self._np_random_seed)
        return self._np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    # ---------------------------------------------------------------- beyond Gymnasium

    def snapshot(self) -> Snapshot:
        """This moment, exactly; it may be restored any number of times, in any env of the same arguments."""
        if self._world is None:
            raise NotResetError("snapshot() needs an episode: call reset() first.")
        generator = None if self._np_random is None else self._np_random.bit_generator.state
        return Snapshot(
            self._world.copy(), self._history, self._draw.state(), generator, self._np_random_seed, self._actions
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to the moment that ``snapshot`` took."""
        self._world = snapshot.world.copy()
        self._history, self._actions = snapshot.history, snapshot.actions
        self._draw.set_state(snapshot.draws)
        self._np_random, self._np_random_seed = None, snapshot.seed
        if snapshot.generator is not None:
            bits = np.random.PCG64(0)
            bits.state = snapshot.generator
            self._np_random = np.random.Generator(bits)
        self._admissible = actions.offered(self._world)

    def expert_action(self) -> str:
        """What the expert, who sees the truth, would do now; always an admissible action."""
        world = self._live()
        return actions.say(world, *plan(world))

    def augment(self, observation: str, rng: np.random.Generator) -> str:
        """The page as it reads with the house's rooms numbered otherwise, for training; needs no running episode."""
        return renumbered(observation, rng.permutation(rooms_of(observation)).tolist())

    # ---------------------------------------------------------------- inside

    def _live(self) -> World:
        if self._world is None:
            raise NotResetError("the task has no episode yet: call reset() first.")
        if self._world.over:
            raise EpisodeOverError("the episode is over: call reset() before the next action.")
        return self._world

    def _episode(self, options: dict[str, Any] | None) -> int:
        options = options or {}
        for name in options:
            if name != "episode":
                raise UnknownNameError("reset option of SIF", name, ("episode",))
        if options.get("episode") is None:
            return int(self.np_random.integers(self.num_episodes))
        episode = _natural("episode", options["episode"])
        if episode >= self.num_episodes:
            raise InvalidArgumentError(
                f"split {self.split!r} has the episodes 0 to {self.num_episodes - 1} of kind {self.kind!r}, "
                f"received episode={options['episode']!r}."
            )
        return episode

    def _carry_out(self, world: World, op: int, argument: int) -> str:
        """Do it, count it, and say what came of it."""
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
        state_key, feature_key = keys(world)
        return {
            "task_id": world.task.task_id,
            "kind": world.task.kind,
            "admissible_actions": self._admissible,
            "state_key": state_key,
            "feature_key": feature_key,
            "steps_left": world.left,
            "invalid_action": invalid,
        }

    def _metrics(self, world: World, success: bool, counted: int) -> dict[str, float]:
        oracle = world.task.oracle_steps
        return {
            "spl": success * oracle / max(oracle, world.clock),
            "low_level_steps": float(world.clock),
            "oracle_steps": float(oracle),
            "decisions": float(counted),
            "actions": float(self._actions),
        }
