"""Models on disk: one ``.npz`` of plain arrays, never a pickle; text is UTF-8 JSON in a byte array."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.transitions.model import Rows, TransitionModel

__all__ = ["load_model", "read_arrays", "save_model"]

FORMAT = "selfreg_gym transitions 1"


def save_model(model: TransitionModel, path: str | Path) -> None:
    """Write a model.

    Raises:
        ModelError: its keys are neither text nor integers, so that JSON cannot hold them.
    """
    keys = list(model.keys) if model.keys is not None else None
    if keys is not None and not all(isinstance(key, (str, int)) for key in keys):
        raise ModelError("only models with text or integer keys can be saved: give str keys, or none.")
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "levels": np.array(model.levels),
        "success": model.success,
        "last_success": model.last_success,
        "cost": model.cost,
        "start": model.start,
        "available": model.available,
        "keys": _text(keys),
    }
    for a, row in enumerate(model.rows):
        for name, array in row._asdict().items():
            if array is not None:
                arrays[f"row{a}_{name}"] = array
    if model.fitted is not None:
        arrays["fitted"] = _text({"settings": model.fitted.settings, "coverage": model.fitted.coverage})
        arrays["counts"] = model.fitted.counts
        arrays["is_feature"] = model.fitted.is_feature
        arrays["feature_of_node"] = model.fitted.feature_of_node
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub takes names for allow_pickle


def load_model(path: str | Path) -> TransitionModel:
    """Read a model.

    Raises:
        CheckpointError: the file is missing, damaged, or something else.
    """
    from selfreg_gym.transitions.fitting import Fitted

    read = read_arrays(path, FORMAT, "a transition model (TransitionModel.save)")
    try:
        rows = []
        for a in range(len(read["success"])):
            parts = [read.get(f"row{a}_{name}") for name in Rows._fields]
            if any(part is None for part in parts[:3]):
                raise KeyError(f"row{a}")
            rows.append(Rows(*parts))  # type: ignore[arg-type]
        keys = _parse(read["keys"])
        model = TransitionModel.__new__(TransitionModel)
        success, last_success = read["success"], read["last_success"]
        model._set(
            tuple(rows), int(success.shape[1]), int(read["levels"]), success, read["start"], read["cost"], None,
            read["available"], "fail", None if np.array_equal(success, last_success) else last_success,
        )  # fmt: skip
        model.keys = tuple(keys) if keys is not None else None
        if "fitted" in read:
            about = _parse(read["fitted"])
            model.fitted = Fitted(
                read["counts"], read["is_feature"], read["feature_of_node"], about["settings"], about["coverage"]
            )
        return model
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged: {type(error).__name__}: {error}.") from error


def read_arrays(path: str | Path, expected: str, what: str) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file whose ``format`` is ``expected``.

    Raises:
        CheckpointError: no file, not an ``.npz``, a damaged one, or another format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{what} was expected at {path}, where there is no file.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            read = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for damage
        raise CheckpointError(f"{path} is not {what}, or is damaged: {type(error).__name__}: {error}.") from error
    found = str(read.get("format", "no format"))
    if found != expected:
        raise CheckpointError(f"{path} is not {what}: expected format {expected!r}, received {found!r}.")
    return read


def _text(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _parse(array: np.ndarray) -> Any:
    return json.loads(array.tobytes().decode())
