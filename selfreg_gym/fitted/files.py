"""Fitted frontiers on disk: safetensors and JSON, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.fitted.estimates import Estimates
from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.model_record import INFO, ModelRecord, Rule, reading_arrays

__all__ = ["load_frontier", "save_frontier"]

WEIGHTS = "networks.safetensors"
ESTIMATES = ("success", "usage", "success_replicates", "usage_replicates")
INPUTS = "inputs"


def _count(low: int) -> Rule:
    return Rule(f"an integer >= {low}", lambda value, fields: type(value) is int and value >= low)


RECORD = ModelRecord(
    what="a fitted frontier",
    file="fitted.json",
    format="selfreg_gym fitted 3",
    older={"selfreg_gym fitted 1": {"cap": 0, "policies": 0}, "selfreg_gym fitted 2": {"policies": 0}},
    rules={
        "folds": _count(1), "members": _count(1), "inputs": _count(1), "hidden": _count(1), "actions": _count(2),
        "prices": _count(2), "episodes": _count(0), "decisions": _count(0), "settings": INFO, "cap": _count(0),
        "policies": _count(0),
        "unit": Rule("a positive number", lambda value, fields: isinstance(value, float) and 0 < value < 1e300),
        "encoder": Rule("true or false", lambda value, fields: type(value) is bool),
        "history": Rule("a list", lambda value, fields: isinstance(value, list)),
        "warnings": Rule("a list of texts", lambda value, fields: isinstance(value, list)),
    },
)  # fmt: skip
_REMEDY = "fit again with solve_fitted and save"


def save_frontier(frontier: FittedFrontier, folder: str | Path) -> Path:
    """Write a frontier; the record comes last, so that a folder with a record is complete."""
    import torch
    from safetensors.torch import save_file

    place = RECORD.begin(folder)
    first, e = frontier.networks[0], frontier.estimates
    arrays = {"prices": frontier.prices, "evaluated": e.prices} | {name: getattr(e, name) for name in ESTIMATES}
    for cap, capped in enumerate(frontier.caps, 1):
        arrays |= {f"cap {cap}/{name}": getattr(capped, name) for name in ESTIMATES}
    tensors = {name: torch.from_numpy(np.array(array, np.float64)) for name, array in arrays.items()}
    tensors |= {"shift": first.shift.clone(), "scale": first.scale.clone()}
    for fold, networks in enumerate(frontier.networks):
        tensors |= {f"{fold}/{name}": w.detach().clone() for name, w in networks.trainable().items()}
    with atomic_path(place / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    if frontier.encoder is not None:
        frontier.encoder.save(place / INPUTS)
    RECORD.write(
        place, folds=len(frontier.networks), members=first.count, inputs=frontier.inputs, hidden=first.w1.shape[2],
        actions=frontier.actions, prices=len(frontier.prices), unit=first.unit, encoder=frontier.encoder is not None,
        settings=frontier.settings, history=frontier.history, episodes=frontier.episodes,
        decisions=frontier.decisions, warnings=list(frontier.warnings), cap=len(frontier.caps), policies=len(e.prices),
    )  # fmt: skip
    return place


def load_frontier(folder: str | Path) -> FittedFrontier:
    """Read a frontier.

    Raises:
        CheckpointError: a file is missing, damaged or of another format.
    """
    from safetensors.torch import load_file

    from selfreg_gym.fitted.networks import Networks

    _, record = RECORD.read(folder)
    place = Path(folder)
    with reading_arrays("the fitted frontier", place / WEIGHTS, remedy=_REMEDY):
        tensors = load_file(place / WEIGHTS)
        shape = record["inputs"], record["hidden"], record["actions"], record["prices"]
        if not record["policies"]:  # older formats have estimates at the prices of the networks only
            tensors["evaluated"] = tensors["prices"]
        _check(tensors, record, *shape)
        networks = []
        for fold in range(record["folds"]):
            one = Networks(
                record["members"], *shape, shift=tensors["shift"], scale=tensors["scale"], unit=record["unit"]
            )
            one.load_weights({name: tensors[f"{fold}/{name}"] for name in one.trainable()})
            networks.append(one)
    encoder = None
    if record["encoder"]:
        from selfreg_gym.inputs import InputEncoder

        encoder = InputEncoder.load(place / INPUTS)
        columns = record["inputs"] - (record["cap"] + 1 if record["cap"] else 0)
        if encoder.width != columns:
            raise CheckpointError(
                f"{str(place / INPUTS)!r} has {encoder.width} inputs, the networks {columns}: {_REMEDY}."
            )

    def estimates(prefix: str = "") -> Estimates:
        found = {name: tensors[prefix + name].numpy() for name in ESTIMATES}
        return Estimates(**found, prices=tensors["evaluated"].numpy())

    return FittedFrontier(
        networks=networks, prices=tensors["prices"].numpy(), encoder=encoder, settings=record["settings"],
        estimates=estimates(), caps=tuple(estimates(f"cap {cap}/") for cap in range(1, record["cap"] + 1)),
        history=record["history"], episodes=record["episodes"], decisions=record["decisions"],
        warnings=tuple(map(str, record["warnings"])),
    )  # fmt: skip


def _check(
    tensors: dict[str, Any], record: Mapping[str, Any], inputs: int, hidden: int, actions: int, prices: int
) -> None:
    """Raise ModelError or KeyError if an array is missing, of another shape, or not finite."""
    import torch

    members, outputs = record["members"], 2 * actions * prices
    evaluated = record["policies"] or prices
    policies = evaluated + actions
    shapes: dict[str, tuple[int, ...]] = {"prices": (prices,), "evaluated": (evaluated,)}
    shapes |= {"shift": (inputs,), "scale": (inputs,)}
    replicates = len(tensors["success_replicates"])
    for prefix in ("", *(f"cap {one}/" for one in range(1, record["cap"] + 1))):
        for name in ESTIMATES:
            shapes[prefix + name] = (replicates, policies) if "replicates" in name else (policies,)
    for fold in range(record["folds"]):
        layers = {"1": (inputs, hidden), "2": (hidden, hidden), "3": (hidden, outputs)}
        for layer, (fan_in, fan_out) in layers.items():
            shapes[f"{fold}/w{layer}"] = (members, fan_in, fan_out)
            shapes[f"{fold}/b{layer}"] = (members, 1, fan_out)
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ModelError(f"{name} must have shape {shape}, received {tuple(tensors[name].shape)}.")
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(f"{name} must have finite numbers.")
    for name in ("prices", "evaluated"):
        if (torch.diff(tensors[name]) < 0).any() or float(tensors[name][0]) < 0:
            raise ModelError(f"{name} must rise from 0 on.")
