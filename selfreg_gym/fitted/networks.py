"""Networks from inputs to success and usage, for all actions and all prices at once.

Several networks of one shape are stored and trained together: each parameter has the network as its first axis, and a
layer is one batched matrix product. Two hidden layers of rectified linear units are followed by a linear layer with one
output per action, price and quantity. Success is its sigmoid; usage is its softplus times the unit of cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from selfreg_gym.fitted.isotonic import non_increasing
from selfreg_gym.fitted.packed import Batch, PackedInputs, plain
from selfreg_gym.fitted.prices import interpolation

__all__ = ["Networks", "chunks", "input_scale", "mean_values"]

WEIGHTS = ("w1", "b1", "w2", "b2", "w3", "b3")
CHUNK = 8192  # rows of one forward pass
NO_SUCCESS, LARGE_USAGE = -20.0, 4.0  # outputs for actions without data


class Networks(torch.nn.Module):
    """N networks with D inputs, H units in each hidden layer, A actions and P prices.

    Args:
        networks, inputs, hidden, actions, prices: N, D, H, A, P.
        shift, scale: ``(D,)``; an input x enters as ``(x - shift) * scale``.
        unit: unit of usage, in cost units.
        success, usage: mean success and usage per episode, to which the outputs are initialised.
        generator: random generator of the initial weights.
    """

    def __init__(
        self,
        networks: int,
        inputs: int,
        hidden: int,
        actions: int,
        prices: int,
        *,
        shift: torch.Tensor,
        scale: torch.Tensor,
        unit: float,
        success: float = 0.5,
        usage: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.actions, self.prices, self.unit = actions, prices, float(unit)
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("shift", shift.float())
        self.register_buffer("scale", scale.float())

        def uniform(fan_in: int, *shape: int) -> torch.nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            return torch.nn.Parameter((2 * torch.rand(networks, *shape, generator=generator) - 1) * bound)

        self.w1, self.b1 = uniform(inputs, inputs, hidden), uniform(inputs, 1, hidden)
        self.w2, self.b2 = uniform(hidden, hidden, hidden), uniform(hidden, 1, hidden)
        # One block of outputs per quantity, action and price; prices start equal.
        outputs = 2 * actions * prices
        w3 = uniform(hidden, hidden, 2 * actions).detach().repeat_interleave(prices, dim=2)
        self.w3 = torch.nn.Parameter(0.3 * w3)
        b3 = torch.zeros(networks, 1, outputs)
        rate = min(max(success, 0.01), 0.99)
        b3[:, :, : outputs // 2] = math.log(rate / (1 - rate))
        b3[:, :, outputs // 2 :] = math.log(math.expm1(min(max(usage / self.unit, 0.01), 50.0)))
        self.b3 = torch.nn.Parameter(b3)

    @property
    def count(self) -> int:
        """N, the number of networks."""
        return self.w1.shape[0]

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters by name; the first axis of each is the network."""
        return {name: getattr(self, name) for name in WEIGHTS}

    def outputs(self, x: Batch | torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """``(N, B, 2, A, P)`` outputs before sigmoid (success, index 0) and softplus (usage, index 1).

        Args:
            x: inputs with leading axes ``(N, B)``.
            keep: ``(N, B, H)``, multiplies the first hidden layer (dropout).
        """
        x = plain(x) if isinstance(x, torch.Tensor) else x
        numbers = (x.numbers - self.shift[x.numeric]) * self.scale[x.numeric]
        hidden = torch.baddbmm(self.b1, numbers, self.w1[:, x.numeric])
        if x.column.shape[-1]:
            networks, width, units = self.w1.shape
            place = x.column + torch.arange(networks)[:, None, None] * width
            sums = functional.embedding_bag(
                place.flatten(0, 1), self.w1.view(-1, units), per_sample_weights=x.weight.flatten(0, 1), mode="sum"
            )
            hidden = hidden + sums.view(hidden.shape)
        hidden = torch.relu_(hidden)
        if keep is not None:
            hidden = hidden * keep
        hidden = torch.relu_(torch.baddbmm(self.b2, hidden, self.w2))
        return torch.baddbmm(self.b3, hidden, self.w3).view(*hidden.shape[:2], 2, self.actions, self.prices)

    @torch.no_grad()
    def values(self, x: Batch | torch.Tensor, network: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Success and usage ``(B, A, P)`` of one network, for B inputs."""
        z = torch.addmm(self.b3[network], self.hidden(x, network), self.w3[network])
        z = z.view(-1, 2, self.actions, self.prices)
        return torch.sigmoid(z[:, 0]), functional.softplus(z[:, 1]) * self.unit

    @torch.no_grad()
    def hidden(self, x: Batch | torch.Tensor, network: int) -> torch.Tensor:
        """``(B, H)`` second hidden layer of one network."""
        x = plain(x) if isinstance(x, torch.Tensor) else x
        numbers = (x.numbers - self.shift[x.numeric]) * self.scale[x.numeric]
        first = torch.addmm(self.b1[network], numbers, self.w1[network, x.numeric])
        if x.column.shape[-1]:
            first += functional.embedding_bag(x.column, self.w1[network], per_sample_weights=x.weight, mode="sum")
        first = torch.relu_(first)
        return torch.relu_(torch.addmm(self.b2[network], first, self.w2[network]))

    @torch.no_grad()
    def exclude(self, network: int, action: int) -> None:
        """Set the values of an action without data: no success, and a usage that exceeds that of most episodes.

        A policy then prefers any other action, and training leaves these values as they are.
        """
        blocks = [one[network].view(-1, 2, self.actions, self.prices)[:, :, action] for one in (self.w3, self.b3)]
        blocks[0].zero_()
        blocks[1][:, 0], blocks[1][:, 1] = NO_SUCCESS, LARGE_USAGE

    def tried(self) -> np.ndarray:
        """``(A,)`` bool, the actions with data: those that are not excluded in all networks (:meth:`exclude`)."""
        weights = self.w3.detach().view(self.count, -1, 2, self.actions, self.prices)
        return np.asarray((weights != 0).numpy().any(axis=(0, 1, 2, 4)))

    def hidden_rows(self, x: PackedInputs, rows: np.ndarray, network: int = 0) -> np.ndarray:
        """``(len(rows), H)`` float32 second hidden layer of one network, at rows of the data."""
        hidden = np.empty((len(rows), self.w1.shape[2]), np.float32)
        for at in chunks(np.arange(len(rows))):
            hidden[at] = self.hidden(x.batch(rows[at]), network).numpy()
        return hidden

    @torch.no_grad()
    def move_prices(self, old: np.ndarray, new: np.ndarray) -> torch.Tensor:
        """Set the outputs to those at other prices, by linear interpolation; return the ``(P, P)`` weights."""
        weights = torch.as_tensor(interpolation(old, new), dtype=torch.float32)
        for parameter in (self.w3, self.b3):
            blocks = parameter.view(*parameter.shape[:2], 2 * self.actions, self.prices)
            parameter.copy_((blocks @ weights.T).reshape(parameter.shape))
        return weights

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy weights by name."""
        for name, parameter in self.trainable().items():
            parameter.copy_(weights[name])


def input_scale(x: np.ndarray, rows: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """``(D,)`` shift and scale that standardise the inputs; inputs with only the values 0 and 1 are unchanged.

    Args:
        x: ``(n, D)``.
        rows: all row numbers in the order in which they are summed; None: as they are.
    """
    width = x.shape[1]
    rows = np.arange(len(x)) if rows is None else rows
    total, binary = np.zeros(width), np.ones(width, bool)
    for at in chunks(rows):
        chunk = x[at]
        total += chunk.sum(axis=0, dtype=np.float64)
        binary &= ((chunk == 0) | (chunk == 1)).all(axis=0)
    mean, square = total / len(x), np.zeros(width)
    for at in chunks(rows):
        square += np.square(x[at] - mean).sum(axis=0)
    spread = np.sqrt(square / len(x))
    constant = spread <= np.maximum(np.finfo(np.float32).eps * np.abs(mean), 1e-30)
    scale = 1 / np.where(binary | constant, 1.0, spread)
    return torch.as_tensor(np.where(binary, 0.0, mean)).float(), torch.as_tensor(scale).float()


def mean_values(
    several: Sequence[Networks], x: PackedInputs, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean success and usage ``(n, A, P)`` float32 over all networks, as sequences that do not rise with the price."""
    rows = np.arange(len(x)) if rows is None else rows
    shape = len(rows), several[0].actions, several[0].prices
    result = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    count = sum(networks.count for networks in several)
    for at in chunks(np.arange(len(rows))):
        inputs = x.batch(rows[at])
        for networks in several:
            for member in range(networks.count):
                for total, one in zip(result, networks.values(inputs, member), strict=True):
                    total[at] += one.numpy() / np.float32(count)
        for total in result:
            total[at] = non_increasing(total[at])
    return result


def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Slices of an array of rows, small enough for one forward pass."""
    for begin in range(0, len(rows), CHUNK):
        yield rows[begin : begin + CHUNK]
