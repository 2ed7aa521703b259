"""Infos of N environments in Gymnasium's vector convention, and back.

The convention (``gymnasium.vector.VectorEnv._add_info``): a dict of arrays with N entries, and for each key a boolean
array ``_key`` that says which rows have it; dicts are nested. ``_add_info`` costs a microsecond per value, as much
as the step of a task in all; here a column is built at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

__all__ = ["batch_infos", "row_info"]


def batch_infos(infos: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Put the infos of N rows (None: the row has none) into one dict of arrays with masks.

    An int, float or bool becomes an entry of an array of that type, an array a row of a stacked array, a dict a dict of
    arrays, and anything else (text, None, tuples) an entry of an object array. Missing entries are zero or None.
    """
    n = len(infos)
    rows = np.array([i for i, info in enumerate(infos) if info is not None], dtype=np.intp)
    given = [info for info in infos if info is not None]
    if not given:
        return {}
    everyone = np.zeros(n, dtype=np.bool_)
    everyone[rows] = True
    batched: dict[str, Any] = {}
    for key in dict.fromkeys(chain.from_iterable(given)):
        try:
            values, holders, mask = [info[key] for info in given], rows, everyone.copy()
        except KeyError:  # not all rows have it: a number that is told at the end of an episode
            values = [info[key] for info in given if key in info]
            holders = rows[[key in info for info in given]]
            mask = np.zeros(n, dtype=np.bool_)
            mask[holders] = True
        batched[key] = _column(values, holders, n)
        batched[f"_{key}"] = mask
    return batched


def _column(values: list[Any], rows: np.ndarray, n: int) -> Any:
    """Values of some of n rows as one array (or as a dict of arrays)."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is dict:
            nested: list[Mapping[str, Any] | None] = [None] * n
            for row, value in zip(rows, values, strict=True):
                nested[row] = value
            return batch_infos(nested)
        if kind in (bool, int, float) or issubclass(kind, np.number | np.bool_):
            return _spread(np.array(values, dtype=kind), rows, n)
        if kind is np.ndarray and len({(value.shape, value.dtype) for value in values}) == 1:
            stacked = np.concatenate(values, axis=None).reshape(len(values), *values[0].shape)  # faster than np.stack
            return _spread(stacked, rows, n)
    return _spread(np.fromiter(values, dtype=object, count=len(values)), rows, n)  # np.array would unpack tuples


def _spread(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Put values of some rows into an array of n rows; the others are 0, False or None."""
    if len(rows) == n:
        return values
    empty = np.empty if values.dtype == object else np.zeros  # np.empty of objects is filled with None
    array = empty((n, *values.shape[1:]), dtype=values.dtype)
    array[rows] = values
    return array


def row_info(infos: Mapping[str, Any], row: int, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Return one row's info from a batch (only ``keys``, if given); keys that the row does not have are left out."""
    if keys is None:
        keys = [key for key in infos if f"_{key}" in infos]
    info = {}
    for key in keys:
        mask = infos.get(f"_{key}")
        if mask is not None and mask[row]:
            value = infos[key]
            info[key] = row_info(value, row) if isinstance(value, Mapping) else value[row]
    return info
