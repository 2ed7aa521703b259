"""Fitted Q-iteration for success and usage, at all prices at once.

For a price ``r`` the optimal pair satisfies, with ``a*(s) = argmax_a S_a(s) - r M_a(s)``,

    S_a(s) = P(success on this step) + E[S_a*(s')],   M_a(s) = c_a + E[M_a*(s')].

Each round regresses both on the logged decisions, for all prices (Ernst, Geurts and Wehenkel 2005; with networks:
Riedmiller 2005). The data may come from any policy that tries every action at random.

**Cross-fitting.** Episodes are divided into folds of tasks. The networks of fold f are fitted to the other folds only,
so their values on fold f are held out: neither outcomes, nor targets, nor chosen actions come from it. Within the other
folds, the targets of a part of the tasks come from networks that were not fitted to this part. The deployed policy uses
the mean of all networks.

**Prices.** The first rounds use a general grid. Then the prices are moved so that held-out success and usage change by
equal steps, and the iteration continues from interpolated outputs.

**Large data.** A round uses at most ``Settings.rows`` decisions per fold: with more, each round draws whole episodes
(:mod:`selfreg_gym.fitted.training_rows`).

**End.** After each round at the final prices the held-out value, mean over the prices of E[S] - r E[M], is estimated
(:mod:`selfreg_gym.fitted.held_out`). When it has not improved for ``patience`` rounds, a few rounds with smaller
learning rates follow, which are the last ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.fitted.decisions import Folds, LoggedDecisions, assign_folds
from selfreg_gym.fitted.ensemble import Ensemble
from selfreg_gym.fitted.fold_policies import HeldOut
from selfreg_gym.fitted.held_out import episode_values
from selfreg_gym.fitted.networks import Networks, input_scale
from selfreg_gym.fitted.packed import PackedInputs
from selfreg_gym.fitted.prices import first_prices, relocated_prices
from selfreg_gym.fitted.resume import IterationState
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.targets import chosen, greedy
from selfreg_gym.fitted.threads import one_thread

__all__ = ["Iterated", "iterate"]

MOVES = (2, 4, 7)
"""Rounds before which the prices are moved."""
ANNEALING = 0.35
"""Factor of the learning rate in each of the final rounds."""
TOLERANCE = 5e-4
"""Smallest improvement of the held-out value that counts."""


@dataclass(eq=False)
class Iterated:
    """The result of the iteration.

    Attributes:
        networks: one entry per fold.
        prices: ``(P,)`` rising.
        folds: of the episodes.
        evaluated: ``(Q,)`` rising prices: those of the networks, and others between them.
        success, usage: ``(E, Q + 1 + K)`` held-out terms of each episode, whose means are E[S] and E[M] of the greedy
            policy at each of these, of never asking, and of always asking intervention k
            (:mod:`selfreg_gym.fitted.held_out`).
        history: one record per round: ``round``, ``loss``, ``rate`` (the learning rate), and at the final prices the
            mean of E[S] - r E[M] over the prices, ``value`` (held out) and ``planned`` (the networks' own, optimistic).
    """

    networks: list[Networks]
    prices: np.ndarray
    folds: Folds
    evaluated: np.ndarray
    success: np.ndarray
    usage: np.ndarray
    history: list[dict[str, Any]] = field(default_factory=list)


def iterate(
    decisions: LoggedDecisions,
    settings: Settings,
    *,
    folder: str | Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterated:
    """Run the iteration.

    Args:
        decisions: the data.
        settings: of the iteration.
        folder: where the state is saved after each round, and from where an interrupted run continues.
        progress: called with the rounds done, their largest number, and a note.

    Raises:
        InvalidArgumentError: too few episodes for the folds.
        CheckpointError: the saved state is damaged or belongs to other data or settings.
    """
    with one_thread():
        return _iterate(decisions, settings, folder, progress or (lambda *_: None))


def _iterate(
    decisions: LoggedDecisions, settings: Settings, folder: str | Path | None, progress: Callable[[int, int, str], None]
) -> Iterated:
    folds = assign_folds(decisions, folds=settings.folds, members=settings.members, seed=settings.seed)
    shift, scale = input_scale(decisions.x, decisions.rows_of(decisions.order))
    unit = _usage_unit(decisions)
    positive = decisions.cost[decisions.cost > 0]
    prices = first_prices(settings.prices, float(positive.min()) if len(positive) else 1.0)
    x = PackedInputs(decisions.x)
    ensembles = [
        Ensemble(decisions, x, folds, fold, settings, prices, shift, scale, unit) for fold in range(settings.folds)
    ]
    state = IterationState(folder, decisions, settings)
    history = state.load(ensembles)
    total = settings.rounds + settings.final_rounds
    annealed = sum(record["rate"] < settings.learning_rate for record in history)
    while True:
        done = len(history)
        known = [record["value"] for record in history if record["value"] is not None]
        progress(done, total, f"held-out value {known[-1]:.3f}" if known else "")
        if annealed == 0 and not _finished(history, settings):
            rate = settings.learning_rate
        elif annealed < settings.final_rounds:
            annealed += 1
            rate = settings.learning_rate * ANNEALING**annealed
        else:
            break
        if done in MOVES and rate == settings.learning_rate:
            prices = relocated_prices(ensembles[0].prices, *_planned(ensembles))
            for ensemble in ensembles:
                ensemble.move_prices(prices)
        losses = []
        for ensemble in ensembles:
            data = ensemble.draw(done)
            targets = ensemble.targets(data) if done else ensemble.logged_returns(data)
            losses.append(ensemble.train(data, targets, done, rate))
        record = {"round": done, "loss": float(np.mean(losses)), "rate": rate, "value": None, "planned": None}
        if done >= MOVES[-1]:
            record["value"], record["planned"] = _held_out_value(ensembles)
        history.append(record)
        state.save(ensembles, history)
    evaluated, success, usage = HeldOut(ensembles).terms()
    state.remove()
    return Iterated([c.networks for c in ensembles], ensembles[0].prices, folds, evaluated, success, usage, history)


def _usage_unit(decisions: LoggedDecisions) -> float:
    """The unit of usage: the 95 % quantile of the usage of the logged episodes, in cost units."""
    usage = np.add.reduceat(decisions.cost, decisions.first)
    large = float(np.quantile(usage, 0.95))
    return large if large > 0 else max(float(usage.max()), 1.0)


def _finished(history: list[dict[str, Any]], settings: Settings) -> bool:
    """Whether the rounds at the full learning rate are over."""
    if len(history) >= settings.rounds:
        return True
    values = [record["value"] for record in history[MOVES[-1] :]]
    if len(values) <= settings.patience:
        return False
    return max(values[-settings.patience :]) < max(values[: -settings.patience]) + TOLERANCE


def _planned(ensembles: list[Ensemble]) -> tuple[np.ndarray, np.ndarray]:
    """``(P,)`` success and usage of the greedy policies at the first decisions, by the networks of the other folds."""
    found = []
    for ensemble in ensembles:
        d = ensemble.decisions
        success, usage = ensemble.values_at(d.first[ensemble.held_out_episodes])
        policy = greedy(success, usage, ensemble.prices)
        found.append(np.stack([chosen(success, policy), chosen(usage, policy)]))
    success, usage = np.concatenate(found, axis=1).mean(axis=1)
    return success, usage


def _held_out_value(ensembles: list[Ensemble]) -> tuple[float, float]:
    """Mean over every second price of E[S] - r E[M]: the held-out estimate, and the networks' own."""
    estimates, plans, count = 0.0, 0.0, 0
    prices = ensembles[0].prices
    for ensemble in ensembles:
        sample = ensemble.held_out_sample
        success, usage = ensemble.values_at(sample)
        rows = ensemble.fold_rows(sample)
        components = rows.components()
        policy = greedy(success, usage, prices, ensemble.closed_at(sample))
        of_policy = chosen(success, policy), chosen(usage, policy)
        start = np.r_[0, np.flatnonzero(rows.last)[:-1] + 1]
        count += len(start)
        plans += float((of_policy[0][start] - prices * of_policy[1][start])[:, ::2].sum())
        for p in range(0, len(prices), 2):
            terms = episode_values(
                rows, components, policy[:, p], of_policy[0][:, p], of_policy[1][:, p], unit=ensemble.networks.unit
            )
            estimates += float((terms[:, 0] - prices[p] * terms[:, 1]).sum())
    return estimates / count / len(prices[::2]), plans / count / len(prices[::2])
