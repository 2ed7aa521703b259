"""Fitted frontiers on disk: safetensors and JSON, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.fitted.frontier import FittedFrontier
from selfreg_gym.fitted.saved_frontier import (
    check_arrays,
    check_prices,
    estimate_arrays,
    load_encoder,
    restored_estimates,
    save_arrays,
    save_encoder,
)
from selfreg_gym.utils.model_record import INFO, TRUTH, ModelRecord, Rule, integer, reading_arrays

__all__ = ["load_frontier", "save_frontier"]

WEIGHTS = "networks.safetensors"

RECORD = ModelRecord(
    what="a fitted frontier",
    file="fitted.json",
    format="selfreg_gym fitted 3",
    older={"selfreg_gym fitted 1": {"cap": 0, "policies": 0}, "selfreg_gym fitted 2": {"policies": 0}},
    rules={
        "folds": integer(1), "members": integer(1), "inputs": integer(1), "hidden": integer(1), "actions": integer(2),
        "prices": integer(2), "episodes": integer(0), "decisions": integer(0), "settings": INFO, "cap": integer(0),
        "policies": integer(0),
        "unit": Rule("a positive number", lambda value, fields: isinstance(value, float) and 0 < value < 1e300),
        "encoder": TRUTH,
        "history": Rule("a list", lambda value, fields: isinstance(value, list)),
        "warnings": Rule("a list of texts", lambda value, fields: isinstance(value, list)),
    },
)  # fmt: skip
_REMEDY = "fit again with solve_fitted and save"


def save_frontier(frontier: FittedFrontier, folder: str | Path) -> Path:
    """Write a frontier; the record comes last, so that a folder with a record is complete."""
    place = RECORD.begin(folder)
    first, e = frontier.networks[0], frontier.estimates
    arrays = {"prices": frontier.prices, "evaluated": e.prices} | estimate_arrays(e)
    for cap, capped in enumerate(frontier.caps, 1):
        arrays |= estimate_arrays(capped, f"cap {cap}/")
    arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    arrays |= {"shift": first.shift.numpy(), "scale": first.scale.numpy()}
    for fold, networks in enumerate(frontier.networks):
        arrays |= {f"{fold}/{name}": w.detach().numpy() for name, w in networks.trainable().items()}
    save_arrays(arrays, place / WEIGHTS)
    save_encoder(frontier.encoder, place)
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
    import torch
    from safetensors.numpy import load_file

    from selfreg_gym.fitted.networks import Networks

    _, record = RECORD.read(folder)
    place = Path(folder)
    with reading_arrays("the fitted frontier", place / WEIGHTS, remedy=_REMEDY):
        arrays = load_file(place / WEIGHTS)
        shape = record["inputs"], record["hidden"], record["actions"], record["prices"]
        if not record["policies"]:  # older formats have estimates at the prices of the networks only
            arrays["evaluated"] = arrays["prices"]
        _check(arrays, record, *shape)
        evaluated = arrays["evaluated"]
        estimates, *caps = (
            restored_estimates(arrays, evaluated, actions=record["actions"], prefix=prefix)
            for prefix in ("", *(f"cap {cap}/" for cap in range(1, record["cap"] + 1)))
        )
        networks = []
        for fold in range(record["folds"]):
            shift, scale = torch.from_numpy(arrays["shift"]), torch.from_numpy(arrays["scale"])
            one = Networks(record["members"], *shape, shift=shift, scale=scale, unit=record["unit"])
            one.load_weights({name: torch.from_numpy(arrays[f"{fold}/{name}"]) for name in one.trainable()})
            networks.append(one)
    columns = record["inputs"] - (record["cap"] + 1 if record["cap"] else 0)
    encoder = load_encoder(place, saved=record["encoder"], columns=columns, remedy=_REMEDY)
    return FittedFrontier(
        networks=networks, prices=arrays["prices"], encoder=encoder, settings=record["settings"],
        estimates=estimates, caps=tuple(caps),
        history=record["history"], episodes=record["episodes"], decisions=record["decisions"],
        warnings=tuple(map(str, record["warnings"])),
    )  # fmt: skip


def _check(
    arrays: Mapping[str, np.ndarray], record: Mapping[str, Any], inputs: int, hidden: int, actions: int, prices: int
) -> None:
    """Raise ModelError or KeyError if an array is missing, of another shape, or not finite."""
    members, outputs = record["members"], 2 * actions * prices
    shapes: dict[str, tuple[int, ...]] = {"prices": (prices,), "evaluated": (record["policies"] or prices,)}
    shapes |= {"shift": (inputs,), "scale": (inputs,)}
    for fold in range(record["folds"]):
        layers = {"1": (inputs, hidden), "2": (hidden, hidden), "3": (hidden, outputs)}
        for layer, (fan_in, fan_out) in layers.items():
            shapes[f"{fold}/w{layer}"] = (members, fan_in, fan_out)
            shapes[f"{fold}/b{layer}"] = (members, 1, fan_out)
    check_arrays(arrays, shapes)
    for name in ("prices", "evaluated"):
        check_prices(arrays[name], name)
