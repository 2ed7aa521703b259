"""Models on disk: one ``.npz`` of plain arrays, never a pickle; text is UTF-8 JSON in a byte array."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.transitions.model import Fitted, Rows, TransitionModel
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.json_text import dumps

__all__ = ["load_model", "read_arrays", "save_model"]

FORMAT = "selfreg_gym transitions 1"


def save_model(model: TransitionModel, path: str | Path) -> None:
    """Write a model, atomically.

    Raises:
        ModelError: a key is neither text nor an integer, so JSON cannot represent it.
    """
    keys = list(model.keys) if model.keys is not None else None
    if keys is not None and not all(isinstance(key, (str, int)) for key in keys):
        raise ModelError("only models with text or integer keys can be saved: use str keys, or none.")
    arrays = {"format": np.array(FORMAT), "levels": np.array(model.levels), "keys": _text(keys)}
    arrays |= {name: getattr(model, name) for name in ("success", "last_success", "cost", "start", "available")}
    if model.calling.any():
        arrays["calling"] = model.calling
    for a, row in enumerate(model.rows):
        for name, array in row._asdict().items():
            if array is not None:
                arrays[f"row{a}_{name}"] = array
    if model.fitted is not None:
        arrays["fitted"] = _text({"settings": model.fitted.settings, "coverage": model.fitted.coverage})
        arrays |= {name: getattr(model.fitted, name) for name in ("counts", "is_feature", "feature_of_node")}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub takes names for allow_pickle


def load_model(path: str | Path) -> TransitionModel:
    """Read a model.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """
    read = read_arrays(path, FORMAT, "a transition model (TransitionModel.save)")
    try:
        if read["success"].ndim != 2:
            raise ModelError(f"success must have shape (A, N), received {read['success'].shape}.")
        nodes, levels = int(read["success"].shape[1]), int(read["levels"])
        if levels < 1:
            raise ModelError(f"levels must be at least 1, received {levels}.")
        rows = [_rows(read, a, nodes, levels) for a in range(len(read["success"]))]
        if not rows:
            raise ModelError("success must have at least one action, received none.")
        keys = _parse(read["keys"])
        if keys is not None:
            named = isinstance(keys, list) and all(isinstance(key, str | int) for key in keys)
            if not named or len(keys) != nodes or len(set(keys)) != nodes:
                raise ModelError(f"keys must be {nodes} different texts or integers, one per state.")
        model = TransitionModel.__new__(TransitionModel)
        success, last_success = read["success"], read["last_success"]
        model._set(
            tuple(rows), nodes, levels, success, read["start"], read["cost"], keys,
            read["available"], "fail", None if np.array_equal(success, last_success) else last_success,
            calling=read.get("calling"),
        )  # fmt: skip
        if "fitted" in read:
            about = _parse(read["fitted"])
            if not all(isinstance(about[name], dict) for name in ("settings", "coverage")) or keys is None:
                raise ModelError("a fitted model must have settings, coverage and keys.")
            for name, shape in (("counts", success.shape), ("is_feature", (nodes,)), ("feature_of_node", (nodes,))):
                if read[name].shape != shape or not np.isfinite(read[name]).all():
                    raise ModelError(f"{name} must have finite numbers in shape {shape}, received {read[name].shape}.")
            if not ((read["feature_of_node"] >= -1) & (read["feature_of_node"] < nodes)).all():
                raise ModelError("feature_of_node must have indices of nodes, or -1.")
            arrays = read["counts"], read["is_feature"], read["feature_of_node"]
            model = model.fitted_to(Fitted(*arrays, about["settings"], about["coverage"]), keys)
        return model
    except DAMAGE as error:
        raise damaged(path, error, "fit the model again and save it") from error


DAMAGE = (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError, MemoryError, AttributeError)
"""Exceptions raised for arrays of wrong shapes and types; ModelError is a ValueError."""


def damaged(path: str | Path, error: BaseException, remedy: str) -> CheckpointError:
    """Return the error for a file with inconsistent arrays."""
    what = f"it lacks {error}" if isinstance(error, KeyError) else f"{error}".rstrip(".") or type(error).__name__
    return CheckpointError(f"{path} is damaged: {what}. Make it again: {remedy}.")


def _rows(read: dict[str, np.ndarray], action: int, nodes: int, levels: int) -> Rows:
    """Return the rows of an action; raise KeyError or ModelError if a CSR array is missing or invalid."""
    indptr, indices, data = (read[f"row{action}_{name}"] for name in ("indptr", "indices", "data"))
    drop = read.get(f"row{action}_drop")
    whole = all(array.ndim == 1 and array.dtype.kind in "iu" for array in (indptr, indices))
    if not whole or data.ndim != 1 or data.dtype.kind != "f":
        raise ModelError(f"the rows of action {action} must have integer indices and real probabilities.")
    if len(indptr) != nodes + 1 or indptr[0] != 0 or (np.diff(indptr.astype(np.int64)) < 0).any():
        raise ModelError(f"the row pointer of action {action} must have {nodes + 1} entries, non-decreasing from 0.")
    if not len(data) == len(indices) == int(indptr[-1]):
        raise ModelError(
            f"action {action} needs {int(indptr[-1])} entries, received {len(indices)} indices, {len(data)} numbers."
        )
    if drop is None and levels > 1:
        raise ModelError(f"every action of a model over steps left must have a drop array: action {action} has none.")
    if drop is not None and (drop.shape != data.shape or drop.dtype.kind not in "iu" or (drop < 0).any()):
        raise ModelError(f"the drop array of action {action} must have one integer >= 0 per transition.")
    return Rows(indptr, indices, np.asarray(data, np.float64), drop)


def read_arrays(path: str | Path, expected: str, what: str) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file of the ``expected`` format.

    Raises:
        CheckpointError: the file is missing, damaged, not an ``.npz`` file, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; expected {what}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            read = {name: archive[name] for name in archive.files}
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors
        reason = f"{type(error).__name__}: {error}" if zipfile.is_zipfile(path) else "it is not an .npz file"
        raise CheckpointError(f"{path} is not {what}, or is damaged: {reason}.") from error
    found = read.get("format", np.array("no format"))
    if found.ndim or str(found) != expected:
        raise CheckpointError(f"{path} is not {what}: expected format {expected!r}, received {str(found)[:80]!r}.")
    return read


def _text(value: Any) -> np.ndarray:
    return np.frombuffer(dumps(value).encode(), np.uint8)


def _parse(array: np.ndarray) -> Any:
    return json.loads(array.tobytes().decode())
