"""Parts of saved frontiers that do not depend on how the values were fitted: arrays, estimates, the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.inputs import InputEncoder
from selfreg_gym.utils.files import atomic_path

__all__ = [
    "check_arrays", "check_prices", "estimate_arrays", "load_encoder", "restored_estimates", "save_arrays",
    "save_encoder",
]  # fmt: skip

ESTIMATES = ("success", "usage", "success_replicates", "usage_replicates")
INPUTS = "inputs"
"""The folder of the encoder."""


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays to a safetensors file, which is replaced atomically."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)


def estimate_arrays(estimates: Estimates, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of estimates, without their prices, under names that begin with ``prefix``."""
    return {prefix + name: getattr(estimates, name) for name in ESTIMATES}


def restored_estimates(
    arrays: Mapping[str, np.ndarray], prices: np.ndarray, *, actions: int, prefix: str = ""
) -> Estimates:
    """The estimates that :func:`estimate_arrays` described.

    Args:
        arrays: of the file.
        prices: ``(Q,)`` prices of the estimates.
        actions: A; there are ``Q + A`` policies.
        prefix: of the names.

    Raises:
        KeyError, ModelError: an array is missing, has another shape, or numbers that are not finite.
    """
    policies, replicates = len(prices) + actions, len(arrays[prefix + "success_replicates"])
    shapes = {name: (replicates, policies) if "replicates" in name else (policies,) for name in ESTIMATES}
    check_arrays(arrays, {prefix + name: shape for name, shape in shapes.items()})
    found: dict[str, Any] = {name: arrays[prefix + name] for name in ESTIMATES}
    return Estimates(**found, prices=prices)


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelError or KeyError if an array is missing, has another shape, or numbers that are not finite."""
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ModelError(f"{name} must have shape {shape}, received {arrays[name].shape}.")
        if not np.isfinite(arrays[name]).all():
            raise ModelError(f"{name} must have finite numbers.")


def check_prices(prices: np.ndarray, name: str = "prices") -> None:
    """Raise ModelError unless prices do not fall, and the first is at least 0."""
    if (np.diff(prices) < 0).any() or prices[0] < 0:
        raise ModelError(f"{name} must rise from 0 on.")


def save_encoder(encoder: Any, folder: Path) -> None:
    """Write the encoder of the inputs beside the arrays, if there is one."""
    if encoder is not None:
        encoder.save(folder / INPUTS)


def load_encoder(folder: Path, *, saved: bool, columns: int, remedy: str) -> InputEncoder | None:
    """The encoder beside the arrays; None if none was saved.

    Args:
        folder: of the frontier.
        saved: whether the record names an encoder.
        columns: number of inputs of the values.
        remedy: what to do, without a full stop.

    Raises:
        CheckpointError: it is missing, damaged, or has another number of inputs.
    """
    if not saved:
        return None
    encoder = InputEncoder.load(folder / INPUTS)
    if encoder.width != columns:
        raise CheckpointError(
            f"{str(folder / INPUTS)!r} has {encoder.width} inputs, the values have {columns}: {remedy}."
        )
    return encoder
