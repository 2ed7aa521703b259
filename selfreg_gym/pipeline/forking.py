"""Forks of a run: continue decisions of its store, and compare the value of help with the gains of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, RunDirectoryError
from selfreg_gym.forks import Forks, ForkState, choose_rows, fork, stored_states
from selfreg_gym.forks.gains import GainCheck, check_gains, table_gains
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.pipeline.candidates import build_helper
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.solver import Frontier
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.utils.arguments import check_name, check_number
from selfreg_gym.utils.printable import file_name

__all__ = ["CHOICES", "RunForks", "fork_run"]

CHOICES = ("random", "decisive", "gain")
"""How states are chosen: any decision; those with a gain of at least ``least``; those with the largest gains."""

_COLUMNS = ("state_key", "feature_key", "steps_left", "continuation")


@dataclass(frozen=True)
class RunForks:
    """Forks of a run.

    Attributes:
        forks: the continuations.
        gains: ``(S,)`` gain in success of the best intervention by the run's table at the budget; None without one.
        check: the gains of the first intervention against the forks; None without a table, or with few states.
        path: the JSON file; the CSV file has the same name.
    """

    forks: Forks
    gains: np.ndarray | None
    check: GainCheck | None
    path: Path


def fork_run(
    run: Run,
    *,
    states: int = 40,
    by: str = "random",
    least: float = 0.1,
    budget: float | None = None,
    then: str | None = None,
    first_actions: Sequence[Sequence[int]] | None = None,
    repetitions: int = 32,
    seed: int = 0,
    workers: int | None = None,
    path: Path | None = None,
) -> RunForks:
    """Fork decisions of a run's store, and write ``forks/NAME.json`` and ``.csv`` in its directory.

    Args:
        run: a run with rollouts; choices by gain need its table (``transitions.npz`` and ``solution.npz``).
        states: number of states.
        by: one of :data:`CHOICES`.
        least: least gain of a decisive state.
        budget: C, the point of the table's frontier whose gains are compared; default: that of ``then``, or the first
            of ``evaluate.budgets``.
        then: the helper that is followed, as ``NAME`` or ``NAME@BUDGET``; None is nohelp.
        first_actions, repetitions, seed: of :func:`selfreg_gym.fork`.
        workers: processes; None: as the evaluation.
        path: the JSON file.

    Raises:
        UnknownNameError: an unknown choice or helper.
        RunDirectoryError: the run has no rollouts, or no table for a choice by gain.
    """
    check_name("choice of states", by, CHOICES)
    key = None if then is None else HelperKey.parse(then)
    helper = None if key is None else _helper(run, key)
    if budget is None:
        budget = key.budget if key is not None and key.budget is not None else run.config.evaluate.budgets[0]
    budget = check_number("a budget C (cost units per episode)", budget)
    store = run.path / "rollouts.sqlite"
    if not store.exists():
        raise RunDirectoryError(
            f"forks continue stored episodes, and {run.path} has no rollouts.sqlite: collect first."
        )
    policy = _table(run, budget)
    if policy is None and by != "random":
        raise RunDirectoryError(
            f"the choice {by!r} needs the gains of a table, and {run.path} has no solution.npz: solve first, or choose "
            "'random'."
        )
    with Rollouts.open(store) as rollouts:
        columns: dict[str, Any] = rollouts.columns(*_COLUMNS)
        gain = None if policy is None or by == "random" else _best(table_gains(policy, _all(columns))[0])
        rows = choose_rows(
            columns, states, seed=seed, gain=gain, least=least if by == "decisive" else None, largest=by == "gain"
        )
        chosen = stored_states(rollouts, rows)
    name = f"{by}-{file_name(then or 'nohelp')}" if path is None else path.stem
    path = run.path / "forks" / f"{name}.json" if path is None else path
    unfinished = path.with_name(f".{path.stem}.unfinished.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    forks = fork(
        run.env_kwargs(), chosen, first_actions=first_actions, then=helper, repetitions=repetitions, seed=seed,
        num_envs=run.config.evaluate.num_envs, workers=run.config.evaluate.workers if workers is None else workers,
        resume=unfinished, progress=run.progress,
    )  # fmt: skip
    forks.save(path)
    forks.to_csv(path.with_suffix(".csv"))
    unfinished.unlink(missing_ok=True)
    if policy is None:
        return RunForks(forks, None, None, path)
    gains = table_gains(policy, chosen)[0]
    check = None
    if {(0,), (1,)} <= set(forks.first_actions):
        try:
            check = check_gains(forks, gains[:, 0])
        except InvalidArgumentError:  # too few states that the table knows
            check = None
    return RunForks(forks, _best(gains), check, path)


def _helper(run: Run, key: HelperKey) -> Helper:
    """A helper of the run at its budget, with its calibrated knob if the run has one."""
    from selfreg_gym.calibration import apply_calibration, load_calibrations

    budgets = run.config.evaluate.budgets if key.budget is None else (key.budget,)
    built = build_helper(run, key.name, budgets, **run.config.evaluate.kwargs.get(key.name, {}))
    helper = built[None] if None in built else built[budgets[0]]
    found = run.path / "calibration.json"
    calibrations = load_calibrations(found) if found.exists() else {}
    return apply_calibration(helper, calibrations[str(key)]) if str(key) in calibrations else helper


def _table(run: Run, budget: float) -> Any:
    """The policy of the run's table at a budget, or None if the run is not solved."""
    model, solution = run.path / "transitions.npz", run.path / "solution.npz"
    if not (model.exists() and solution.exists()):
        return None
    return Frontier.load(solution, TransitionModel.load(model)).policy(budget)


def _all(columns: dict[str, Any]) -> list[ForkState]:
    """All n decisions as states without their recorded steps."""

    def texts(column: Any) -> list[str | None]:
        return [column.values[code] if code >= 0 else None for code in column.codes.tolist()]

    left = [None if one < 0 else one for one in columns["steps_left"].tolist()]
    rows = zip(texts(columns["state_key"]), texts(columns["feature_key"]), left, strict=True)
    return [ForkState(0, 0, 0, "", "", "", str(state), feature, steps) for state, feature, steps in rows]


def _best(gains: np.ndarray) -> np.ndarray:
    """``(n,)`` the largest gain of an intervention; NaN where none is known."""
    known = np.isfinite(gains)
    return np.where(known.any(axis=1), np.where(known, gains, -np.inf).max(axis=1), np.nan)
