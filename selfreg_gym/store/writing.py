"""Writing episodes: one transaction per episode, each distinct text once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, StoreError, shown
from selfreg_gym.store.ragged import to_blob
from selfreg_gym.store.schema import explained, transaction, upgrade
from selfreg_gym.store.texts import loaded, stored
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import repaired

__all__ = ["Writer"]

_CACHED_CHARACTERS = 50_000_000  # of texts whose ids are remembered


class Writer:
    """Adds episodes to an open store; ``path`` is its name in messages. Several processes may write to one file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._text_ids: dict[str, int] = {}
        self._characters = 0  # of the texts in it

    def add(self, episode: Episode, run: int) -> bool:
        """Store one episode and return whether it is new; see :meth:`selfreg_gym.store.rollouts.Rollouts.add`."""
        if not isinstance(episode, Episode) or episode.error is None:
            _check_episode(episode)
        identity = (run, episode.task_index, episode.seed)
        new_texts: dict[str, int] = {}
        with explained(self._path), transaction(self._connection):
            index = self._index(identity, episode.help_probability)
            key = (run, index)
            if self._connection.execute("SELECT 1 FROM episodes WHERE run = ? AND episode = ?", key).fetchone():
                return False
            if episode.error is not None:
                self._connection.execute(
                    "INSERT INTO failures SELECT ?1, ?2, count(*), ?3 FROM failures WHERE run = ?1 AND episode = ?2",
                    (*key, repaired(episode.error)),
                )
                return False
            upgrade(self._connection)
            self._connection.execute(
                "INSERT INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, episode.task_index, episode.seed, episode.help_probability, repaired(episode.task_id),
                 repaired(episode.kind), int(episode.success), len(episode.steps), episode.cost,
                 dumps([float(u) for u in episode.usage]),
                 dumps(_metrics(episode.metrics))),
            )  # fmt: skip
            self._connection.executemany(
                f"INSERT INTO transitions VALUES ({', '.join('?' * 21)})",
                [(*key, *self._row(step, new_texts)) for step in episode.steps],
            )
        if self._characters > _CACHED_CHARACTERS:
            self._text_ids.clear()
            self._characters = 0
        self._text_ids.update(new_texts)  # after the commit: a transaction that is rolled back stores no text
        self._characters += sum(map(len, new_texts))
        return True

    def _row(self, s: Transition, new: dict[str, int]) -> tuple[Any, ...]:
        """The values of a transition, with ids in place of texts."""
        offered = None if s.admissible_actions is None else _actions_json(s.admissible_actions)
        texts = (s.observation, offered, s.state_key, s.feature_key, s.action_text)
        observation, actions, state, feature, action_text = (
            None if x is None else self._text_id(x, new) for x in texts
        )
        left, tokens = (None if x is None else int(x) for x in (s.steps_left, s.tokens))
        reported = None if s.reported_cost is None else float(s.reported_cost)
        flags = int(s.terminated), int(s.truncated), int(s.invalid)
        acted = int(s.action), action_text, float(s.cost), float(s.reward)
        lists = to_blob(s.actor_logprobs), to_blob(s.feature_vector), to_blob(s.propensities)
        numbers = left, *acted, *flags, tokens, reported, *lists, int(s.continuation)
        return s.t, observation, actions, state, feature, *numbers

    def _index(self, identity: tuple[int, int, int], probability: float | None) -> int:
        """The index of an episode in the plan; an episode of a run without a fixed plan is appended."""
        execute = self._connection.execute
        where = "run = ? AND task = ? AND seed = ? AND help_probability IS ?"
        row = execute(f"SELECT episode FROM plan WHERE {where}", (*identity, probability)).fetchone()
        if row:
            return row[0]
        run, task, seed = identity
        if execute("SELECT 1 FROM meta WHERE key = ?", (f"plan {run}",)).fetchone():
            raise StoreError(
                f"the episode with task {task}, seed {seed}, help_probability {probability} is not in the plan of run "
                f"{run} of {self._path}. Use another run number for other episodes."
            )
        index = execute("SELECT coalesce(max(episode) + 1, 0) FROM plan WHERE run = ?", (run,)).fetchone()[0]
        execute("INSERT INTO plan VALUES (?, ?, ?, ?, ?)", (run, index, task, seed, probability))
        return index

    def _text_id(self, text: str, new: dict[str, int]) -> int:
        """The id of a text; a new text is stored."""
        known = self._text_ids.get(text) or new.get(text)
        if known:
            return known
        clean = repaired(text)
        digest = int.from_bytes(blake2b(clean.encode(), digest_size=8).digest(), "big", signed=True)
        for row in self._connection.execute("SELECT id, text FROM texts WHERE hash = ?", (digest,)):
            if loaded(row[1]) == clean:  # two texts may have the same hash
                new[text] = row[0]
                return row[0]
        made = self._connection.execute(
            "INSERT INTO texts (hash, text) VALUES (?, ?)", (digest, stored(clean))
        ).lastrowid
        assert made is not None
        new[text] = made
        return made


def _actions_json(actions: Sequence[str]) -> str:
    """The actions as a JSON list of texts that can be stored."""
    try:
        "".join(actions).encode()  # all of them at once: usually none needs a repair
    except UnicodeEncodeError:
        actions = [repaired(action) for action in actions]
    return json.dumps(actions)


def _check_episode(episode: Episode) -> None:
    """Raise the first problem of an episode that is incomplete or has a number or text that cannot be stored."""
    if not isinstance(episode, Episode):
        raise InvalidArgumentError(f"a store takes selfreg_gym.Episode objects, received {shown(episode)}.")
    try:
        problem = _problem(episode)
    except (TypeError, ValueError, AttributeError) as error:  # a field of another type
        problem = f"a field has a wrong type ({error}); see selfreg_gym.Episode and Transition for the types"
    if problem:
        where = f"task {episode.task_index}, seed {episode.seed}"
        count = len(episode.steps) if hasattr(episode.steps, "__len__") else "no"
        raise InvalidArgumentError(f"invalid episode: {problem}. Received {where}, {count} steps.")


def _problem(episode: Episode) -> str | None:
    """The first problem of an episode, or None."""
    steps = episode.steps
    last = len(steps) - 1
    problem = None
    if not steps:
        problem = "it has no steps"
    elif [s.t for s in steps] != list(range(len(steps))):
        problem = "its steps are not numbered 0, 1, 2, ..."
    elif any((s.terminated or s.truncated) != (i == last) for i, s in enumerate(steps)):
        problem = "it must end at its last step and not before (steps after the end are not transitions)"
    elif not all(0 <= s.action <= len(episode.usage) for s in steps[:-1]):
        problem = f"an action is outside 0 .. {len(episode.usage)} (usage has one value per intervention)"
    elif not 0 <= steps[-1].action <= len(episode.usage) + 1 or (episode.aborted and _spent_or_won(episode)):
        problem = (
            f"its last action is outside 0 .. {len(episode.usage) + 1}, or it is the last of these (abort) and has a "
            "cost or success"
        )
    elif any(_misplaced(before, step) for before, step in zip((None, *steps), steps, strict=False)):
        problem = "a continuation must follow a step with the same call of help"
    elif not all(math.isfinite(x) for s in steps for x in (s.cost, s.reward, s.reported_cost or 0)):
        problem = "a cost, a reported cost or a reward is not finite"
    elif abs(sum(s.cost for s in steps) - episode.cost) > 1e-9 * max(1.0, abs(episode.cost)):
        problem = f"its steps cost {sum(s.cost for s in steps)!r}, but its usage is {episode.cost!r}"
    elif not (0 <= episode.seed < 2**63 and 0 <= episode.task_index < 2**63):
        problem = "its seed and its task index must be in 0 .. 2**63 - 1"
    elif not all(0 <= number < 2**63 for s in steps for number in (s.steps_left or 0, s.tokens or 0)):
        problem = "steps_left and tokens must be in 0 .. 2**63 - 1"
    else:
        problem = next((found for step in steps if (found := _text_problem(step) or _list_problem(step))), None)
        problem = problem or next((found for step in steps if (found := _propensity_problem(step, episode))), None)
    return problem


def _spent_or_won(episode: Episode) -> bool:
    return episode.success or episode.steps[-1].cost != 0


def _misplaced(before: Transition | None, step: Transition) -> bool:
    """Whether a step is marked as the continuation of a call that is not the one before it."""
    return step.continuation and (before is None or step.action == 0 or before.action != step.action)


def _list_problem(step: Transition) -> str | None:
    """The problem with a list of numbers of a transition, or None."""
    logprobs, offered = step.actor_logprobs, step.admissible_actions
    if logprobs is not None:
        rule = "actor_logprobs must be one log-probability (at most 0) per admissible action, or None"
        if offered is not None and len(logprobs) != len(offered):
            return f"{rule}, received {len(logprobs)} for {len(offered)} actions"
        if not all(number <= 1e-6 for number in logprobs):  # False for NaN
            return f"{rule}, received {shown(logprobs)}"
    if step.feature_vector is not None and not all(map(math.isfinite, step.feature_vector)):
        return f"feature_vector must have finite numbers, received {shown(step.feature_vector)}"
    return None


def _propensity_problem(step: Transition, episode: Episode) -> str | None:
    """The problem with the probabilities of a transition's actions, or None."""
    chances = step.propensities
    if chances is None:
        return None
    rule = "propensities must be the probabilities of all actions, with that of the taken action above 0, or None"
    count = len(chances) - 1 - len(episode.usage)  # 1 if the env has the action K + 1
    if count not in (0, 1) or not all(0 <= chance <= 1 for chance in chances):
        return f"{rule}, received {shown(chances)}"
    if abs(sum(chances) - 1) > 1e-5 or step.action >= len(chances) or not chances[step.action]:
        return f"{rule}, received {shown(chances)} for action {step.action}"
    return None


def _text_problem(step: Transition) -> str | None:
    """The problem with a text of a transition, or None."""
    texts = (step.observation, step.state_key, step.action_text, "" if step.feature_key is None else step.feature_key)
    actions = () if step.admissible_actions is None else step.admissible_actions
    try:
        "".join(texts)  # the fastest check that all are str
    except TypeError:
        return "observation, state_key, action_text and feature_key (or None) must be str"
    try:
        if isinstance(actions, tuple | list):
            "".join(actions)
            return None
    except TypeError:
        pass
    return f"admissible_actions must be a tuple of str or None, received {shown(actions)}"


def _metrics(metrics: Any) -> dict[str, float | None]:
    """Metrics with None for values that were not measured."""
    try:
        return {repaired(name): None if x is None else float(x) for name, x in metrics.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(
            f"an episode's metrics must be a dict of numbers (None or NaN: not measured), received {shown(metrics)}."
        ) from None
