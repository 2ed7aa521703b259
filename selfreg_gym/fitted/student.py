"""``Student``: the gains of a teacher, predicted from fewer inputs.

Bootstrapping on inputs that hide part of the state gives biased values. So a teacher is fitted to everything that is
known at collection, and a student with the inputs of the deployment is regressed on the teacher's gains

    dS_r(s, k) = S_r(s, k) - S_r(s, 0)   and   dM_r(s, k) = M_r(s, k) - M_r(s, 0)

at all prices r (:mod:`selfreg_gym.fitted.student_training`). This is the distillation of a policy with privileged
information (Chen et al. 2019, "Learning by cheating"), with gains in place of actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, shown
from selfreg_gym.fitted.saved_frontier import save_arrays, save_encoder
from selfreg_gym.inputs import InputEncoder
from selfreg_gym.utils.arguments import check_count, check_number, is_number
from selfreg_gym.utils.model_record import INFO, TRUTH, ModelRecord, Rule, integer, reading_arrays
from selfreg_gym.utils.progress import progress_bar

if TYPE_CHECKING:
    from selfreg_gym.fitted.student_training import Layers

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
        "interventions": integer(1),
        "members": integer(1),
        "encoded": TRUTH,
        "info": INFO,
    },
)
_ARRAYS = "student.safetensors"
_LEAST = 1e-3  # smallest unit of a gain
_ROWS = 65_536  # rows of one forward pass


class Student:
    """An ensemble of small networks from inputs to gains; made by :meth:`train`.

    Attributes:
        prices: float64 ``(P,)``, success per cost unit.
        interventions: K.
        encoder: the encoder of its inputs, or None.
        info: facts about its training; ``r2`` has the share of the gain's variance that is explained on held-out
            tasks, for each price.
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
        """Regress an ensemble of networks on a teacher's gains.

        Each member of the ensemble holds out different tasks, and keeps the weights of the epoch with the smallest loss
        on them.

        Args:
            x: float32 ``(n, D)``, the student's inputs at n decisions.
            gains: ``(dS, dM)`` of the teacher, each ``(n, P, K)``.
            prices: ``(P,)``, in success per cost unit.
            tasks: ``(n,)``, the task of each decision (numbers or names).
            encoder: the encoder that made ``x``; it is saved with the student.
            hidden: units of the hidden layers.
            members: number of networks; their gains are averaged.
            share: share of the tasks that each network holds out.
            epochs: passes over the rows.
            batch: rows per step of the optimiser (AdamW; the learning rate falls to 0 along a cosine).
            learning_rate, weight_decay: of the optimiser.
            dropout: of the first hidden layer.
            seed: seed of the held-out tasks, the initial weights and the batches.
            progress: show a progress bar.

        Raises:
            InvalidArgumentError: arrays of other shapes, numbers that are not finite, fewer than two tasks, or inputs
                so large that the training diverges.
        """
        from selfreg_gym.fitted.student_training import held_out_rows, train_network

        x, target, prices_, names = _checked(x, gains, prices, tasks)
        check_count("members", members)
        check_count("epochs", epochs)
        check_count("batch", batch)
        check_count("seed", seed, low=0)
        check_number("share", share, high=0.5, above=True)
        if not hidden:
            raise InvalidArgumentError(f"hidden must be the units of at least one layer, received {shown(hidden)}.")
        sizes = [check_count("hidden: each", units) for units in hidden]
        # The unit of usage is a cost unit, which may be small.
        least = _LEAST * np.array([1.0, np.clip(np.abs(target[..., 1]).max(), 1e-30, 1.0)], np.float32)
        mean, scale = target.mean(axis=0), np.maximum(target.std(axis=0), least)
        trained, r2 = [], []
        with progress_bar("student", members * epochs, shown=progress) as update:
            for member in range(members):

                def advance(done: int, before: int = member * epochs) -> None:
                    update(before + done)

                layers, explained = train_network(
                    x, target, prices_, held_out_rows(names, share=share, seed=seed, member=member), mean=mean,
                    scale=scale, hidden=sizes, epochs=epochs, batch=batch, learning_rate=learning_rate,
                    weight_decay=weight_decay, dropout=dropout, seed=seed * 1000 + member,
                    progress=advance,
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
            InvalidArgumentError: inputs of another width, or numbers that are not finite.
        """
        x = np.asarray(x, np.float32)
        inputs = self._members[0][0][0].shape[1]  # columns of the first weight
        if x.ndim != 2 or x.shape[1] != inputs:
            raise InvalidArgumentError(f"this student reads inputs (n, {inputs}), received shape {x.shape}.")
        if not np.isfinite(x).all():
            raise InvalidArgumentError("x must have finite numbers, received NaN or infinity.")
        shape = (len(x), *self._mean.shape)
        found = np.zeros(shape, np.float32)
        for begin in range(0, len(x), _ROWS):
            rows = x[begin : begin + _ROWS]
            total = sum(_forward(layers, rows) for layers in self._members) / len(self._members)
            found[begin : begin + _ROWS] = self._mean + self._scale * np.reshape(total, (-1, *self._mean.shape))
        return found[..., 0], found[..., 1]

    def save(self, folder: str | Path) -> None:
        """Write the weights (safetensors), the encoder and, last, ``student.json``, which marks it as complete."""
        place = _RECORD.begin(folder)
        arrays = {"mean": self._mean, "scale": self._scale}
        for m, layers in enumerate(self._members):
            for i, (weight, bias) in enumerate(layers):
                arrays |= {f"{m}/{i}/weight": weight, f"{m}/{i}/bias": bias}
        save_arrays({name: np.asarray(array, np.float32) for name, array in arrays.items()}, place / _ARRAYS)
        save_encoder(self.encoder, place)
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
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("its weights must be finite numbers, and some are NaN or infinite")
        encoder = InputEncoder.load(place / "inputs") if fields["encoded"] else None
        inputs = {layers[0][0].shape[1] for layers in members}
        if len(inputs) > 1 or (encoder is not None and {encoder.width} != inputs):
            raise CheckpointError(
                f"the student in {str(folder)!r} holds parts of different students: networks of "
                f"{' and '.join(map(str, sorted(inputs)))} inputs"
                f"{'' if encoder is None else f', and an encoder of {encoder.width}'}: train it again."
            )
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


def _forward(layers: Layers, x: np.ndarray) -> np.ndarray:
    """``(n, outputs)`` outputs of one network, with rectified linear units between the layers."""
    hidden = x
    for weight, bias in layers[:-1]:
        hidden = np.maximum(hidden @ weight.T + bias, 0.0)
    weight, bias = layers[-1]
    return hidden @ weight.T + bias


def _layers(arrays: dict[str, np.ndarray], member: int, *, outputs: int) -> Layers:
    """The layers of one saved network.

    Raises:
        ValueError: their shapes do not fit together.
    """
    found: Layers = []
    while f"{member}/{len(found)}/weight" in arrays:
        found.append((arrays[f"{member}/{len(found)}/weight"], arrays[f"{member}/{len(found)}/bias"]))
    widths = [weight.shape[0] for weight, _ in found]
    fits = all(weight.shape[1] == before for (weight, _), before in zip(found[1:], widths, strict=False))
    if not found or not fits or widths[-1] != outputs or any(len(bias) != len(weight) for weight, bias in found):
        raise ValueError(f"the layers of network {member} do not fit together")
    return found
