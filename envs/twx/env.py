"""``TWX``: the Gymnasium env of the games of TextWorldExpress."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym

from selfreg_gym.envs.twx.expert import Situation, plan
from selfreg_gym.envs.twx.features import feature_key, subgoal, vector
from selfreg_gym.envs.twx.games import GAMES, SPLITS, parameters_of, start_of
from selfreg_gym.envs.twx.knowledge import Knowledge, learn, state_text
from selfreg_gym.envs.twx.simulator import Reply, Simulator, Start
from selfreg_gym.envs.twx.survey import World, survey
from selfreg_gym.envs.twx.text import INVALID, observation
from selfreg_gym.errors import (
    EpisodeOverError,
    InvalidArgumentError,
    NotResetError,
)
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import (
    check_count,
    check_flag,
    check_invalid_action,
    check_name,
    check_number,
    check_render_mode,
    chosen_task,
)

__all__ = ["TWX", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of an episode; an argument of ``TWX.restore``.

    The Java game is not copied: before its next step, ``actions`` are played in it.
    """

    game: tuple[str, str]
    index: int
    start: Start
    task: str
    actions: tuple[str, ...]
    reply: Reply
    known: Knowledge
    last: tuple[str, str]
    left: int
    over: bool
    generator: Any


class TWX(gym.Env[str, str]):
    """Text games of TextWorldExpress: cooking a recipe, finding a coin, tidying up, reading a map.

    ## Description
    The games of TextWorldExpress (Jansen and Cote, EACL 2023). Each game has an id:

    * ``selfreg/TWX-CookingWorld-v0``: read the cookbook, gather the ingredients, cut and cook them as the recipe says,
      prepare the meal and eat it.
    * ``selfreg/TWX-CoinCollector-v0``: find the coin and take it.
    * ``selfreg/TWX-Commonsense-v0`` (TextWorld Commonsense): put objects where they belong.
    * ``selfreg/TWX-MapReader-v0``: take a coin from a named room to a box, with the help of a map.

    The package ``textworld-express`` runs in a Java virtual machine. All envs of a process share one machine.

    ## Action Space
    Text, one of ``info["admissible_actions"]``. These are all actions that the game accepts, for instance ``open
    fridge``, ``move north``, ``take cookbook``, ``cook carrot in oven``. Case and white space are ignored. Any other
    text is an invalid action: it ends the episode as a failure (``invalid_action="terminate"``) or counts as a step
    without effect (``"noop"``).

    ## Observation Space
    Text: the description of the task, the texts that the player has read (a recipe, a map), the exits and items of
    rooms that the player has left, the last action and the answer of the game, the room, the inventory, the score, and
    the number of steps left.

    ## Rewards
    The increase of the game's score, which is 1 when the task is done.

    ## Starting State
    ``options={"episode": i}`` of ``reset``, ``0 <= i < num_episodes``, determines the game: the seed of its generator
    is the i-th seed of the split. Without it, the task is drawn at random with ``seed``. A game has no random events,
    so ``seed`` has no other effect.

    ## Episode End
    Terminated when the task is done (success), when it has failed (an ingredient was eaten, or was cut or cooked in
    another way than the recipe says), and after an invalid action (failure). Truncated after ``max_steps`` steps
    (failure). ``info["progress"]`` is the score in [0, 1] on every step. On the last step, ``info["metrics"]`` has
    ``score`` and ``steps``.

    A step that the Java virtual machine does not answer within ``time_limit`` seconds raises ``JvmError``. In a
    collection this ends the episode with an error, and the next reset starts another machine. Other envs of the process
    play the actions of their episode again in the new machine, and continue without an error.

    ## Arguments
    * ``game``: TextWorldExpress's name of the game, given by the id.
    * ``split``: ``"train"`` (default; 1,000 tasks), ``"val-seen"``, ``"test-seen"`` and ``"actor-train"`` are parts
      of the fold ``train`` of the package, ``"val-unseen"`` is a part of ``dev`` and ``"test-unseen"`` of ``test``. No
      two splits have a task in common.
    * ``params`` (dict): parameters of the game in place of those in :data:`selfreg_gym.envs.twx.games.GAMES`.
    * ``max_steps`` (int, default 50): steps per episode.
    * ``list_actions`` (bool, default False): list the admissible actions in the observation, for actors that write
      their answer.
    * ``invalid_action``: ``"terminate"`` (default) or ``"noop"``.
    * ``vector`` (bool, default False): add ``info["feature_vector"]``, float32 ``(20,)``: what the player knows as
      numbers (:data:`selfreg_gym.envs.twx.features.VECTOR`).
    * ``time_limit`` (default 30): seconds for one step of the Java virtual machine.
    * ``render_mode``: None or ``"ansi"`` (the observation).

    ## Version History
    * v0: initial version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it
    distributions = ("textworld-express",)
    checkpoints: ClassVar = {"selfreg/TWX-CookingWorld-v0": "cookingworld"}
    splits: ClassVar = {
        "collected": {"split": "train"},
        "seen": {"split": "test-seen"},
        "unseen": {"split": "test-unseen"},
    }
    val_splits: ClassVar = {
        "val-seen": {"split": "val-seen"},
        "val-unseen": {"split": "val-unseen"},
    }
    split_titles: ClassVar = {
        "collected": "Collected tasks",
        "seen": "New tasks of the fold train",
        "unseen": "Tasks of the fold test",
    }
    action_kinds = (
        *("chop", "close", "cook", "dice", "eat", "examine", "inventory", "look", "move", "open", "prepare", "put"),
        *("read", "slice", "take", "task"),
    )

    def __init__(
        self,
        *,
        game: str = "cookingworld",
        split: str = "train",
        params: Mapping[str, int] | None = None,
        max_steps: int = 50,
        list_actions: bool = False,
        invalid_action: str = "terminate",
        vector: bool = False,
        time_limit: float = 30.0,
        render_mode: str | None = None,
    ) -> None:
        for what, value, choices in (
            ("game of TextWorldExpress", game, GAMES),
            ("split of TextWorldExpress", split, SPLITS),
        ):
            check_name(what, value, choices)
        self.game, self.split = game, split
        self.invalid_action = check_invalid_action(invalid_action)
        self.render_mode = check_render_mode(render_mode, self)
        self.params = parameters_of(game, params)
        self.max_steps = check_count("max_steps", max_steps)
        self.list_actions, self.vector = check_flag("list_actions", list_actions), check_flag("vector", vector)
        self.time_limit = check_number("time_limit (seconds)", time_limit, above=True)
        self.num_episodes = SPLITS[split][2]
        self.observation_space, self.action_space = FreeText(), FreeText(1_000)
        self._parameters = ", ".join(f"{name}={value}" for name, value in self.params.items())
        self._simulator = Simulator(game, self._parameters, time_limit=self.time_limit)
        self._state: Snapshot | None = None

    # ---------------------------------------------------------------- Gymnasium's methods

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: seed of the draw of the task.
            options: ``{"episode": i}``, the index of the task.

        Raises:
            InvalidArgumentError: an index outside the split, or parameters with which the game cannot be made.
            UnknownNameError: another option.
            JvmError: the Java virtual machine did not start, or failed twice.
        """
        super().reset(seed=seed)
        index = chosen_task(options, self)
        start = start_of(self.split, index)
        reply = self._simulator.begin(start)
        self._state = Snapshot(
            game=(self.game, self._parameters),
            index=index,
            start=start,
            task=self._simulator.task_description(),
            actions=(),
            reply=reply,
            known=learn(None, "", reply, None),
            last=("", ""),
            left=self.max_steps,
            over=False,
            generator=None,
        )
        return self._text(), self._info(invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not text. (Other text is an invalid action, not an error.)
            JvmError: the Java virtual machine ended, or did not answer in time.
            TaskContractError: the game was played again after ``restore``, and had another outcome.
        """
        before = self._running()
        if not isinstance(action, str):
            raise InvalidArgumentError(f"an action of TWX must be a str, received {type(action).__name__}.")
        name = _read_action(action, before.reply.actions)
        left = before.left - 1
        if name is None:
            failed, reply = self.invalid_action == "terminate", before.reply
            known, last, actions = before.known, (INVALID, ""), before.actions
        else:
            self._simulator.go_to(before.start, before.actions, before.reply)
            reply = self._simulator.step(name)
            known, last = learn(before.known, name, reply, before.reply), (name, reply.answer)
            failed, actions = reply.failure, (*before.actions, name)
        success = reply.success and not failed
        terminated = success or failed
        truncated = left == 0 and not terminated
        over = terminated or truncated
        self._state = Snapshot(
            game=before.game,
            index=before.index,
            start=before.start,
            task=before.task,
            actions=actions,
            reply=reply,
            known=known,
            last=last,
            left=0 if over else left,
            over=over,
            generator=None,
        )
        info = self._info(invalid=name is None)
        if over:
            info |= {"success": success, "is_success": success}
            info["metrics"] = {"score": reply.score, "steps": float(self.max_steps - left)}
        return self._text(), reply.score - before.reply.score, terminated, truncated, info

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        if self.render_mode is None:
            gym.logger.warn('TWX renders only with render_mode="ansi".')
            return None
        if self._state is None:
            raise NotResetError("render() needs an episode: call reset() first.")
        return self._text()

    # ---------------------------------------------------------------- beyond Gymnasium

    def snapshot(self) -> Snapshot:
        """The exact state. It can be restored any number of times, in any env with the same game and parameters."""
        if self._state is None:
            raise NotResetError("snapshot() needs an episode: call reset() first.")
        return _with_generator(self._state, self.np_random.bit_generator.state)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a state that ``snapshot`` returned.

        The actions of the snapshot are played again in the Java game at the next step, unless it is already there.

        Raises:
            InvalidArgumentError: not a snapshot of this game with these parameters.
        """
        if not isinstance(snapshot, Snapshot) or snapshot.game != (self.game, self._parameters):
            raise InvalidArgumentError(
                f"restore takes a snapshot of an env with the game {self.game!r} and the parameters "
                f"{self._parameters!r}, received {getattr(snapshot, 'game', type(snapshot).__name__)!r}."
            )
        self._state = _with_generator(snapshot, None)
        self.np_random.bit_generator.state = snapshot.generator

    def reseed(self, seed: int) -> None:
        """Draw the tasks of later resets from a new random stream. Episodes have no random events."""
        self._np_random, self._np_random_seed = gym.utils.seeding.np_random(seed)

    def expert_action(self) -> str:
        """The next action of a planner that knows the true state of the game.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            JvmError: the Java virtual machine failed in the survey of the game.
        """
        state = self._running()
        found = survey(self.game, self._parameters, self.time_limit, state.start, gold=GAMES[self.game].gold)
        return plan(self.game, Situation(World(found, state.known), found, state.reply, state.task))

    def subgoal(self) -> str:
        """The current sub-goal, from what the player knows.

        Raises:
            NotResetError: before the first ``reset``.
        """
        if self._state is None:
            raise NotResetError("subgoal() needs an episode: call reset() first.")
        return subgoal(self.game, self._state.known, self._state.reply)

    # ---------------------------------------------------------------- private

    def _running(self) -> Snapshot:
        if self._state is None:
            raise NotResetError("the task has no episode yet: call reset() first.")
        if self._state.over:
            raise EpisodeOverError("the episode is over: call reset() before the next action.")
        return self._state

    def _text(self) -> str:
        state = self._state
        assert state is not None
        action, answer = state.last
        return observation(
            state.task,
            state.known,
            state.reply,
            action=action,
            answer=answer,
            left=state.left,
            over=state.over,
            actions=self.list_actions,
        )

    def _info(self, *, invalid: bool) -> dict[str, Any]:
        state = self._state
        assert state is not None
        task_id = f"{self.game}/{self.split}/{state.index}"
        text = state_text(state.known, state.reply)
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        over = "|over" if state.over else ""
        info = {
            "task_id": task_id,
            "kind": self.game,
            "admissible_actions": () if state.over else state.reply.actions,
            "state_key": f"{task_id}|{digest}{over}",
            "feature_key": f"{feature_key(self.game, state.known, state.reply)}{over}",
            "steps_left": state.left,
            "progress": state.reply.score,
            "invalid_action": invalid,
        }
        if self.vector:
            info["feature_vector"] = vector(self.game, state.known, state.reply, state.left / self.max_steps)
        return info


def _read_action(text: str, actions: tuple[str, ...]) -> str | None:
    """The action that a text means; None if there is no such action."""
    if text in actions:
        return text
    words = " ".join(text.split()).casefold()
    return next((one for one in actions if one.casefold() == words), None)


def _with_generator(state: Snapshot, generator: Any) -> Snapshot:
    return Snapshot(
        state.game, state.index, state.start, state.task, state.actions, state.reply, state.known, state.last,
        state.left, state.over, generator,
    )  # fmt: skip
