"""Deep averagers on disk: safetensors and JSON, checked when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfreg_gym.averagers.projection import Projection
from selfreg_gym.averagers.representation import HiddenLayers, LearnedValues, Representation
from selfreg_gym.averagers.search import DecisionIndex, Kernel
from selfreg_gym.averagers.values import ValueTables
from selfreg_gym.errors import InvalidArgumentError, ModelError
from selfreg_gym.fitted.saved_frontier import (
    check_arrays,
    check_prices,
    estimate_arrays,
    load_encoder,
    restored_estimates,
    save_arrays,
    save_encoder,
)
from selfreg_gym.utils.model_record import NUMBER, TRUTH, ModelRecord, Rule, integer, reading_arrays

if TYPE_CHECKING:
    from selfreg_gym.averagers.frontier import AveragerFrontier

__all__ = ["load_frontier", "save_frontier"]

ARRAYS = "averagers.safetensors"
FITTED = "fitted"
REPRESENTATIONS: dict[str, type[HiddenLayers | LearnedValues]] = {"hidden": HiddenLayers, "values": LearnedValues}
_REMEDY = "solve the averagers again with solve_averagers and save"

RECORD = ModelRecord(
    what="a frontier of deep averagers",
    file="averagers.json",
    format="selfreg_gym averagers 1",
    rules={
        "actions": integer(2), "neighbours": integer(1), "seed": integer(0), "scale": NUMBER, "smoothing": NUMBER,
        "distance_cost": NUMBER, "limit": NUMBER, "explained": NUMBER,
        "representation": Rule(
            f"null or one of {', '.join(REPRESENTATIONS)}", lambda value, fields: value in (None, *REPRESENTATIONS)
        ),
        "encoder": TRUTH,
    },
)  # fmt: skip


def save_frontier(frontier: AveragerFrontier, folder: str | Path) -> Path:
    """Write a frontier; the record comes last, so that a folder with a record is complete.

    Raises:
        InvalidArgumentError: its representation is a function of the caller, which cannot be saved.
    """
    names: dict[type, str] = {kind: name for name, kind in REPRESENTATIONS.items()}
    given = frontier.representation
    if given is not None and type(given) not in names:
        raise InvalidArgumentError(
            f"a representation can be saved if it is HiddenLayers, LearnedValues or None, received {given!r}: save "
            "frontier.with_inputs(), and set the representation again after loading."
        )
    place = RECORD.begin(folder)
    index, tables = frontier.index, frontier.tables
    action = np.zeros(len(tables.cost), np.int8)
    points = np.zeros((len(action), index.parts[0].points.shape[1]), np.float32)
    for a, (rows, part) in enumerate(zip(index.rows, index.parts, strict=True)):
        action[rows], points[rows] = a, part.points
    arrays: dict[str, np.ndarray] = {
        "points": points, "action": action, "cost": tables.cost, "success_after": tables.success,
        "usage_after": tables.usage, "mean": frontier.projection.mean, "prices": frontier.prices,
        "planned": frontier.planned, **estimate_arrays(frontier.estimates),
    }  # fmt: skip
    if frontier.projection.components is not None:
        arrays["components"] = frontier.projection.components
    save_arrays(arrays, place / ARRAYS)
    save_encoder(frontier.encoder, place)
    if isinstance(given, HiddenLayers | LearnedValues):
        given.frontier.save(place / FITTED)
    RECORD.write(
        place, actions=frontier.actions, neighbours=frontier.neighbours, seed=index.seed, scale=frontier.kernel.scale,
        smoothing=frontier.kernel.smoothing, distance_cost=frontier.kernel.distance_cost, limit=frontier.limit,
        explained=frontier.projection.explained, representation=None if given is None else names[type(given)],
        encoder=frontier.encoder is not None,
    )  # fmt: skip
    return place


def load_frontier(folder: str | Path) -> AveragerFrontier:
    """Read a frontier.

    Raises:
        CheckpointError: a file is missing, damaged or of another format.
    """
    from safetensors.numpy import load_file

    from selfreg_gym.averagers.frontier import AveragerFrontier

    _, record = RECORD.read(folder)
    place = Path(folder)
    with reading_arrays("the frontier of deep averagers", place / ARRAYS, remedy=_REMEDY):
        arrays = load_file(place / ARRAYS)
        _check(arrays, record["actions"])
        estimates = restored_estimates(arrays, arrays["prices"], actions=record["actions"])
    representation: Representation | None = None
    if record["representation"] is not None:
        from selfreg_gym.fitted.frontier import FittedFrontier

        representation = REPRESENTATIONS[record["representation"]](FittedFrontier.load(place / FITTED))
    columns = len(arrays["mean"]) if representation is None else representation.inputs
    encoder = load_encoder(place, saved=record["encoder"], columns=columns, remedy=_REMEDY)
    action = arrays["action"].astype(np.int64)
    return AveragerFrontier(
        prices=arrays["prices"], planned=arrays["planned"],
        estimates=estimates,
        index=DecisionIndex(arrays["points"], action, actions=record["actions"], seed=record["seed"]),
        tables=ValueTables(arrays["success_after"], arrays["usage_after"], arrays["cost"]),
        projection=Projection(arrays["mean"], arrays.get("components"), record["explained"]),
        kernel=Kernel(float(record["scale"]), float(record["smoothing"]), float(record["distance_cost"])),
        neighbours=record["neighbours"], limit=float(record["limit"]), representation=representation, encoder=encoder,
    )  # fmt: skip


def _check(arrays: dict[str, np.ndarray], actions: int) -> None:
    """Raise ModelError or KeyError if an array is missing, of another shape, or not finite."""
    n, prices, r = len(arrays["points"]), len(arrays["prices"]), arrays["points"].shape[1]
    shapes: dict[str, tuple[int, ...]] = {"points": (n, r), "action": (n,), "cost": (n,), "planned": (2, prices)}
    shapes |= {"success_after": (prices, n), "usage_after": (prices, n), "mean": (len(arrays["mean"]),)}
    shapes["prices"] = (prices,)
    if "components" in arrays:
        shapes["components"] = (len(arrays["mean"]), r)
    elif len(arrays["mean"]) != r:
        raise ModelError(f"points must have {len(arrays['mean'])} columns, received {r}.")
    check_arrays(arrays, shapes)
    if not ((arrays["action"] >= 0) & (arrays["action"] < actions)).all():
        raise ModelError(f"action must be from 0 to {actions - 1}.")
    check_prices(arrays["prices"])
