"""Columns of stored transitions: numbers, texts or lists; and the columns of decisions, made of those of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selfreg_gym.store.ragged import Ragged

__all__ = ["Coded", "Column", "merged_columns"]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of texts that holds each distinct text once.

    Attributes:
        codes: int64 ``(n,)``, indices into ``values``; -1 for None.
        values: the distinct texts.
    """

    codes: np.ndarray
    values: list[str]

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Coded:
        """Code n texts in the order of their first occurrence; None has the code -1."""
        codes = {text: code for code, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
        return cls(np.array([codes.get(text, -1) if text is not None else -1 for text in texts], np.int64), list(codes))


Column = np.ndarray | Coded | Ragged
"""A column of transitions: numbers, texts, or lists of numbers."""

_SUMS = ("cost", "reward", "price")
_LAST = ("terminated", "truncated")


def merged_columns(columns: Mapping[str, Column], begins: np.ndarray) -> dict[str, Column]:
    """The columns of decisions: one row for all steps of a call (:func:`selfreg_gym.episodes.merged_calls`).

    Args:
        columns: of the transitions, by name.
        begins: ``(n,)`` bool, where a step is a decision; False where it continues a call.
    """
    if begins.all():
        return dict(columns)
    rows = np.flatnonzero(begins)
    return {name: _merged(name, column, rows) for name, column in columns.items()}


def _merged(name: str, column: Column, rows: np.ndarray) -> Column:
    if isinstance(column, Coded):
        return Coded(column.codes[rows], column.values)
    if isinstance(column, Ragged):
        return column.take(rows)
    if name in _SUMS:
        known = np.add.reduceat((~np.isnan(column)).astype(np.int64), rows)
        return np.where(known > 0, np.add.reduceat(np.nan_to_num(column), rows), np.nan)
    if name == "tokens":
        known = np.add.reduceat((column >= 0).astype(np.int64), rows)
        return np.where(known > 0, np.add.reduceat(np.maximum(column, 0), rows), -1)
    if name in _LAST:
        return column[np.r_[rows[1:], len(column)] - 1]
    if name == "invalid":
        return np.logical_or.reduceat(column, rows)
    return column[rows]
