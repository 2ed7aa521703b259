"""``History``: the observation of a text task becomes the dialogue so far, cut to a number of turns or tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, NotResetError, UnknownNameError, shown
from selfreg_gym.intervention_env.snapshots import with_snapshots
from selfreg_gym.spaces import FreeText
from selfreg_gym.utils.arguments import check_count, check_flag

__all__ = ["History", "dialogue_text", "with_history"]

_MAX_CHARACTERS = 10**8  # of a dialogue
_LONGEST_ACTION = 500  # characters of an action that are repeated
_HIDDEN = ("augment",)  # members of a task that are about one of its observations


class History(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Observe the dialogue of a text task: its observations and the actions taken, oldest first.

    The dialogue begins with the first observation, which in many tasks is the only one that states the goal. A turn is
    an action, on a line that begins with ``>``, and the observation after it. The oldest turns are left out until the
    dialogue meets the limits, and a line says how many: ``[12 earlier turns are left out]``. The last turn is always
    there, so a token limit that is too small for the first observation and the last turn is exceeded.

    Actions, rewards, episode ends and all other members of the task are unchanged. Two keys of ``info`` are added:

    * ``current_observation`` (str): the task's own observation;
    * ``dialogue`` (tuple of str): the parts of the text in turn, observation, action, ..., observation. The actor
      ``endpoint`` sends them as the turns of a chat.

    A task without ``state_key`` has its observation as state key, and with this wrapper that is the dialogue. A task
    with a ``state_key`` keeps it; the actor may then act differently in states with the same key, because it reads how
    they were reached. Snapshots include the dialogue.

    Args:
        env: a text task (not an intervention env). If it has no exact snapshots, it is restored by replay.
        turns: at most this many of the last turns (at least 1); None: no limit.
        tokens: at most this many tokens, the sum over the parts of the dialogue; None: no limit.
        tokenizer: how tokens are counted: the path of a folder with ``tokenizer.json`` or of such a file, or a function
            that returns the tokens of a text (or their number); None: words, separated by white space.
        keep_first: whether the first observation stays when later turns are left out.

    Raises:
        InvalidArgumentError: an argument of the wrong type or out of range, or an env that is not a text task.
        CheckpointError: ``tokenizer`` is a path without a tokenizer that can be read.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import History
        >>> task = History(gym.make("selfreg/Coin-v0", heads=0.99), turns=1)
        >>> _ = task.reset(seed=0, options={"episode": 3})
        >>> _ = task.step("heads")
        >>> print(task.step("heads")[0])
        Coin 1 of 5 lies under the cup. Call it: heads or tails?
        [1 earlier turn is left out]
        > heads
        Coin 3 of 5 lies under the cup. Call it: heads or tails?
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        turns: int | None = None,
        tokens: int | None = None,
        tokenizer: str | os.PathLike[str] | Callable[[str], Any] | None = None,
        keep_first: bool = True,
    ) -> None:
        if isinstance(tokenizer, os.PathLike):
            tokenizer = os.fspath(tokenizer)  # plain values are part of a store's identity
        gym.utils.RecordConstructorArgs.__init__(
            self, turns=turns, tokens=tokens, tokenizer=tokenizer, keep_first=keep_first
        )
        _check_task(env)
        gym.Wrapper.__init__(self, with_snapshots(env))
        self.turns = None if turns is None else check_count("turns (of a history)", turns)
        self.tokens = None if tokens is None else check_count("tokens (of a history)", tokens)
        self.keep_first = check_flag("keep_first", keep_first)
        if tokenizer is not None and tokens is None:
            raise InvalidArgumentError(
                f"a tokenizer needs a limit of tokens, received tokenizer={shown(tokenizer)} and tokens=None: pass "
                "tokens=2000, for instance."
            )
        self._count = _counter(tokenizer) if tokens is not None else None
        self.observation_space = FreeText(_MAX_CHARACTERS)
        self._parts: list[str] = []  # observation, action, observation, ...
        self._sizes: list[int] = []  # tokens of the parts
        self._first_kept = 0  # index of the first turn that is shown

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset the task; the dialogue is its first observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._parts, self._sizes, self._first_kept = [], [], 0
        self._append(observation)
        return self._dialogue(observation, info)

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step the task, and add the action and the observation to the dialogue."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._append(_one_line(action))
        self._append(observation)
        text, info = self._dialogue(observation, info)
        return text, reward, terminated, truncated, info

    def snapshot(self) -> object:
        """The task's snapshot and the dialogue.

        Raises:
            NotResetError: no episode has begun.
        """
        if not self._parts:
            raise NotResetError("snapshot needs an episode: call reset() first.")
        return self.env.get_wrapper_attr("snapshot")(), (tuple(self._parts), tuple(self._sizes), self._first_kept)

    def restore(self, snapshot: Any) -> None:
        """Go back to a state that :meth:`snapshot` returned.

        Raises:
            InvalidArgumentError: ``snapshot`` was not returned by :meth:`snapshot`.
        """
        try:
            state, (parts, sizes, first_kept) = snapshot
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"restore takes a snapshot that this task returned, received {shown(snapshot)}."
            ) from None
        self.env.get_wrapper_attr("restore")(state)
        self._parts, self._sizes, self._first_kept = list(parts), list(sizes), first_kept

    def get_wrapper_attr(self, name: str) -> Any:
        """A member of this wrapper or of the task, except members that are about one observation of the task."""
        if name in _HIDDEN:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}: its observations are dialogues.")
        return super().get_wrapper_attr(name)

    def has_wrapper_attr(self, name: str) -> bool:
        """Whether :meth:`get_wrapper_attr` finds the member."""
        return name not in _HIDDEN and super().has_wrapper_attr(name)

    def _append(self, part: str) -> None:
        self._parts.append(part)
        if self._count is not None:
            self._sizes.append(self._count(part))

    def _dialogue(self, observation: str, info: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text of the dialogue, and the info with the two keys of this wrapper."""
        count = len(self._parts) // 2
        if self.turns is not None:
            self._first_kept = max(self._first_kept, count - self.turns)
        if self.tokens is not None:
            self._cut_to_tokens(count)
        left_out = self._first_kept
        dialogue = tuple(self._parts)
        if left_out:
            line = _left_out(left_out)
            first = f"{self._parts[0]}\n{line}" if self.keep_first else line
            dialogue = (first, *self._parts[1 + 2 * left_out :])
        return dialogue_text(dialogue), {**info, "current_observation": observation, "dialogue": dialogue}

    def _cut_to_tokens(self, count: int) -> None:
        """Leave out turns until the dialogue has at most ``tokens`` tokens, or only the last turn is left."""
        assert self.tokens is not None
        assert self._count is not None
        sizes, kept = self._sizes, self._first_kept
        first = sizes[0]
        later = sum(sizes[1 + 2 * kept :])
        while kept < count - 1:
            shown_first = first if self.keep_first or not kept else 0
            line = self._count(_left_out(kept)) if kept else 0
            if shown_first + line + later <= self.tokens:
                break
            later -= sizes[1 + 2 * kept] + sizes[2 + 2 * kept]
            kept += 1
        self._first_kept = kept


def dialogue_text(dialogue: Sequence[str]) -> str:
    """The text of a dialogue: observations, and between them the actions on lines that begin with ``>``."""
    return "\n".join([f"> {part}" if i % 2 else part for i, part in enumerate(dialogue)])


def with_history(task: gym.Env[str, str], history: Any) -> gym.Env[str, str]:
    """The task in a :class:`History`, as the task argument ``history`` says.

    Args:
        task: a text task.
        history: a number of turns, a dict of arguments of :class:`History`, or None for the task itself.

    Raises:
        InvalidArgumentError: another value.
        UnknownNameError: an argument that :class:`History` does not have.
    """
    if history is None:
        return task
    if isinstance(history, int | np.integer) and not isinstance(history, bool):
        return History(task, turns=int(history))
    if not isinstance(history, Mapping):
        raise InvalidArgumentError(
            "history must be a number of turns or the arguments of History, for instance {'turns': 8} or "
            f"{{'tokens': 2000}}, received {shown(history)}."
        )
    known = ("turns", "tokens", "tokenizer", "keep_first")
    for name in history:
        if name not in known:
            raise UnknownNameError("argument of History", name, known)
    return History(task, **history)


def _check_task(env: Any) -> None:
    if isinstance(env, gym.Env) and all(
        isinstance(space, gym.spaces.Text) for space in (env.observation_space, env.action_space)
    ):
        return
    received = f"{env} with the action space {env.action_space}" if isinstance(env, gym.Env) else type(env).__name__
    raise InvalidArgumentError(
        "History wraps a text task, whose observations and actions are text, inside the intervention env: "
        f"InterventionEnv(History(task, turns=8), ...). Received {received}."
    )


def _left_out(turns: int) -> str:
    return f"[{turns} earlier turn{' is' if turns == 1 else 's are'} left out]"


def _one_line(action: Any) -> str:
    """The action on one line, as it is repeated in the dialogue."""
    line = " ".join(str(action).split())
    return line if len(line) <= _LONGEST_ACTION else f"{line[:_LONGEST_ACTION]} ..."


def _counter(tokenizer: Any) -> Callable[[str], int]:
    """A function from a text to its number of tokens."""
    if tokenizer is None:
        return _words
    if isinstance(tokenizer, str | os.PathLike):
        return partial(_encoded, _load(Path(tokenizer)))
    if callable(tokenizer):
        return partial(_counted, tokenizer)
    raise InvalidArgumentError(
        f"tokenizer must be a path, a function of a text, or None (words), received {shown(tokenizer)}."
    )


def _words(text: str) -> int:
    return len(text.split())


def _encoded(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _counted(tokenizer: Callable[[str], Any], text: str) -> int:
    """The number of tokens by a function of the user, which returns the number, the tokens, or an encoding."""
    found = tokenizer(text)
    if isinstance(found, Mapping):
        found = found.get("input_ids")
    if isinstance(found, int | np.integer) and not isinstance(found, bool) and found >= 0:
        return int(found)
    if hasattr(found, "__len__"):
        return len(found)
    raise InvalidArgumentError(
        "the tokenizer of a history must return the tokens of a text, or their number, received "
        f"{shown(found)} of type {type(found).__name__}."
    )


def _load(path: Path) -> Any:
    """The tokenizer of a folder or file."""
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain exceptions
        raise CheckpointError(
            f"the tokenizer of a history must be a folder with tokenizer.json or such a file, received "
            f"{shown(str(path))}: {error}. Save it with tokenizer.save_pretrained(folder)."
        ) from error
