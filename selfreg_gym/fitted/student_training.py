"""The training of one network of a student: regression of a teacher's gains at all prices.

For targets dS, dM and predictions dS', dM' of n decisions, P prices and K interventions, the loss is

    mean of ((dS' - r dM') - (dS - r dM))^2 / Var(dS - r dM)
    + 0.1 * mean of ((dS' - dS)^2 / Var(dS) + (dM' - dM)^2 / Var(dM)) / 2,

with variances by price and intervention. The first term is the error of the gain, which decides the action; all prices
have the same share in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.fitted.threads import one_thread
from selfreg_gym.lm.training import seeded
from selfreg_gym.utils.random_streams import HELD_OUT_TASKS, stream

__all__ = ["Layers", "held_out_rows", "train_network"]

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weight ``(out, in)`` and bias ``(out,)`` of each layer of a network."""

PARTS_WEIGHT = 0.1
"""Weight of the errors of dS and dM, relative to that of the gain."""

CHUNK = 4096  # rows of one forward pass in validation


def held_out_rows(tasks: np.ndarray, *, share: float, seed: int, member: int) -> np.ndarray:
    """``(n,)`` bool, the rows of the tasks that a member of the ensemble holds out.

    Args:
        tasks: ``(n,)`` the task of each row.
        share: share of the tasks that each member holds out.
        seed: seed of the order of the tasks.
        member: number of the member, from 0; different members hold out different tasks, as far as there are enough.
    """
    distinct = np.unique(tasks)
    order = stream(HELD_OUT_TASKS, seed).permutation(len(distinct))
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    chosen = order[np.arange(member * count, (member + 1) * count) % len(distinct)]
    return np.isin(tasks, distinct[chosen])


def train_network(
    x: np.ndarray,
    target: np.ndarray,
    prices: np.ndarray,
    held_out: np.ndarray,
    *,
    mean: np.ndarray,
    scale: np.ndarray,
    hidden: Sequence[int],
    epochs: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    dropout: float,
    seed: int,
    progress: Callable[[int], None],
) -> tuple[Layers, np.ndarray]:
    """Train one network with AdamW, and keep the weights of the epoch with the smallest loss on the held-out rows.

    Args:
        x: ``(n, D)`` float32 inputs.
        target: ``(n, P, K, 2)`` float32, dS and dM of the teacher.
        prices: ``(P,)``, in success per cost unit.
        held_out: ``(n,)`` bool, rows for validation.
        mean, scale: ``(P, K, 2)``; a prediction is ``mean + scale * output``.
        hidden: units of the hidden layers.
        epochs: passes over the rows.
        batch: rows per step of the optimiser.
        learning_rate: the first one; it falls to 0 along a cosine.
        weight_decay: of the optimiser.
        dropout: of the first hidden layer.
        seed: seed of the initial weights, the batches and dropout.
        progress: called with the number of epochs done.

    Returns:
        The layers, and ``(P,)`` the share of the variance of the gain that is explained on the held-out rows.

    Raises:
        InvalidArgumentError: the loss is never finite.
    """
    with one_thread(), seeded(seed):
        network = _network([x.shape[1], *hidden], target[0].size, dropout)
        inputs, wanted = torch.from_numpy(x), torch.from_numpy(target)
        loss = _Loss.of(wanted, prices, mean, scale)
        inside, outside = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~held_out, held_out))
        optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=weight_decay)
        steps = epochs * -(-len(inside) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, kept = np.inf, {}
        for epoch in range(epochs):
            network.train()
            for rows in inside[torch.randperm(len(inside))].split(batch):
                optimizer.zero_grad(set_to_none=True)
                loss(network(inputs[rows]), wanted[rows]).backward()
                optimizer.step()
                schedule.step()
            network.eval()
            with torch.no_grad():
                losses = [float(loss(network(inputs[r]), wanted[r])) * len(r) for r in outside.split(CHUNK)]
            error = sum(losses) / len(outside)
            if error < best:
                best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
            progress(epoch + 1)
        if not kept:
            raise InvalidArgumentError(
                "a student must have inputs of about unit size: its errors became NaN or infinite. Standardise x."
            )
        network.load_state_dict(kept)
        with torch.no_grad():
            output = torch.cat([network(inputs[rows]) for rows in outside.split(CHUNK)])
        explained = loss.explained(output, wanted[outside])
    linear = [part for part in network if isinstance(part, torch.nn.Linear)]
    return [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear], explained


def _network(widths: Sequence[int], outputs: int, dropout: float) -> torch.nn.Sequential:
    """Hidden layers of rectified linear units with dropout after the first one, and a linear layer."""
    parts: list[torch.nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU(), *([torch.nn.Dropout(dropout)] if i == 0 else [])]
    return torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], outputs))


class _Loss(NamedTuple):
    """The loss, with its constants ``price (P, 1)``, ``mean`` and ``scale (P, K, 2)`` and ``weight (P, K)``."""

    price: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, wanted: torch.Tensor, prices: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> _Loss:
        price = torch.tensor(prices, dtype=torch.float32)[:, None]
        weight = 1 / torch.clamp(_gain(wanted, price).var(0, correction=0), min=1e-4)
        return cls(price, torch.tensor(mean), torch.tensor(scale), weight)

    def predicted(self, output: torch.Tensor) -> torch.Tensor:
        """``(B, P, K, 2)`` dS and dM, of the outputs of the network."""
        return self.mean + self.scale * output.view(-1, *self.mean.shape)

    def __call__(self, output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        error = self.predicted(output) - wanted
        parts = (error / self.scale).square().mean()
        return (self.weight * _gain(error, self.price).square()).mean() + PARTS_WEIGHT * parts

    def explained(self, output: torch.Tensor, wanted: torch.Tensor) -> np.ndarray:
        """``(P,)`` share of the variance of the gain that is explained."""
        found, true = _gain(self.predicted(output), self.price), _gain(wanted, self.price)
        residual, total = (true - found).square().sum((0, 2)), (true - true.mean(0)).square().sum((0, 2))
        return np.asarray((1 - residual / total.clamp(min=1e-9)).numpy())


def _gain(parts: torch.Tensor, price: torch.Tensor) -> torch.Tensor:
    """``(n, P, K)`` dS - r dM, of ``(n, P, K, 2)``."""
    return parts[..., 0] - price * parts[..., 1]
