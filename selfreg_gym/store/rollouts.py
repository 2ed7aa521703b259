"""``Rollouts``: every episode that was collected, with everything that later stages need, in one file.

A store is written by :func:`selfreg_gym.collection.collect` (or by hand with :meth:`Rollouts.add`) and read by the
process reward model, the transition model and the labels. It keeps who acted at each step, what it cost, the help
probability of each episode and its outcome: targets under any continuation policy can be made from it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, StoreError, shown
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.store import reading, schema
from selfreg_gym.store.reading import Coded
from selfreg_gym.store.writing import Writer
from selfreg_gym.types import Episode

__all__ = ["Coded", "Failure", "Rollouts", "UnfinishedStoreWarning"]


class UnfinishedStoreWarning(UserWarning):
    """A store is used although not all of its planned episodes were played."""


class Failure(NamedTuple):
    """A failed attempt to play an episode.

    Attributes:
        spec: the episode.
        error: why the actor failed.
    """

    spec: EpisodeSpec
    error: str


class Rollouts:
    """A store of episodes in one SQLite file. Make one with :meth:`create` or :meth:`open`.

    Several processes may write and read at the same time. Each episode is one transaction: a killed writer loses at
    most the episode it was writing.

    >>> rollouts = Rollouts.open("runs/demo/rollouts.sqlite")       # doctest: +SKIP
    >>> for episode in rollouts.episodes(help_probability=0.0):     # doctest: +SKIP
    ...     print(episode.success, [step.action_text for step in episode])
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._writer = Writer(connection, path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, spec: dict[str, Any]) -> Rollouts:
        """Make an empty store.

        Args:
            path: the file to make; folders on the way are made too.
            spec: plain JSON values that say how the episodes come to be; under ``"env"`` the env's arguments, whose
                ``interventions`` name who ``action`` k is.

        Raises:
            StoreError: there is one already.
            InvalidArgumentError: ``spec`` is not plain JSON.
        """
        place = schema.check_path(path)
        return cls(place, schema.create(place, spec))

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, spec: dict[str, Any] | None = None, check: bool = True) -> Rollouts:
        """Open a store. One that is read-only can be read, exported and trained on, and refuses to be written.

        Args:
            path: the file.
            spec: if given, what the store must have been made for.
            check: verify the whole file first (about 0.2 s per 100 MB).

        Raises:
            StoreError: no such file, or it was made for another ``spec`` (the message names the difference).
            StoreVersionError: written in another format version.
            StoreDamagedError: not a database, not a rollout store, or damaged.
        """
        place = schema.check_path(path)
        rollouts = cls(place, schema.open_checked(place, check=check))
        if spec is not None:
            try:
                rollouts.require_spec(spec)
            except BaseException:
                rollouts.close()
                raise
        return rollouts

    def require_spec(self, spec: dict[str, Any]) -> None:
        """Refuse to be used for anything else than what the store was made for.

        Raises:
            StoreError: another spec; the message names each difference.
        """
        found = schema.differences(*schema.comparable(self.spec, json.loads(schema.spec_json(spec))))
        if found:
            hint = ""
            if any(line.startswith(("env.identity.attributes.", "env.identity.functions.")) for line in found):
                hint = (
                    " If an attribute changes nothing in what the actor does (a delay, a log), declare its name in the "
                    "class attribute `immaterial`, or begin the name with an underscore."
                )
            raise StoreError(
                f"{self.path} was made for something else; {'; '.join(found)}. Use another path, or the same settings."
                f"{hint}"
            )

    def close(self) -> None:
        """Close the file. SQLite then folds its write-ahead log into it, if no other connection is open."""
        with schema.explained(self.path):
            self._connection.close()

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path,)

    def __repr__(self) -> str:
        try:
            return f"Rollouts({str(self.path)!r}: {self.count()} of {self._number('plan')} episodes)"
        except StoreError:
            return f"Rollouts({str(self.path)!r}: closed or unreadable)"

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Episode]:
        return self.episodes()

    # ------------------------------------------------------------------ what there is

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What the store was made for."""
        return json.loads(self._rows("SELECT value FROM meta WHERE key = 'spec'")[0][0])

    @property
    def plan(self) -> list[EpisodeSpec]:
        """All planned episodes, in order."""
        return self._specs(f"SELECT {_PLAN} FROM plan ORDER BY run, episode")

    def missing(self) -> list[EpisodeSpec]:
        """The planned episodes that were not played yet, or only with an error."""
        return self._specs(f"SELECT {_PLAN} FROM plan p WHERE {_NOT_PLAYED} ORDER BY run, episode")

    @property
    def is_complete(self) -> bool:
        """Whether every planned episode was played (and there is at least one)."""
        unplayed = self._rows(f"SELECT EXISTS (SELECT 1 FROM plan p WHERE {_NOT_PLAYED})")[0][0]
        return not unplayed and self.count() > 0

    def require_complete(self, *, strict: bool = False) -> bool:
        """Warn if the collection is not complete; call it before training on the store.

        The episodes that end first are the short ones, so a part of a collection is not a fair sample: its
        success rate is too high where successes are short.

        Args:
            strict: raise instead of warn.

        Returns:
            Whether it is complete.

        Raises:
            StoreError: it is not, and ``strict``.
        """
        if self.is_complete:
            return True
        planned, failed = self._number("plan"), len(self.failures())
        message = (
            f"{self.path} holds {self.count()} of its {planned} planned episodes"
            + (f" ({failed} failed attempts)" if failed else "")
            + ". Those that end first are short, so results from this part are biased: run the same collection "
            "again to play the rest."
        )
        if strict:
            raise StoreError(message)
        warnings.warn(message, UnfinishedStoreWarning, stacklevel=2)
        return False

    def is_untouched(self) -> bool:
        """Whether nothing was played yet, not even with an error."""
        return not self.count() and not self._number("failures")

    def count(self) -> int:
        """How many episodes were played without an error."""
        return self._number("episodes")

    def transition_count(self) -> int:
        """How many transitions those episodes have."""
        return self._number("transitions")

    def failures(self) -> list[Failure]:
        """Failed attempts with their error, in order; an episode that succeeded later is still listed."""
        columns = ", ".join(f"p.{name}" for name in _PLAN.split(", "))
        query = (
            f"SELECT {columns}, f.error FROM failures f JOIN plan p USING (run, episode) "
            "ORDER BY p.run, p.episode, f.attempt"
        )
        return [Failure(EpisodeSpec(*row[:-1]), row[-1]) for row in self._rows(query)]

    def spending(self) -> list[dict[str, Any]]:
        """What acting took, by who acted: ``action, steps, cost, tokens, price``, one row per action that occurs.

        ``tokens`` and ``price`` add up what the actors and interventions counted themselves (a language model
        its tokens, an endpoint with prices their price); ``cost`` are the cost units that the problem charges.
        """
        return reading.spending(self.path)

    def summary(self) -> dict[str, Any]:
        """Counts, and success, usage (cost units per episode) and length by help probability."""
        rows = self._rows(
            "SELECT help_probability, count(*), avg(success), avg(cost), avg(length) "
            "FROM episodes GROUP BY 1 ORDER BY 1"
        )
        names = ("help_probability", "episodes", "success", "usage", "length")
        return {
            "episodes": self.count(),
            "planned": self._number("plan"),
            "transitions": self.transition_count(),
            "failures": self._number("failures"),
            "tasks": self._rows("SELECT count(DISTINCT task) FROM episodes")[0][0],
            "texts": self._number("texts"),
            "bytes": sum(f.stat().st_size for f in self.path.parent.glob(self.path.name + "*")),
            "by_help_probability": [dict(zip(names, row, strict=True)) for row in rows],
        }

    # ------------------------------------------------------------------ writing

    def fix_plan(self, plan: Iterable[EpisodeSpec]) -> None:
        """Write down all episodes of a run that are to be played. After this, no other episode is taken for that run.

        Raises:
            StoreError: the run has a plan already, or episodes.
            InvalidArgumentError: no episodes, or two with the same task, seed and help probability.
        """
        plan = list(plan)
        if len({(p.run, p.task_index, p.seed, p.help_probability) for p in plan}) < len(plan) or not plan:
            raise InvalidArgumentError(
                "a plan has at least one episode and no two with the same task, seed and help probability; "
                f"received {len(plan)} episodes."
            )
        with schema.explained(self.path), schema.transaction(self._connection):
            for run in sorted({p.run for p in plan}):
                if self._connection.execute("SELECT 1 FROM plan WHERE run = ? LIMIT 1", (run,)).fetchone():
                    raise StoreError(f"run {run} of {self.path} has its plan already; a plan is fixed once.")
                self._connection.execute("INSERT INTO meta VALUES (?, 'fixed')", (f"plan {run}",))
            rows = [(p.run, p.plan_index, p.task_index, p.seed, p.help_probability) for p in plan]
            self._connection.executemany("INSERT INTO plan VALUES (?, ?, ?, ?, ?)", rows)

    def add(self, episodes: Episode | Iterable[Episode], *, run: int = 0) -> int:
        """Store episodes, each in one transaction. One that is stored already is left alone.

        An episode is known by its task, seed and help probability. One with an ``error`` goes to the failures, and
        stays missing.

        Args:
            episodes: one or many; with ``steps`` complete.
            run: which collection they belong to.

        Returns:
            How many were new data.

        Raises:
            InvalidArgumentError: an invalid episode (rows after its end, costs that do not add up, ...).
            StoreError: the run has a plan, and the episode is not in it.
        """
        items = (episodes,) if isinstance(episodes, Episode) else episodes
        if not isinstance(items, Iterable):
            raise InvalidArgumentError(f"add takes an Episode or several of them, received {shown(episodes)}.")
        return sum(self._writer.add(episode, run) for episode in items)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, so that the file alone can be copied."""
        with schema.explained(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ------------------------------------------------------------------ reading

    def episodes(self, **where: Any) -> Iterator[Episode]:
        """Iterate over the episodes that were played without an error, in the order of the plan.

        Streams: only a few thousand transitions are in memory. Sees the store as it was when iteration began.

        Args:
            **where: which ones: any of ``help_probability, task, task_id, kind, success, seed, run``, each one value
                or a list of values.

        Raises:
            UnknownNameError: a filter that does not exist.
        """
        return reading.episodes(self.path, reading.condition(where))

    def columns(self, *names: str, **where: Any) -> dict[str, np.ndarray | Coded]:
        """The transitions as arrays of n rows in the order of :meth:`episodes`, for what is vectorised.

        Args:
            *names: of the episode: ``run, episode`` (place in the plan), ``task, seed, help_probability, task_id,
                kind, success, length``; of the transition: the fields of :class:`selfreg_gym.types.Transition`.
            **where: as in :meth:`episodes`.

        Returns:
            Numbers as (n,) int64 or float64 (a missing ``help_probability`` is NaN, a missing ``steps_left`` or
            ``tokens`` -1),
            booleans as (n,) bool, texts as :class:`Coded`. ``admissible_actions`` are JSON lists.

        Raises:
            UnknownNameError: a column or a filter that does not exist.
        """
        return reading.columns(self.path, names, reading.condition(where))

    # ------------------------------------------------------------------ elsewhere

    def to_parquet(self, path: str | os.PathLike[str], **where: Any) -> Path:
        """Write one Parquet file, a row per transition; see :func:`selfreg_gym.store.export.to_parquet`."""
        from selfreg_gym.store import export

        return export.to_parquet(self.episodes(**where), schema.check_path(path))

    def to_minari(self, dataset_id: str, **where: Any) -> Any:
        """Make a Minari dataset; see :func:`selfreg_gym.store.export.to_minari`."""
        from selfreg_gym.store import export

        return export.to_minari(self.spec, self.episodes(**where), dataset_id)

    def to_hf_dataset(self, **where: Any) -> Any:
        """Make a Hugging Face ``datasets.Dataset``; see :func:`selfreg_gym.store.export.to_hf_dataset`."""
        from selfreg_gym.store import export

        return export.to_hf_dataset(self.episodes(**where))

    def _specs(self, query: str) -> list[EpisodeSpec]:
        return [EpisodeSpec(*row) for row in self._rows(query)]

    def _number(self, table: str) -> int:
        return self._rows(f"SELECT count(*) FROM {table}")[0][0]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            StoreError: the store is closed, locked or unreadable.
        """
        with schema.explained(self.path):
            return self._connection.execute(query, values).fetchall()


_PLAN = "task, seed, help_probability, episode, run"  # in the order of EpisodeSpec
_NOT_PLAYED = "NOT EXISTS (SELECT 1 FROM episodes e WHERE e.run = p.run AND e.episode = p.episode)"


def _reopen(path: Path) -> Rollouts:
    return Rollouts.open(path, check=False)
