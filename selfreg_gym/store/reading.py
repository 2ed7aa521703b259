"""Reading episodes: streamed with their texts, or as columns of arrays."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, StoreDamagedError
from selfreg_gym.store.columns import Coded, Column, merged_columns
from selfreg_gym.store.ragged import Ragged, from_blob
from selfreg_gym.store.schema import ADDED_COLUMNS, reading
from selfreg_gym.store.texts import loaded
from selfreg_gym.types import Episode, Transition
from selfreg_gym.utils.arguments import check_name, check_number

__all__ = [
    "ProbabilitySummary",
    "Spending",
    "Summary",
    "columns",
    "condition",
    "episodes",
    "spending",
]

_CACHED_CHARACTERS = 50_000_000  # of texts that are kept for the next transitions
_CHUNK = 4096
_EPISODE = "e.task, e.seed, e.task_id, e.kind, e.help_probability, e.success, e.usage, e.metrics, e.length"
_TRANSITION = (
    "r.t, r.observation, r.admissible_actions, r.state_key, r.feature_key, r.steps_left, r.action, r.action_text, "
    "r.cost, r.reward, r.terminated, r.truncated, r.invalid, r.tokens, r.price, r.actor_logprobs, r.feature_vector, "
    "r.propensities, r.continuation"
)
_FILTERS = ("help_probability", "kind", "run", "seed", "success", "task", "task_id")
_COLUMNS = {  # name: (expression, kind)
    **{name: (f"e.{name}", "int") for name in ("run", "episode", "task", "seed", "length")},
    **{name: (f"r.{name}", "int") for name in ("t", "steps_left", "action", "tokens")},
    **{name: (f"r.{name}", "float") for name in ("cost", "reward", "price")},
    **{name: (f"r.{name}", "bool") for name in ("terminated", "truncated", "invalid", "continuation")},
    **{name: (f"e.{name}", "word") for name in ("task_id", "kind")},
    **{name: (f"r.{name}", "text") for name in ("observation", "admissible_actions", "state_key", "feature_key")},
    "action_text": ("r.action_text", "text"),
    "help_probability": ("e.help_probability", "float"),
    "success": ("e.success", "bool"),
    "actor_logprobs": ("r.actor_logprobs", "ragged"),
    "feature_vector": ("r.feature_vector", "matrix"),
    "propensities": ("r.propensities", "ragged"),
}
_OPTIONAL = ("steps_left", "tokens")  # integers that may be missing


class Spending(NamedTuple):
    """Sums over the transitions with one action: cost units charged by the env, and reported by the calls."""

    action: int
    steps: int
    cost: float
    tokens: int
    reported_cost: float


class ProbabilitySummary(NamedTuple):
    """Episodes with one help probability: their number, success rate, mean usage (cost units) and mean length."""

    help_probability: float | None
    episodes: int
    success: float
    usage: float
    length: float


class Summary(NamedTuple):
    """Counts of a store, its size in bytes, and statistics in the order of the help probabilities."""

    episodes: int
    planned: int
    transitions: int
    failures: int
    tasks: int
    texts: int
    bytes: int
    by_help_probability: list[ProbabilitySummary]


def episodes(path: Path, where: tuple[str, list[Any]]) -> Iterator[Episode]:
    """Stream the episodes that meet ``where`` (of :func:`condition`) in the order of the plan."""
    test, values = where
    with reading(path) as connection:
        steps = _Texts(connection).transitions(_joined(connection, _TRANSITION, where))
        rows = connection.execute(f"SELECT {_EPISODE} FROM episodes e WHERE {test} ORDER BY e.run, e.episode", values)
        for task, seed, task_id, kind, probability, success, usage, metrics, length in rows:
            own = tuple(islice(steps, length))
            if len(own) != length:
                raise StoreDamagedError(f"{path}: an episode of {length} steps has only {len(own)}.")
            yield Episode(
                task_index=task,
                seed=seed,
                task_id=task_id,
                kind=kind,
                help_probability=probability,
                success=bool(success),
                usage=tuple(json.loads(usage)),
                steps=own,
                metrics={name: math.nan if x is None else x for name, x in json.loads(metrics).items()},
            )


def columns(
    path: Path, names: Sequence[str], where: tuple[str, list[Any]], *, decisions: bool = False
) -> dict[str, Column]:
    """The transitions that meet ``where``, one array per name; :meth:`selfreg_gym.store.rollouts.Rollouts.columns`."""
    if not names:
        raise InvalidArgumentError(
            f"columns needs at least one name, received none. Known: {', '.join(sorted(_COLUMNS))}."
        )
    for name in names:
        check_name("column", name, _COLUMNS)
    if decisions:
        read = columns(path, [*dict.fromkeys((*names, "continuation"))], where)
        merged = merged_columns(read, ~np.asarray(read["continuation"]))
        return {name: merged[name] for name in names}
    selected = ", ".join(_COLUMNS[name][0] for name in names)
    with reading(path) as connection:
        rows = _joined(connection, selected, where).fetchall()
        parts = list(zip(*rows, strict=True)) or [()] * len(names)
        return {name: _array(name, part, connection) for name, part in zip(names, parts, strict=True)}


def condition(where: dict[str, Any]) -> tuple[str, list[Any]]:
    """An SQL condition for filters on episodes, and its values.

    Raises:
        UnknownNameError: another filter.
        InvalidArgumentError: a help probability that is not in [0, 1].
    """
    parts, values = ["1"], []
    for name, wanted in where.items():
        check_name("filter", name, _FILTERS)
        several = list(wanted) if isinstance(wanted, (list, tuple, set, range, np.ndarray)) else [wanted]
        several = [x.item() if isinstance(x, np.generic) else x for x in several]
        if name == "help_probability":  # compared up to rounding: 3 * 0.1 is not 0.3
            tests = ["e.help_probability IS NULL" if x is None else f"abs(e.{name} - ?) < 1e-9" for x in several]
            values += [check_number("the filter help_probability", x, low=0, high=1) for x in several if x is not None]
        else:
            tests = [f"e.{name} = ?"] * len(several)
            values += several
        parts.append(f"({' OR '.join(tests) or '0'})")
    return " AND ".join(parts), values


def _joined(connection: sqlite3.Connection, selected: str, where: tuple[str, list[Any]]) -> sqlite3.Cursor:
    """Transitions joined with their episode. CROSS JOIN fixes the order of the loops, so nothing is sorted."""
    return connection.execute(
        f"SELECT {_present(connection, selected)} FROM episodes e CROSS JOIN transitions r USING (run, episode) "
        f"WHERE {where[0]} ORDER BY e.run, e.episode, r.t",
        where[1],
    )


def spending(path: Path) -> list[Spending]:
    """See :meth:`selfreg_gym.store.rollouts.Rollouts.spending`."""
    with reading(path) as connection:
        sums = _present(connection, "total(r.cost), total(r.tokens), total(r.price)")
        rows = connection.execute(f"SELECT action, count(*), {sums} FROM transitions r GROUP BY 1 ORDER BY 1")
        return [Spending(action, steps, cost, int(tokens), price) for action, steps, cost, tokens, price in rows]


def _present(connection: sqlite3.Connection, selected: str) -> str:
    """The columns to select; those that a store of an earlier format does not have are NULL."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for added, declarations in ADDED_COLUMNS.items():
        for declaration in declarations if added > version else ():
            selected = selected.replace(f"r.{declaration.split()[0]}", "NULL")
    return selected


class _Texts:
    """Fetches the texts of transitions in chunks; transitions with the same text share one string object."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.known: dict[Any, Any] = {None: None}
        self.lists: dict[Any, tuple[str, ...] | None] = {None: None}
        self.characters = 0

    def transitions(self, rows: sqlite3.Cursor) -> Iterator[Transition]:
        """Make transitions from rows with the columns ``_TRANSITION``, a few thousand at a time."""
        while chunk := rows.fetchmany(_CHUNK):
            if self.characters > _CACHED_CHARACTERS:
                self.known, self.lists, self.characters = {None: None}, {None: None}, 0
            self.load({row[i] for row in chunk for i in (1, 2, 3, 4, 7)} - self.known.keys())
            known, lists = self.known, self.lists
            for row in chunk:
                t, observation, actions, key, feature, left, action, text, cost, reward, end, cut, invalid, *more = row
                tokens, reported, logprobs, vector, chances, continues = more
                if actions not in lists:
                    lists[actions] = tuple(json.loads(known[actions]))
                yield Transition(
                    t, known[observation], lists[actions], known[key], known[feature], left, action, known[text],
                    cost, reward, bool(end), bool(cut), bool(invalid), tokens, reported, from_blob(logprobs),
                    from_blob(vector), continuation=bool(continues), propensities=from_blob(chances),
                )  # fmt: skip

    def load(self, ids: set[Any]) -> None:
        """Fetch the texts with these ids."""
        query = "SELECT id, text FROM texts WHERE id IN (SELECT value FROM json_each(?))"
        for number, value in self.connection.execute(query, (json.dumps(sorted(ids)),)):
            text = self.known[number] = loaded(value)
            self.characters += len(text)


def _array(name: str, part: Sequence[Any], connection: sqlite3.Connection) -> Column:
    """One column. A missing number is -1 (int) or NaN (float), a missing text has the code -1."""
    kind = _COLUMNS[name][1]
    if kind == "int":
        return np.array([-1 if x is None else x for x in part] if name in _OPTIONAL else part, np.int64)
    if kind == "float":
        return np.array([np.nan if x is None else x for x in part], np.float64)
    if kind == "bool":
        return np.array(part, bool)
    if kind == "word":
        return Coded.of(part)
    if kind in ("ragged", "matrix"):
        lists = Ragged.from_blobs(part)
        return lists if kind == "ragged" else lists.matrix()
    ids, first, codes = np.unique(
        np.array([-1 if x is None else x for x in part], np.int64), return_index=True, return_inverse=True
    )
    missing = int(ids.size > 0 and ids[0] == -1)  # sorts first
    # The order of ids is that in which texts were written, which depends on batches and workers.
    order = np.argsort(first[missing:])
    place = np.full(len(ids), -1, np.int64)
    place[missing + order] = np.arange(len(order))
    texts = _Texts(connection)
    texts.load(set(ids[missing:].tolist()))
    return Coded(place[codes.reshape(-1)], [texts.known[i] for i in ids[missing + order].tolist()])
