"""``Ensemble``: the networks of one fold, with their targets, their training, and their values on the fold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from selfreg_gym.fitted.decisions import Folds, LoggedDecisions
from selfreg_gym.fitted.held_out import FoldRows
from selfreg_gym.fitted.networks import Networks, chunks, mean_values
from selfreg_gym.fitted.packed import PackedInputs
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.targets import policy_values, trace_targets
from selfreg_gym.fitted.training_rows import TrainingRows, drawn_episodes
from selfreg_gym.utils.random_streams import FITTED_BATCHES, FITTED_EPISODES, FITTED_WEIGHTS, seed_sequence, stream

__all__ = ["Ensemble"]


SMALLEST_BATCH = 64
PRICED = (0.3, 2.0)
"""The price of one unit of usage, which weighs the error of usage, is clipped to these bounds."""


class Ensemble:
    """The networks that are fitted to all folds but one.

    Args:
        decisions: all decisions.
        x: their inputs.
        folds: of their episodes.
        fold: number of the fold that is held out.
        settings: of the iteration.
        prices: ``(P,)``.
        shift, scale: of the inputs.
        unit: unit of usage, in cost units.
    """

    def __init__(
        self, decisions: LoggedDecisions, x: PackedInputs, folds: Folds, fold: int, settings: Settings,
        prices: np.ndarray, shift: torch.Tensor, scale: torch.Tensor, unit: float,
    ) -> None:  # fmt: skip
        self.decisions, self.folds, self.fold, self.settings = decisions, folds, fold, settings
        self.prices = prices
        self.x = x
        order = decisions.order
        self.episodes = order[folds.fold[order] != fold]
        self.held_out_episodes = order[folds.fold[order] == fold]
        everything = TrainingRows.of(decisions, folds, self.episodes, unit)
        self._everything = everything if len(everything) <= settings.rows else None
        generator = torch.Generator().manual_seed(_integer(FITTED_WEIGHTS, settings.seed, fold))
        self.networks = Networks(
            folds.members, decisions.x.shape[1], settings.hidden, decisions.actions, len(prices), shift=shift,
            scale=scale, unit=unit, success=float(everything.success.sum() / len(self.episodes)),
            usage=float(everything.cost.sum() * unit / len(self.episodes)), generator=generator,
        )  # fmt: skip
        for member, rows in enumerate(self._rows_of_members(everything)):
            for action in set(range(decisions.actions)) - set(everything.action[rows].tolist()):
                self.networks.exclude(member, action)
        self.optimizer = torch.optim.AdamW(
            self.networks.trainable().values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    @property
    def held_out(self) -> np.ndarray:
        """The rows of the fold."""
        return self.decisions.rows_of(self.held_out_episodes)

    @cached_property
    def held_out_sample(self) -> np.ndarray:
        """The rows of some episodes of the fold, for an estimate after each round; of all, if they are few."""
        length, part = self.decisions.length[self.held_out_episodes], self.folds.part[self.held_out_episodes]
        rng = stream(FITTED_EPISODES, self.settings.seed, self.fold)
        chosen = drawn_episodes(length, part, self.settings.rows // self.settings.folds, rng)
        return self.held_out if chosen is None else self.decisions.rows_of(self.held_out_episodes[chosen])

    def draw(self, round_: int) -> TrainingRows:
        """The decisions of one round."""
        if self._everything is not None:
            return self._everything
        length, part = self.decisions.length[self.episodes], self.folds.part[self.episodes]
        rng = stream(FITTED_EPISODES, self.settings.seed, self.fold, 1 + round_)
        chosen = drawn_episodes(length, part, self.settings.rows, rng)
        return TrainingRows.of(self.decisions, self.folds, self.episodes[chosen], self.networks.unit)

    def logged_returns(self, data: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
        """The targets of the first round, ``(m, P)`` each: success and usage of the rest of the logged episode."""
        shape = len(data), len(self.prices)
        agree = np.repeat(~data.cut[:, None], len(self.prices), axis=1)
        rate = data.success.sum() / max((~data.cut)[data.backward.rows[0]].sum(), 1)
        found = []
        for reward, onward in ((data.success, rate), (data.cost, 0.0)):
            value = np.full(shape, onward, np.float32)  # after a cut
            found.append(trace_targets(reward, value, agree, data.backward, trace=1.0))
        return found[0], found[1]

    def targets(self, data: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
        """``(m, P)`` targets of success and of usage (in its unit), from networks that did not see the row's part."""
        shape = len(data), len(self.prices)
        success, usage = np.empty(shape, np.float32), np.empty(shape, np.float32)
        agree = np.empty(shape, bool)
        for member in range(self.networks.count):
            for at in chunks(np.flatnonzero(data.part == member)):
                s, m = self.networks.values(self.x.batch(data.rows[at]), member)
                closed = None if data.closed is None else data.closed[at]
                action, success[at], usage[at] = policy_values(s.numpy(), m.numpy(), self.prices, closed)
                agree[at] = (action == data.action[at, None]) & ~data.cut[at, None]
        usage /= np.float32(self.networks.unit)
        trace = self.settings.trace
        return (
            trace_targets(data.success, success, agree, data.backward, trace=trace),
            trace_targets(data.cost, usage, agree, data.backward, trace=trace),
        )

    def train(self, data: TrainingRows, targets: tuple[np.ndarray, np.ndarray], round_: int, rate: float) -> float:
        """Fit to the targets ``(m, P)`` of a round's decisions, for the epochs of one round; return the mean loss."""
        settings, networks = self.settings, self.networks
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(_integer(FITTED_WEIGHTS, settings.seed, self.fold, 1 + round_))
        success, usage = (torch.from_numpy(target) for target in targets)
        action = torch.from_numpy(data.action)
        # The value is S - r M, so the error of M is weighted by the price, within bounds.
        priced = np.clip(self.prices * networks.unit, *PRICED) ** 2
        weight = torch.as_tensor(settings.usage_weight * priced, dtype=torch.float32)
        total, steps = 0.0, 0
        for batch in self._batches(data, round_):
            x = self.x.batch(data.rows[batch])
            keep = None
            if settings.dropout > 0:
                shape = networks.count, batch.shape[1], settings.hidden
                draws = torch.rand(shape, generator=generator)
                keep = (draws >= settings.dropout).float().div_(1 - settings.dropout)
            at = torch.from_numpy(batch)
            index = action[at][:, :, None, None, None].expand(-1, -1, 2, 1, networks.prices)
            z = networks.outputs(x, keep).gather(3, index)[:, :, :, 0]
            per_network = batch.shape[1] * networks.prices
            loss = functional.binary_cross_entropy_with_logits(z[:, :, 0], success[at], reduction="sum")
            error = functional.softplus(z[:, :, 1]) - usage[at]
            loss = (loss + (error.square() * weight).sum()) / per_network
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total, steps = total + float(loss.detach()), steps + 1
        return total / max(steps, 1) / networks.count

    def _rows_of_members(self, data: TrainingRows) -> list[np.ndarray]:
        """The indices of the rows in ``data`` to which each network is fitted: those of the other parts."""
        members = self.networks.count
        return [np.flatnonzero(~data.cut & ((data.part != m) | (members == 1))) for m in range(members)]

    def _batches(self, data: TrainingRows, round_: int) -> Iterator[np.ndarray]:
        """Batches ``(members, B)`` of indices into ``data.rows``; each member gets the rows of the other parts."""
        settings = self.settings
        own = self._rows_of_members(data)
        count = max(len(rows) for rows in own)
        batch = max(min(settings.batch, count // settings.steps), min(SMALLEST_BATCH, settings.batch))
        for epoch in range(max(settings.epochs, math.ceil(settings.steps * batch / count))):
            orders = []
            for member, rows in enumerate(own):
                rng = stream(FITTED_BATCHES, settings.seed, self.fold, member, round_, epoch)
                orders.append(np.resize(rng.permutation(rows), count))
            order = np.stack(orders)
            for begin in range(0, count, batch):
                yield order[:, begin : begin + batch]

    def move_prices(self, new: np.ndarray) -> None:
        """Continue at other prices, from interpolated outputs."""
        weights = self.networks.move_prices(self.prices, new)
        for name in ("w3", "b3"):
            state = self.optimizer.state[getattr(self.networks, name)]
            for moment in ("exp_avg", "exp_avg_sq"):
                blocks = state[moment].view(*state[moment].shape[:2], -1, self.networks.prices)
                state[moment].copy_((blocks @ weights.T).reshape(state[moment].shape))
        self.prices = new

    def fold_rows(self, rows: np.ndarray) -> FoldRows:
        """The decisions at rows of the fold, with the hidden layer of the first network as features."""
        d = self.decisions
        hidden = self.networks.hidden_rows(self.x, rows)
        return FoldRows(hidden, d.tried[rows], d.cost[rows], d.success[rows], d.last[rows])

    def closed_at(self, rows: np.ndarray) -> np.ndarray | None:
        """``(len(rows),)`` bool, True where only nohelp is possible; None: nowhere."""
        return None if self.decisions.closed is None else self.decisions.closed[rows]

    def values_at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(len(rows), A, P)`` success and usage at rows of the data."""
        return mean_values([self.networks], self.x, rows)


def _integer(purpose: object, *key: int) -> int:
    return int(seed_sequence(purpose, *key).generate_state(1)[0])  # type: ignore[arg-type]
