"""``Engine``: a game of TextWorld, with its exact state as a value."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.envs._optional import optional_package

__all__ = ["Engine", "Position"]

# The prompt and the status line at the end of a reply, and the question at the end of a game.
_PROMPT = re.compile(r"\n>\s*(-= .* =-\d+/\d+)?\s*\Z")
_END = re.compile(r"\n+Would you like to RESTART.*\Z", re.DOTALL)
_BLANK_LINES = re.compile(r"\n\s*\n+")
_SPACES = re.compile(r"[ \t]{2,}")
_INFOS = ("admissible_commands", "description", "inventory", "lost", "max_score", "objective", "score", "won")


class Position(NamedTuple):
    """The state of a game: of the interpreter, of the layers around it (name -> value), and of the logical world."""

    machine: tuple[Any, ...]
    layers: tuple[dict[str, Any], ...]
    world: _World


class _World:
    """The logical state of a game, in place of TextWorld's ``GameProgression``, with the logical actions so far.

    ``GameProgression`` also plans after each action, which takes longer than the action.
    """

    winning_policy = None

    def __init__(self, game: Any, state: Any, actions: tuple[Any, ...] = (), valid: list[Any] | None = None) -> None:
        self.game, self.state, self.actions = game, state, actions
        self.valid_actions: list[Any] = self._applicable() if valid is None else valid

    def update(self, action: Any) -> None:
        """Apply a logical action."""
        self.state.apply(action)
        self.actions = (*self.actions, action)
        self.valid_actions = self._applicable()

    def copy(self) -> _World:
        """The same, which later updates do not change."""
        return _World(self.game, self.state.copy(), self.actions, self.valid_actions)

    def _applicable(self) -> list[Any]:
        kb = self.game.kb
        return list(self.state.all_applicable_actions(kb.rules.values(), kb.types.constants_mapping))


class Engine:
    """A running game.

    TextWorld's ``env.copy()`` starts another interpreter for each copy. A :class:`Position` is the same without one.
    TextWorld's ``policy_commands`` are computed only where :meth:`policy` asks for them.

    Args:
        path: the ``.z8`` file, with its ``.json`` beside it.

    Attributes:
        path: the file.
        state: TextWorld's ``GameState`` after the last command.
    """

    _SAVED = ("state", "_prev_state", "_tracked_infos", "_last_action", "_previous_winning_policy",
              "_current_winning_policy", "_moves")  # fmt: skip

    def __init__(self, path: Path) -> None:
        textworld = optional_package("textworld", extra="textworld", task="selfreg/TextWorld")
        self.path = path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its interpreter says of each game that it is not a known one
            self._env = textworld.start(str(path), textworld.EnvInfos(**dict.fromkeys(_INFOS, True)))
        self._env.seed(1)  # TextWorld's games draw no random numbers; other seeds would be the time of day
        self._layers = [self._env]
        while (inner := self._layers[-1].__dict__.get("_wrapped_env")) is not None:
            self._layers.append(inner)
        self._tracker = next(layer for layer in self._layers if "_game_progression" in layer.__dict__)
        self._planner: tuple[tuple[Any, ...], Any] | None = None  # logical actions, and the quests after them
        self.state: Any = None

    def begin(self) -> None:
        """Begin the game, or begin it again."""
        self.state = self._env.reset()
        started = self._world
        self._tracker._game_progression = _World(started.game, started.state, (), started.valid_actions)

    def send(self, command: str) -> str:
        """Send a command and return the cleaned reply."""
        self.state, _, _ = self._env.step(command)
        return clean(self.state.feedback)

    def position(self) -> Position:
        """The state, which later commands do not change."""
        layers = tuple(
            {name: layer.__dict__[name] for name in self._SAVED if name in layer.__dict__} for layer in self._layers
        )
        return Position(self._layers[-1]._jericho.get_state(), layers, self._world.copy())

    def return_to(self, position: Position) -> None:
        """Return to a state of the same game."""
        if not self._layers[-1]._reset:  # this interpreter has not begun: the state is that of an earlier one
            self.begin()
        self._layers[-1]._jericho.set_state(position.machine)
        for layer, values in zip(self._layers, position.layers, strict=True):
            layer.__dict__.update(values)
        self._tracker._game_progression = position.world.copy()
        self.state = self._tracker.state

    def facts(self) -> tuple[str, ...]:
        """The facts of the game's world, sorted."""
        return tuple(sorted(map(str, self._world.state.facts)))

    def policy(self) -> list[str]:
        """TextWorld's ``policy_commands``: commands that win the game from here; none if it knows none."""
        progression = optional_package("textworld.generator.game", extra="textworld", task="selfreg/TextWorld")
        actions = self._world.actions
        done, quests = self._planner or ((), None)
        if quests is None or actions[: len(done)] != done:
            done, quests = (), progression.GameProgression(self._world.game, track_quests=True)
        for action in actions[len(done) :]:
            quests.update(action)
        self._planner = actions, quests
        return self._tracker._inform7.gen_commands_from_actions(quests.winning_policy or ())

    @property
    def _world(self) -> Any:
        return self._tracker._game_progression

    def close(self) -> None:
        """End the interpreter."""
        self._env.close()


def clean(reply: str) -> str:
    """A reply of the game without the prompt, the status line and blank lines."""
    return _SPACES.sub(" ", _BLANK_LINES.sub("\n", _END.sub("", _PROMPT.sub("", reply)))).strip()
