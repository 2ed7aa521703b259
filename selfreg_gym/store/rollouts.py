"""``Rollouts``: collected episodes in one SQLite file.

A store is written by :func:`selfreg_gym.collection.collect` or :meth:`Rollouts.add`, and read by the process reward
model, the transition model and the labels. It holds who acted at each step, the cost, the help probability and the
outcome of each episode; training targets for any continuation policy can be computed from these.
"""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.errors import InvalidArgumentError, StoreError, shown
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.store import export, reading, schema
from selfreg_gym.store.columns import Coded, Column
from selfreg_gym.store.ragged import Ragged
from selfreg_gym.store.reading import ProbabilitySummary, Spending, Summary
from selfreg_gym.store.writing import Writer
from selfreg_gym.types import Episode

__all__ = ["Coded", "Failure", "Ragged", "Rollouts", "UnfinishedStoreWarning"]


class UnfinishedStoreWarning(UserWarning):
    """A store is used before all of its planned episodes are played."""


class Failure(NamedTuple):
    """A failed attempt to play an episode, and the error of the actor."""

    spec: EpisodeSpec
    error: str


class Rollouts:
    """A store of episodes in one SQLite file, made by :meth:`create` or :meth:`open`.

    Several processes may write and read at the same time. Each episode is one transaction, so a killed writer loses at
    most the episode that it was writing.

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
        """Create an empty store.

        Args:
            path: the file; missing folders are created.
            spec: the settings of the collection in plain JSON values. Under ``"env"`` it has the arguments of the env;
                their ``interventions`` are the names of the actions 1 to K.

        Raises:
            StoreError: the file exists.
            InvalidArgumentError: ``spec`` is not plain JSON.
        """
        place = schema.check_path(path)
        return cls(place, schema.create(place, spec))

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, spec: dict[str, Any] | None = None, check: bool = True) -> Rollouts:
        """Open a store; a read-only file can be read but not written.

        Args:
            path: the file.
            spec: if given, the settings that the store must have.
            check: verify the whole file first (about 0.2 s per 100 MB).

        Raises:
            StoreError: no such file, or the store has another ``spec`` (the message has the differences).
            StoreVersionError: the file has another format version.
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
        """Check that the store was made with these settings.

        Raises:
            StoreError: another spec; the message has each difference.
        """
        found = schema.differences(*schema.comparable(self.spec, json.loads(schema.spec_json(spec))))
        if found:
            found.sort(key=lambda line: line.startswith("env.identity."))  # arguments first, then what depends on them
            hint = ""
            if found[0].startswith("env.identity.") and any(
                line.startswith(("env.identity.attributes.", "env.identity.functions.")) for line in found
            ):
                hint = (
                    " If an attribute does not affect the actions (a delay, a log), add its name to the class "
                    "attribute `immaterial`, or begin the name with an underscore."
                )
            raise StoreError(
                f"{self.path} was made with other settings; {'; '.join(found)}. Use another path or the same settings."
                f"{hint}"
            )

    def close(self) -> None:
        """Close the file. SQLite merges its write-ahead log into it if no other connection is open."""
        with schema.explained(self.path):
            self._connection.close()

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Rollouts.open, check=False), (self.path,)

    def __repr__(self) -> str:
        try:
            return f"Rollouts({str(self.path)!r}: {self.count()} of {self._number('plan')} episodes)"
        except StoreError:
            return f"Rollouts({str(self.path)!r}: closed or unreadable)"

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Episode]:
        return self.episodes()

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The settings of the collection."""
        return json.loads(self._rows("SELECT value FROM meta WHERE key = 'spec'")[0][0])

    @property
    def action_kinds(self) -> tuple[str, ...]:
        """The task's ``action_kinds`` (:mod:`selfreg_gym.optional_members`); empty if it declares none."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'action_kinds'")
        return tuple(json.loads(rows[0][0])) if rows else ()

    def set_action_kinds(self, kinds: Iterable[str]) -> None:
        """Record the task's ``action_kinds``, which readers of ``actor_logprobs`` need."""
        with schema.explained(self.path), schema.transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('action_kinds', ?)", (json.dumps(list(kinds)),)
            )

    @property
    def plan(self) -> list[EpisodeSpec]:
        """All planned episodes, in order."""
        return self._specs(f"SELECT {_PLAN} FROM plan ORDER BY run, episode")

    def missing(self) -> list[EpisodeSpec]:
        """The planned episodes that have not been played without an error."""
        return self._specs(f"SELECT {_PLAN} FROM plan p WHERE {_NOT_PLAYED} ORDER BY run, episode")

    @property
    def is_complete(self) -> bool:
        """Whether every planned episode has been played, and there is at least one."""
        unplayed = self._rows(f"SELECT EXISTS (SELECT 1 FROM plan p WHERE {_NOT_PLAYED})")[0][0]
        return not unplayed and self.count() > 0

    def require_complete(self, *, strict: bool = False) -> bool:
        """Warn if the collection is not complete; call it before training on the store.

        Short episodes end first, so an incomplete collection is a biased sample: its success rate is too high where
        successful episodes are short.

        Args:
            strict: raise instead of warn.

        Returns:
            Whether the collection is complete.

        Raises:
            StoreError: it is not complete, and ``strict``.
        """
        if self.is_complete:
            return True
        planned, failed = self._number("plan"), len(self.failures())
        message = (
            f"{self.path} holds {self.count()} of its {planned} planned episodes"
            + (f" ({failed} failed attempts)" if failed else "")
            + ". Short episodes end first, so results from these are biased: run the same collection again to play "
            "the remaining ones."
        )
        if strict:
            raise StoreError(message)
        warnings.warn(message, UnfinishedStoreWarning, stacklevel=2)
        return False

    def is_untouched(self) -> bool:
        """Whether no episode has been played, not even with an error."""
        return not self.count() and not self._number("failures")

    def count(self) -> int:
        """Number of episodes that were played without an error."""
        return self._number("episodes")

    def transition_count(self) -> int:
        """Number of transitions of these episodes."""
        return self._number("transitions")

    def failures(self) -> list[Failure]:
        """All failed attempts in the order of the plan, also those of episodes that were played later."""
        columns = ", ".join(f"p.{name}" for name in _PLAN.split(", "))
        query = (
            f"SELECT {columns}, f.error FROM failures f JOIN plan p USING (run, episode) "
            "ORDER BY p.run, p.episode, f.attempt"
        )
        return [Failure(EpisodeSpec(*row[:-1]), row[-1]) for row in self._rows(query)]

    def spending(self) -> list[Spending]:
        """Steps, cost, tokens and reported cost of each action that occurs, in the order of the actions."""
        return reading.spending(self.path)

    def summary(self) -> Summary:
        """Counts, and statistics by help probability."""
        rows = self._rows(
            "SELECT help_probability, count(*), avg(success), avg(cost), avg(length) "
            "FROM episodes GROUP BY 1 ORDER BY 1"
        )
        return Summary(
            episodes=self.count(),
            planned=self._number("plan"),
            transitions=self.transition_count(),
            failures=self._number("failures"),
            tasks=self._rows("SELECT count(DISTINCT task) FROM episodes")[0][0],
            texts=self._number("texts"),
            bytes=sum(f.stat().st_size for f in self.path.parent.glob(self.path.name + "*")),
            by_help_probability=[ProbabilitySummary(*row) for row in rows],
        )

    def fix_plan(self, plan: Iterable[EpisodeSpec]) -> None:
        """Store the plan of a run: all episodes to play. The run then accepts no other episodes.

        Raises:
            StoreError: the run has a plan or episodes.
            InvalidArgumentError: no episodes, an episode without a plan index, or two with the same task, seed and help
                probability.
        """
        plan = list(plan)
        if not plan or len({(p.run, p.task_index, p.seed, p.help_probability) for p in plan}) < len(plan):
            raise InvalidArgumentError(
                "a plan must have at least one episode and no two with the same task, seed and help probability; "
                f"received {len(plan)} episodes."
            )
        if any(p.plan_index is None for p in plan):
            raise InvalidArgumentError(
                "each episode of a plan needs a plan_index, received an EpisodeSpec without one."
            )
        with schema.explained(self.path), schema.transaction(self._connection):
            for run in sorted({p.run for p in plan}):
                if self._connection.execute("SELECT 1 FROM plan WHERE run = ? LIMIT 1", (run,)).fetchone():
                    raise StoreError(f"run {run} of {self.path} already has a plan, which cannot be changed.")
                self._connection.execute("INSERT INTO meta VALUES (?, 'fixed')", (f"plan {run}",))
            rows = [(p.run, p.plan_index, p.task_index, p.seed, p.help_probability) for p in plan]
            self._connection.executemany("INSERT INTO plan VALUES (?, ?, ?, ?, ?)", rows)

    def add(self, episodes: Episode | Iterable[Episode], *, run: int = 0) -> int:
        """Store episodes, each in one transaction; episodes that are already stored are skipped.

        An episode is identified by its task, seed and help probability. An episode with an ``error`` is added to the
        failures and stays missing.

        Args:
            episodes: one or several, with all of their ``steps``.
            run: number of the collection that they belong to.

        Returns:
            The number of new episodes.

        Raises:
            InvalidArgumentError: an invalid episode (steps after its end, costs with another sum, ...).
            StoreError: the run has a plan, and the episode is not in it.
        """
        items = (episodes,) if isinstance(episodes, Episode) else episodes
        if not isinstance(items, Iterable):
            raise InvalidArgumentError(f"add takes an Episode or several of them, received {shown(episodes)}.")
        return sum(self._writer.add(episode, run) for episode in items)

    def checkpoint(self) -> None:
        """Merge the write-ahead log into the file, so that the file alone can be copied."""
        with schema.explained(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def episodes(self, **where: Any) -> Iterator[Episode]:
        """Iterate over the episodes that were played without an error, in the order of the plan.

        Episodes are streamed: only a few thousand transitions are in memory. Episodes that are added after the start
        of the iteration are not included.

        Args:
            **where: filters, each a value or a list of values: ``help_probability, task, task_id, kind, success, seed,
                run``.

        Raises:
            InvalidArgumentError: a help probability that is not in [0, 1].
            UnknownNameError: a filter does not exist.
            StoreDamagedError: steps of an episode are missing.
        """
        return reading.episodes(self.path, reading.condition(where))

    def columns(self, *names: str, decisions: bool = False, **where: Any) -> dict[str, Column]:
        """The n transitions of :meth:`episodes`, in the same order, as one array per column.

        Args:
            *names: columns of the episode: ``run, episode`` (index in the plan), ``task, seed, help_probability,
                task_id, kind, success, length``; of the transition: ``t, observation, admissible_actions, state_key,
                feature_key, steps_left, action, action_text, cost, reward, terminated, truncated, invalid, tokens,
                price, actor_logprobs, feature_vector, propensities, continuation``
                (:class:`selfreg_gym.types.Transition`; ``price`` is its ``reported_cost``).
            decisions: one row per decision instead of one per step: all steps of a call are one row
                (:func:`selfreg_gym.episodes.merged_calls`).
            **where: as in :meth:`episodes`.

        Returns:
            Numbers as int64 or float64 ``(n,)`` (a missing float is NaN, a missing integer -1), booleans as bool
            ``(n,)``, texts as :class:`Coded`; ``admissible_actions`` as JSON lists; ``actor_logprobs`` and
            ``propensities`` as :class:`Ragged`; ``feature_vector`` as float32 ``(n, d)``, d = 0 if the task reports
            none.

        Raises:
            InvalidArgumentError: no columns, or a help probability that is not in [0, 1].
            UnknownNameError: a column or a filter does not exist.
            StoreDamagedError: feature vectors have different lengths.
        """
        return reading.columns(self.path, names, reading.condition(where), decisions=decisions)

    def to_parquet(self, path: str | os.PathLike[str], **where: Any) -> Path:
        """Write a Parquet file with one row per transition; see :func:`selfreg_gym.store.export.to_parquet`."""
        return export.to_parquet(self.episodes(**where), schema.check_path(path))

    def to_minari(self, dataset_id: str, **where: Any) -> Any:
        """Make a Minari dataset; see :func:`selfreg_gym.store.export.to_minari`."""
        return export.to_minari(self.spec, self.episodes(**where), dataset_id)

    def to_hf_dataset(self, **where: Any) -> Any:
        """Make a Hugging Face ``datasets.Dataset``; see :func:`selfreg_gym.store.export.to_hf_dataset`."""
        return export.to_hf_dataset(self.episodes(**where))

    def _specs(self, query: str) -> list[EpisodeSpec]:
        return [EpisodeSpec(*row) for row in self._rows(query)]

    def _number(self, table: str) -> int:
        return self._rows(f"SELECT count(*) FROM {table}")[0][0]

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The result of a query; a ``StoreError`` if the store is closed, locked or unreadable."""
        with schema.explained(self.path):
            return self._connection.execute(query, values).fetchall()


_PLAN = "task, seed, help_probability, episode, run"  # in the order of EpisodeSpec
_NOT_PLAYED = "NOT EXISTS (SELECT 1 FROM episodes e WHERE e.run = p.run AND e.episode = p.episode)"
