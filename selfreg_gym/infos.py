"""Infos of N environments in Gymnasium's vector convention, and back.

The convention (``gymnasium.vector.VectorEnv._add_info``): a dict of arrays with N entries, and for each key a boolean
array ``_key`` that says which rows have it; dicts are nested. ``_add_info`` costs a microsecond per value, as much
as the step of a task in all; here a column is built at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["batch_infos", "column", "row_info"]


def batch_infos(infos: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Put the infos of N rows (None: the row has none) into one dict of arrays with masks.

    An int, float or bool becomes an entry of an array of that type, an array a row of a stacked array, a dict a dict of
    arrays, and anything else (text, None, tuples) an entry of an object array. Missing entries are zero or None.
    """
    n = len(infos)
    present = [i for i, info in enumerate(infos) if info is not None]
    batched: dict[str, Any] = {}
    if len(present) == n and all(info.keys() == infos[0].keys() for info in infos):  # type: ignore[union-attr]
        for key in infos[0]:  # type: ignore[union-attr]
            batched[key] = _column([info[key] for info in infos], present, n)  # type: ignore[index]
            batched[f"_{key}"] = np.ones(n, dtype=np.bool_)
        return batched
    keys = dict.fromkeys(key for i in present for key in infos[i])  # type: ignore[union-attr]
    for key in keys:
        rows = [i for i in present if key in infos[i]]  # type: ignore[operator]
        values = [infos[i][key] for i in rows]  # type: ignore[index]
        mask = np.zeros(n, dtype=np.bool_)
        mask[rows] = True
        batched[key] = _column(values, rows, n)
        batched[f"_{key}"] = mask
    return batched


def _column(values: list[Any], rows: list[int], n: int) -> Any:
    kinds = set(map(type, values))
    full = len(values) == n
    if len(kinds) == 1:
        kind = next(iter(kinds))
        if kind is dict:
            nested: list[Mapping[str, Any] | None] = [None] * n
            for row, value in zip(rows, values, strict=True):
                nested[row] = value
            return batch_infos(nested)
        if kind in (bool, int, float) or issubclass(kind, np.number | np.bool_):
            if full:
                return np.array(values, dtype=kind)
            array = np.zeros(n, dtype=kind)
            array[rows] = values
            return array
        if kind is np.ndarray and len({value.shape for value in values}) == 1:
            if full:
                return np.array(values)
            array = np.zeros((n, *values[0].shape), dtype=values[0].dtype)
            array[rows] = values
            return array
    if full:
        return np.fromiter(values, dtype=object, count=n)  # np.array would make tuples a second axis
    array = np.full(n, None, dtype=object)
    for row, value in zip(rows, values, strict=True):
        array[row] = value
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


def column(infos: Mapping[str, Any], key: str, *, into: np.ndarray) -> np.ndarray:
    """Return ``into`` with the rows that have ``key`` overwritten; rows without it keep what they had."""
    mask = infos.get(f"_{key}")
    if mask is None:
        return into
    updated = into.copy()
    updated[mask] = infos[key][mask]
    return updated
