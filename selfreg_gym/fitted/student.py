"""``Student``: the gains of a teacher, predicted from fewer inputs.

Bootstrapping on inputs that hide part of the state gives biased values. So a teacher is fitted to everything that is
known at collection, and a student with the inputs of the deployment is regressed on the teacher's gains

    dS_r(s, k) = S_r(s, k) - S_r(s, 0)   and   dM_r(s, k) = M_r(s, k) - M_r(s, 0)

at all prices r. The loss is the squared error of the gain ``g = dS - r dM``, which decides the action, in units of its
variance at each price, plus a small multiple of the squared errors of dS and dM. This is the distillation of a policy
with privileged information (Chen et al. 2019, "Learning by cheating"), with gains in place of actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.inputs import InputEncoder
from selfreg_gym.utils.arguments import check_count, check_number, is_number
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.model_record import INFO, ModelRecord, Rule, reading_arrays
from selfreg_gym.utils.progress import progress_bar

if TYPE_CHECKING:
    import torch

__all__ = ["Student"]

_RECORD = ModelRecord(
    "a student",
    "student.json",
    "selfreg-student-1",
    {
        "prices": Rule(
            "different numbers of at least 0",
            lambda prices, _: (
                isinstance(prices, list)
                and bool(prices)
                and all(is_number(r) and r >= 0 for r in prices)
                and len(set(prices)) == len(prices)
            ),
        ),
        "interventions": Rule("a positive integer", lambda number, _: type(number) is int and number > 0),
        "members": Rule("a positive integer", lambda number, _: type(number) is int and number > 0),
        "encoded": Rule("true or false", lambda value, _: isinstance(value, bool)),
        "info": INFO,
    },
)
_ARRAYS = "student.safetensors"
_PARTS = 0.1  # weight of the errors of dS and dM beside that of the gain
_ROWS = 65_536  # rows of one forward pass
_EVALUATIONS = 4096  # rows of one forward pass in validation

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weight ``(out, in)`` and bias ``(out,)`` of each layer of a network."""


class Student:
    """An ensemble of small networks from inputs to gains; made by :meth:`train`.

    Attributes:
        prices: float64 ``(P,)``, success per cost unit.
        interventions: K.
        encoder: the encoder of its inputs, or None.
        info: facts about its training; ``r2`` is the share of the gain's variance that it explains on held-out tasks,
            by price.
    """

    def __init__(
        self,
        members: Sequence[Layers],
        *,
        prices: Sequence[float] | np.ndarray,
        interventions: int,
        mean: np.ndarray,
        scale: np.ndarray,
        encoder: InputEncoder | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        self._members = tuple(members)
        self.prices = np.asarray(prices, np.float64)
        self.interventions = interventions
        self._mean, self._scale = mean, scale  # (P, K, 2)
        self.encoder = encoder
        self.info: dict[str, Any] = dict(info or {})

    @classmethod
    def train(
        cls,
        x: np.ndarray,
        gains: tuple[np.ndarray, np.ndarray],
        prices: Sequence[float] | np.ndarray,
        *,
        tasks: Sequence[Any] | np.ndarray,
        encoder: InputEncoder | None = None,
        hidden: Sequence[int] = (192, 192),
        members: int = 2,
        share: float = 0.15,
        epochs: int = 12,
        batch: int = 512,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.1,
        seed: int = 0,
        progress: bool = False,
    ) -> Student:
        """Regress a network on a teacher's gains.

        Each member of the ensemble holds out other tasks, and keeps its weights after the epoch with the least error on
        them.

        Args:
            x: float32 ``(n, D)``, the student's inputs at n decisions.
            gains: ``(dS, dM)`` of the teacher, each ``(n, P, K)``.
            prices: ``(P,)``, in success per cost unit.
            tasks: ``(n,)``, the task of each decision (numbers or names).
            encoder: the encoder that made ``x``; it is saved with the student.
            hidden: units of the hidden layers.
            members: number of networks, whose gains are averaged.
            share: share of the tasks that each network holds out.
            epochs: passes over the rows.
            batch: rows per step of the optimiser (AdamW; the learning rate falls to 0 along a cosine).
            learning_rate, weight_decay: of the optimiser.
            dropout: of the first hidden layer.
            seed: seed of the held-out tasks, the initial weights and the batches.
            progress: show a progress bar.

        Raises:
            InvalidArgumentError: arrays of other shapes, numbers that are not finite, fewer than two tasks.
        """
        x, target, prices_, names = _checked(x, gains, prices, tasks)
        check_count("members", members)
        check_count("epochs", epochs)
        check_count("batch", batch)
        check_count("seed", seed, low=0)
        check_number("share", share, high=0.5, above=True)
        if not hidden:
            raise InvalidArgumentError(f"hidden must be the units of at least one layer, received {shown(hidden)}.")
        sizes = [check_count("hidden: each", units) for units in hidden]
        mean, scale = target.mean(axis=0), np.maximum(target.std(axis=0), 1e-3)
        trained, r2 = [], []
        with progress_bar("student", members * epochs, shown=progress) as update:
            for member in range(members):
                held = _held_out(names, share=share, seed=seed, member=member)
                layers, explained = _fit(
                    x, target, prices_, held, mean=mean, scale=scale, sizes=sizes, epochs=epochs, batch=batch,
                    rate=learning_rate, decay=weight_decay, dropout=dropout, seed=seed * 1000 + member,
                    update=lambda done, member=member: update(member * epochs + done),
                )  # fmt: skip
                trained.append(layers)
                r2.append(explained)
        info = {
            "inputs": list(encoder.names) if encoder is not None else None,
            "decisions": len(x),
            "tasks": len(set(names.tolist())),
            "hidden": sizes,
            "members": members,
            "epochs": epochs,
            "seed": seed,
            "r2": [round(float(value), 4) for value in np.mean(r2, axis=0)],
        }
        interventions = target.shape[2]
        return cls(
            trained, prices=prices_, interventions=interventions, mean=mean, scale=scale, encoder=encoder, info=info
        )

    def gains(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dS and dM of n decisions, each float32 ``(n, P, K)``, for inputs ``(n, D)``.

        Raises:
            InvalidArgumentError: inputs of another width.
        """
        inputs = self._members[0][0][0].shape[1]
        if x.ndim != 2 or x.shape[1] != inputs:
            raise InvalidArgumentError(f"this student reads inputs (n, {inputs}), received shape {x.shape}.")
        shape = (len(x), *self._mean.shape)
        found = np.zeros(shape, np.float32)
        for begin in range(0, len(x), _ROWS):
            rows = x[begin : begin + _ROWS]
            total = sum(_forward(layers, rows) for layers in self._members) / len(self._members)
            found[begin : begin + _ROWS] = self._mean + self._scale * np.reshape(total, (-1, *self._mean.shape))
        return found[..., 0], found[..., 1]

    def save(self, folder: str | Path) -> None:
        """Write the weights (safetensors), the encoder and, last, ``student.json``, which marks it as complete."""
        from safetensors.numpy import save_file

        place = _RECORD.begin(folder)
        arrays = {"mean": self._mean, "scale": self._scale}
        for m, layers in enumerate(self._members):
            for i, (weight, bias) in enumerate(layers):
                arrays |= {f"{m}/{i}/weight": weight, f"{m}/{i}/bias": bias}
        with atomic_path(place / _ARRAYS) as temporary:
            save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, temporary)
        if self.encoder is not None:
            self.encoder.save(place / "inputs")
        _RECORD.write(
            place,
            prices=self.prices.tolist(),
            interventions=self.interventions,
            members=len(self._members),
            encoded=self.encoder is not None,
            info=self.info,
        )

    @classmethod
    def load(cls, folder: str | Path) -> Student:
        """Load what :meth:`save` wrote.

        Raises:
            CheckpointError: the folder has no complete student, another format, or damaged files.
        """
        from safetensors.numpy import load_file

        place = Path(folder)
        _, fields = _RECORD.read(place)
        with reading_arrays("the student", place / _ARRAYS, remedy="copy the directory again, or train it again"):
            arrays = load_file(place / _ARRAYS)
            shape = (len(fields["prices"]), fields["interventions"], 2)
            members = [_layers(arrays, m, outputs=int(np.prod(shape))) for m in range(fields["members"])]
            mean, scale = arrays["mean"].reshape(shape), arrays["scale"].reshape(shape)
        encoder = InputEncoder.load(place / "inputs") if fields["encoded"] else None
        return cls(
            members,
            prices=fields["prices"],
            interventions=fields["interventions"],
            mean=mean,
            scale=scale,
            encoder=encoder,
            info=fields["info"],
        )

    def __repr__(self) -> str:
        inputs = ", ".join(self.encoder.names) if self.encoder is not None else "arrays"
        return f"Student({inputs}; {len(self.prices)} prices, {self.interventions} interventions)"


def _checked(x: Any, gains: Any, prices: Any, tasks: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets ``(n, P, K, 2)``, prices and task of each row.

    Raises:
        InvalidArgumentError: see :meth:`Student.train`.
    """
    x = np.asarray(x, np.float32)
    success, usage = (np.asarray(part, np.float32) for part in gains)
    grid, names = np.asarray(prices, np.float64), np.asarray(tasks)
    if x.ndim != 2 or not len(x):
        raise InvalidArgumentError(f"x must be a non-empty array (n, D) of inputs, received shape {x.shape}.")
    rule = f"gains must be two arrays (n, P, K) with n = {len(x)} and P = {len(grid)} prices"
    if success.shape != usage.shape or success.ndim != 3 or success.shape[:2] != (len(x), len(grid)):
        raise InvalidArgumentError(f"{rule}, received the shapes {success.shape} and {usage.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(success).all() and np.isfinite(usage).all()):
        raise InvalidArgumentError("x and gains must have finite numbers, received NaN or infinity.")
    if names.shape != (len(x),) or len(set(names.tolist())) < 2:
        raise InvalidArgumentError(
            f"tasks must name the task of each of the {len(x)} rows, at least two different ones, because some are "
            f"held out; received shape {names.shape}."
        )
    return x, np.stack([success, usage], axis=-1), grid, names


def _held_out(names: np.ndarray, *, share: float, seed: int, member: int) -> np.ndarray:
    """bool ``(n,)``: the rows of the tasks that a member holds out. Different members hold out different tasks."""
    from selfreg_gym.utils.random_streams import HELD_OUT_TASKS, stream

    distinct = np.unique(names)
    order = stream(HELD_OUT_TASKS, seed).permutation(len(distinct))
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    chosen = order[np.arange(member * count, (member + 1) * count) % len(distinct)]
    return np.isin(names, distinct[chosen])


def _fit(
    x: np.ndarray,
    target: np.ndarray,
    prices: np.ndarray,
    held: np.ndarray,
    *,
    mean: np.ndarray,
    scale: np.ndarray,
    sizes: Sequence[int],
    epochs: int,
    batch: int,
    rate: float,
    decay: float,
    dropout: float,
    seed: int,
    update: Any,
) -> tuple[Layers, np.ndarray]:
    """Train one network. Returns its layers, and the explained variance ``(P,)`` of the gain on the held-out rows."""
    import torch

    from selfreg_gym.lm.loading import one_thread
    from selfreg_gym.lm.training import seeded

    one_thread()
    widths = [x.shape[1], *sizes]
    with seeded(seed):
        parts: list[torch.nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU(), *([torch.nn.Dropout(dropout)] if i == 0 else [])]
        network = torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], target[0].size))
        price = torch.tensor(prices, dtype=torch.float32)[:, None]
        center, unit = torch.tensor(mean), torch.tensor(scale)
        inputs, wanted = torch.from_numpy(x), torch.from_numpy(target)
        weight = 1 / torch.clamp(_gain(wanted, price).var(0, correction=0), min=1e-4)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            output = network(inputs[rows]).view(-1, *target.shape[1:])
            error = (center + unit * output) - wanted[rows]
            part = (error / unit).square().mean()
            return (weight * _gain(error, price).square()).mean() + _PARTS * part

        inside, outside = torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))
        optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
        steps = epochs * -(-len(inside) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, kept = np.inf, {}
        for epoch in range(epochs):
            network.train()
            for rows in inside[torch.randperm(len(inside))].split(batch):
                optimizer.zero_grad(set_to_none=True)
                loss(rows).backward()
                optimizer.step()
                schedule.step()
            network.eval()
            with torch.no_grad():
                error = sum(float(loss(rows)) * len(rows) for rows in outside.split(_EVALUATIONS)) / len(outside)
            if error < best:
                best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
            update(epoch + 1)
        network.load_state_dict(kept)
        with torch.no_grad():
            output = torch.cat([network(inputs[rows]) for rows in outside.split(_EVALUATIONS)])
            found = _gain(center + unit * output.view(-1, *target.shape[1:]), price)
        true = _gain(wanted[outside], price)
        residual, total = (true - found).square().sum((0, 2)), (true - true.mean(0)).square().sum((0, 2))
        explained = (1 - residual / total.clamp(min=1e-9)).numpy()
    linear = [part for part in network if isinstance(part, torch.nn.Linear)]
    return [(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear], explained


def _gain(parts: torch.Tensor, price: torch.Tensor) -> torch.Tensor:
    """``(n, P, K)`` dS - r dM, of ``(n, P, K, 2)``."""
    return parts[..., 0] - price * parts[..., 1]


def _forward(layers: Layers, x: np.ndarray) -> np.ndarray:
    """The outputs of one network, rectified linear units between the layers."""
    hidden = x
    for weight, bias in layers[:-1]:
        hidden = np.maximum(hidden @ weight.T + bias, 0.0)
    weight, bias = layers[-1]
    return hidden @ weight.T + bias


def _layers(arrays: dict[str, np.ndarray], member: int, *, outputs: int) -> Layers:
    """The layers of one saved network, whose shapes fit together."""
    found: Layers = []
    while f"{member}/{len(found)}/weight" in arrays:
        found.append((arrays[f"{member}/{len(found)}/weight"], arrays[f"{member}/{len(found)}/bias"]))
    widths = [weight.shape[0] for weight, _ in found]
    fits = all(weight.shape[1] == before for (weight, _), before in zip(found[1:], widths, strict=False))
    if not found or not fits or widths[-1] != outputs or any(len(bias) != len(weight) for weight, bias in found):
        raise ValueError(f"the layers of network {member} do not fit together")
    return found
