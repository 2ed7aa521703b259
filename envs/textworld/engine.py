"""``Engine``: a game of TextWorld whose exact state can be saved and restored."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.envs.textworld.games import PACKAGE
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["INFOS", "Engine", "Position"]

# The prompt and the status line at the end of a reply, and the question at the end of a game.
_PROMPT = re.compile(r"\n>\s*(-= .* =-\d+/\d+)?\s*\Z")
_END = re.compile(r"\n+Would you like to RESTART.*\Z", re.DOTALL)
_BLANK_LINES = re.compile(r"\n\s*\n+")
_SPACES = re.compile(r"[ \t]{2,}")
INFOS = ("admissible_commands", "description", "inventory", "lost", "max_score", "objective", "score", "won")
_KNOWN = 500  # states of a game whose valid actions are kept
_LOADED = 16  # game files that an interpreter keeps in memory


class Position(NamedTuple):
    """The state of a game: of the interpreter, of the wrappers around it (name -> value), and of the logical world."""

    machine: tuple[Any, ...]
    layers: tuple[dict[str, Any], ...]
    world: _World


class _World:
    """The logical state of a game and the logical actions so far. It replaces TextWorld's ``GameProgression``.

    ``GameProgression`` also plans after each action, which takes longer than the action. The valid actions take a third
    of the time of a step. They are computed once for each state of a game and kept, because states recur.
    """

    winning_policy = None

    def __init__(self, game: Any, state: Any, valid: list[Any], known: dict[Any, list[Any]]) -> None:
        """``known``: state of this game -> its valid actions; :meth:`update` adds to it."""
        self.game, self.state, self.valid_actions, self._known = game, state, valid, known
        self.actions: tuple[Any, ...] = ()
        self._facts: tuple[str, ...] | None = None

    def update(self, action: Any) -> None:
        """Apply a logical action."""
        self.state.apply(action)
        self.actions, self._facts = (*self.actions, action), None
        here = frozenset(self.state.facts), frozenset(variable.name for variable in self.state.variables)
        if here not in self._known:
            if len(self._known) == _KNOWN:
                del self._known[next(iter(self._known))]
            kb = self.game.kb
            self._known[here] = list(self.state.all_applicable_actions(kb.rules.values(), kb.types.constants_mapping))
        self.valid_actions = self._known[here]

    def copy(self) -> _World:
        """The same, which later updates do not change."""
        other = copy.copy(self)
        other.state = self.state.copy()
        return other

    def facts(self) -> tuple[str, ...]:
        """The facts as texts, sorted."""
        if self._facts is None:
            self._facts = tuple(sorted(map(_text_of, self.state.facts)))
        return self._facts


@functools.lru_cache(maxsize=20_000)
def _text_of(fact: Any) -> str:
    """A fact as text."""
    return str(fact)


class Engine:
    """A running game, and the interpreter that plays one game after the other.

    TextWorld's ``env.copy()`` starts another interpreter for each copy. A :class:`Position` needs no interpreter.
    TextWorld's ``policy_commands`` take long, so they are computed only by :meth:`policy`.

    Args:
        path: the ``.z8`` file, with its ``.json`` beside it.

    Attributes:
        path: the file.
        state: TextWorld's ``GameState`` after the last command.
    """

    _SAVED = ("state", "_prev_state", "_tracked_infos", "_last_action", "_previous_winning_policy",
              "_current_winning_policy", "_moves")  # fmt: skip

    def __init__(self, path: Path) -> None:
        textworld = optional_package("textworld", **PACKAGE)
        with _without_warnings():
            self._env = textworld.start(str(path), textworld.EnvInfos(**dict.fromkeys(INFOS, True)))
        self._layers = [self._env]
        while (inner := self._layers[-1].__dict__.get("_wrapped_env")) is not None:
            self._layers.append(inner)
        self._tracker = next(layer for layer in self._layers if "_game_progression" in layer.__dict__)
        self._loaded(path)

    def load(self, path: Path) -> None:
        """Load another game; :meth:`begin` begins it."""
        files = self._layers[-1]._jericho._cache
        while len(files) >= _LOADED:
            del files[next(iter(files))]
        with _without_warnings():
            self._env.load(str(path))
        self._layers[-1]._reset = False
        self._loaded(path)

    def _loaded(self, path: Path) -> None:
        """Forget the game before ``path``."""
        self.path = path
        self._env.seed(1)  # TextWorld's games draw no random numbers; other seeds would be the time of day
        self._known: dict[Any, list[Any]] = {}
        self._planner: tuple[tuple[Any, ...], Any] | None = None  # logical actions, and the quests after them
        self.state: Any = None

    def begin(self) -> None:
        """Begin the game, or begin it again."""
        self.state = self._env.reset()
        started = self._world
        self._tracker._game_progression = _World(started.game, started.state, started.valid_actions, self._known)

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
        if not self._layers[-1]._reset:  # the game was loaded, and has not begun
            self.begin()
        self._layers[-1]._jericho.set_state(position.machine)
        for layer, values in zip(self._layers, position.layers, strict=True):
            layer.__dict__.update(values)
        self._tracker._game_progression = position.world.copy()
        self.state = self._tracker.state

    def facts(self) -> tuple[str, ...]:
        """The facts of the game's world, sorted."""
        return self._world.facts()

    def policy(self) -> list[str]:
        """TextWorld's ``policy_commands``: commands that win the game from here; empty if TextWorld finds none."""
        progression = optional_package("textworld.generator.game", **PACKAGE)
        actions = self._world.actions
        done, quests = self._planner or ((), None)
        if quests is None or actions[: len(done)] != done:
            done, quests = (), progression.GameProgression(self._world.game, track_quests=True)
        for action in actions[len(done) :]:  # as its update, without its search for the valid actions
            quests.state.apply(action)
            for quest in quests.quest_progressions:
                quest.update(action, quests.state)
        self._planner = actions, quests
        return self._tracker._inform7.gen_commands_from_actions(quests.winning_policy or ())

    @property
    def _world(self) -> Any:
        return self._tracker._game_progression

    def close(self) -> None:
        """End the interpreter."""
        self._env.close()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """The interpreter warns for each game that it does not know it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.lru_cache(maxsize=1_000)
def clean(reply: str) -> str:
    """A reply of the game without the prompt, the status line and blank lines."""
    return _SPACES.sub(" ", _BLANK_LINES.sub("\n", _END.sub("", _PROMPT.sub("", reply)))).strip()
