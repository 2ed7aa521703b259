"""Batch the infos of N environments in Gymnasium's vector convention, and take one out again.

The convention of ``gymnasium.vector.VectorEnv._add_info``: a dict of arrays with N entries, and for each key a boolean
array ``_key``, True for the environments that have it; dicts are nested. ``_add_info`` takes a microsecond per value,
about as long as a step of a small task; the functions here build whole arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

__all__ = ["batch_infos", "info_at"]


def batch_infos(infos: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Put the infos of N environments (None for an environment without info) into one dict of arrays with masks.

    Numbers and booleans become an array of their type, arrays are stacked, dicts become a dict of arrays, and all other
    values (text, None, tuples) an object array. Missing entries are zero or None.
    """
    n = len(infos)
    given = [info for info in infos if info is not None]
    if not given:
        return {}
    given_mask = np.array([info is not None for info in infos])
    present = np.flatnonzero(given_mask)
    batched: dict[str, Any] = {}
    for key in dict.fromkeys(chain.from_iterable(given)):
        try:
            values, indices, mask = [info[key] for info in given], present, given_mask.copy()
        except KeyError:  # only some have it: a metric of the last step, for instance
            values = [info[key] for info in given if key in info]
            indices = present[[key in info for info in given]]
            mask = np.zeros(n, dtype=np.bool_)
            mask[indices] = True
        batched[key] = _column(values, indices, n)
        batched[f"_{key}"] = mask
    return batched


def _column(values: list[Any], indices: np.ndarray, n: int) -> Any:
    """The values of the environments ``indices`` as one array with n entries, or as a dict of arrays."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is dict:
            nested: list[Mapping[str, Any] | None] = [None] * n
            for i, value in zip(indices, values, strict=True):
                nested[i] = value
            return batch_infos(nested)
        if kind in (bool, int, float) or issubclass(kind, np.number | np.bool_):
            return _spread(np.array(values, dtype=kind), indices, n)
        if kind is np.ndarray and len({(value.shape, value.dtype) for value in values}) == 1:
            stacked = np.concatenate(values, axis=None).reshape(len(values), *values[0].shape)  # faster than np.stack
            return _spread(stacked, indices, n)
    return _spread(np.fromiter(values, dtype=object, count=len(values)), indices, n)  # np.array would unpack tuples


def _spread(values: np.ndarray, indices: np.ndarray, n: int) -> np.ndarray:
    """Put the values at ``indices`` of an array with n entries; the other entries are 0, False or None."""
    if len(indices) == n:
        return values
    empty = np.empty if values.dtype == object else np.zeros  # np.empty of objects is filled with None
    array = empty((n, *values.shape[1:]), dtype=values.dtype)
    array[indices] = values
    return array


def info_at(infos: Mapping[str, Any], index: int, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the info of one environment from a batch: the keys that it has, of ``keys`` if given."""
    if keys is None:
        keys = [key for key in infos if f"_{key}" in infos]
    info = {}
    for key in keys:
        mask = infos.get(f"_{key}")
        if mask is not None and mask[index]:
            value = infos[key]
            info[key] = info_at(value, index) if isinstance(value, Mapping) else value[index]
    return info
