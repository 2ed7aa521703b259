"""``TextGame``: the base class of text games: steps, invalid actions, observations, infos and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from selfreg_gym.errors import EpisodeOverError, InvalidArgumentError, NotResetError
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_count, check_flag, check_invalid_action, check_render_mode, chosen_task

__all__ = ["GameState", "TextGame"]

_INVALID = "This is not one of the actions."


@dataclass(frozen=True, slots=True)
class GameState:
    """The part of the state of a game that the task reports.

    Attributes:
        goal: what is to be done; it may be empty.
        text: what the player sees, without the goal, the command, the score, the clock and the actions.
        actions: the admissible actions, each once; any if the game is over.
        progress: share of the score, in [0, 1].
        won, lost: whether the game has ended.
        key: a text that is equal for equal states of one game.
        feature: a shorter key, from what the player knows, without names that belong to one game.
    """

    goal: str
    text: str
    actions: tuple[str, ...]
    progress: float
    won: bool
    lost: bool
    key: str
    feature: str


@dataclass(frozen=True, slots=True)
class _Snapshot:
    index: int
    left: int
    over: bool
    report: str
    game_state: GameState
    position: Any
    generator: Any


class TextGame(gym.Env[str, str]):
    """The base class of text games whose engine lists the admissible actions.

    Only admissible actions are sent to the engine, so commands such as ``save`` or ``quit`` have no effect.

    Subclasses implement ``_begin``, ``_send``, ``_position`` and ``_return_to``.

    Args:
        num_episodes: number of tasks.
        max_steps: steps until an episode is truncated.
        invalid_action: ``"noop"``: other texts count as a step without effect; ``"terminate"``: they end the episode
            as a failure.
        list_actions: whether the observation ends in the list of admissible actions.
        render_mode: None or ``"ansi"`` (the observation).
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        *,
        num_episodes: int,
        max_steps: int,
        invalid_action: str,
        list_actions: bool,
        render_mode: str | None,
    ) -> None:
        check_flag("list_actions", list_actions)
        self.max_steps = check_count("max_steps", max_steps)
        self.num_episodes = num_episodes
        self.invalid_action = check_invalid_action(invalid_action)
        self.list_actions, self.render_mode = list_actions, check_render_mode(render_mode, self)
        self.observation_space, self.action_space = FreeText(), FreeText(10_000)
        self._index = self._left = 0
        self._over = False
        self._report = ""
        self._game_state: GameState | None = None

    # ---------------------------------------------------------------- Gymnasium's methods

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin the game ``options["episode"]``, an int in ``range(num_episodes)``; default: a random one.

        Raises:
            InvalidArgumentError: an index outside the split.
            UnknownNameError: an unknown option.
        """
        super().reset(seed=seed)
        self._index = chosen_task(options, self)
        self._game_state = None
        self._game_state = self._begin(self._index)
        self._left, self._over, self._report = self.max_steps, False, ""
        return self._text(), self._info(invalid=False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out one action; the reward is the increase of the progress.

        Raises:
            NotResetError: before the first ``reset``.
            EpisodeOverError: the episode has ended.
            InvalidArgumentError: ``action`` is not text. (Other text is an invalid action, not an error.)
        """
        before = self._running()
        if not isinstance(action, str):
            raise InvalidArgumentError(f"an action must be a str, received {type(action).__name__}.")
        command = self._read(action, before.actions)
        self._left -= 1
        if command is None:
            self._report = _INVALID
            terminated = self.invalid_action == "terminate"
        else:
            self._game_state = self._send(command)
            self._report = f"> {command}"
            terminated = self._game_state.won or self._game_state.lost
        now = self._current()
        self._over = terminated or self._left == 0
        if self._over:
            self._left = 0
        info = self._info(invalid=command is None)
        if self._over:
            info["success"] = info["is_success"] = now.won
            info["metrics"] = {"progress": now.progress}
        return self._text(), now.progress - before.progress, terminated, self._over and not terminated, info

    def render(self) -> str | None:
        """The observation, for ``render_mode="ansi"``."""
        if self.render_mode is None:
            return None
        if self._game_state is None:
            raise NotResetError("render() needs an episode: call reset() first.")
        return self._text()

    # ---------------------------------------------------------------- beyond Gymnasium

    def snapshot(self) -> object:
        """The exact state. It can be restored any number of times."""
        state = self.np_random.bit_generator.state
        game_state = self._current()
        return _Snapshot(self._index, self._left, self._over, self._report, game_state, self._position(), state)

    def restore(self, snapshot: Any) -> None:
        """Return to a state that ``snapshot`` returned."""
        if not isinstance(snapshot, _Snapshot):
            raise InvalidArgumentError(f"restore takes a snapshot of this task, received {type(snapshot).__name__}.")
        self._return_to(snapshot.index, snapshot.position, snapshot.game_state)
        self._index, self._left, self._over = snapshot.index, snapshot.left, snapshot.over
        self._report, self._game_state = snapshot.report, snapshot.game_state
        self.np_random.bit_generator.state = snapshot.generator

    # ---------------------------------------------------------------- for subclasses

    def _begin(self, index: int) -> GameState:
        """Begin the game of task ``index``."""
        raise NotImplementedError

    def _send(self, command: str) -> GameState:
        """Carry out an admissible command."""
        raise NotImplementedError

    def _position(self) -> Any:
        """The state of the engine; it must not change later."""
        raise NotImplementedError

    def _return_to(self, index: int, position: Any, game_state: GameState) -> None:
        """Bring the engine into a state that ``_position`` returned in the game of task ``index``."""
        raise NotImplementedError

    def _task_id(self) -> str:
        """The name of the current task."""
        raise NotImplementedError

    def _kind(self) -> str:
        """The kind of the current task."""
        raise NotImplementedError

    def _running(self) -> GameState:
        """The current state of an episode that is not over."""
        game_state = self._current()
        if self._over:
            raise EpisodeOverError("the episode is over: call reset() before the next action.")
        return game_state

    def _current(self) -> GameState:
        if self._game_state is None:
            raise NotResetError("the task has no episode yet: call reset() first.")
        return self._game_state

    # ---------------------------------------------------------------- private

    @staticmethod
    def _read(action: str, actions: tuple[str, ...]) -> str | None:
        """The admissible action of a text: case and white space are ignored; None if there is none."""
        if action in actions:
            return action
        words = " ".join(action[:1_000].split()).casefold()
        return next((one for one in actions if one.casefold() == words), None)

    def _text(self) -> str:
        game_state = self._current()
        parts = [game_state.goal] if game_state.goal else []
        parts.append(f"{self._report}\n{game_state.text}" if self._report else game_state.text)
        if not self._over:
            parts.append(f"Progress: {game_state.progress:.0%}. Steps left: {self._left}.")
            if self.list_actions:
                parts.append("Actions: " + ", ".join(game_state.actions))
        elif game_state.won or game_state.lost:
            parts.append("You have won." if game_state.won else "You have lost.")
        else:
            parts.append("The episode is over.")
        return "\n\n".join(parts)

    def _info(self, *, invalid: bool) -> dict[str, Any]:
        game_state, name = self._current(), self._task_id()
        end = "|over" if self._over else ""
        return {
            "task_id": name,
            "kind": self._kind(),
            "admissible_actions": () if self._over else game_state.actions,
            "state_key": f"{name}|{game_state.key}{end}",
            "feature_key": f"{game_state.feature}{end}",
            "steps_left": self._left,
            "invalid_action": invalid,
        }
