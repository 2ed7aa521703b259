"""Inputs in compact form: the positions of the ones of binary columns, and the other columns as numbers.

One-hot codes of keys make up most columns, with a few ones per row. The first layer of a network is then a sum of a few
rows of its weights instead of a product with mostly zeros, and the inputs take a fraction of the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

__all__ = ["Batch", "PackedInputs", "plain"]

CHUNK = 8192
FEW = 8
"""Binary columns are packed if their number is at least this multiple of the largest number of ones in a row."""


class Batch(NamedTuple):
    """Inputs of a batch, with leading axes ``...``.

    Attributes:
        column: ``(..., k)`` int64 columns with a one; unused places are 0.
        weight: ``(..., k)`` float32, 1 for used places.
        numbers: ``(..., d)`` float32, the other columns.
        numeric: ``(d,)`` int64, the indices of these columns.
    """

    column: torch.Tensor
    weight: torch.Tensor
    numbers: torch.Tensor
    numeric: torch.Tensor


def plain(x: torch.Tensor) -> Batch:
    """Inputs ``(..., D)`` as a batch of numbers only."""
    none = x.new_zeros((*x.shape[:-1], 0))
    return Batch(none.long(), none, x, torch.arange(x.shape[-1]))


class PackedInputs:
    """The inputs ``(n, D)`` in compact form.

    Attributes:
        numeric: ``(d,)`` the columns that are kept as numbers: all, if there are few binary columns.
    """

    def __init__(self, x: np.ndarray) -> None:
        binary = np.ones(x.shape[1], bool)
        most = 0
        for begin in range(0, len(x), CHUNK):
            chunk = x[begin : begin + CHUNK]
            binary &= ((chunk == 0) | (chunk == 1)).all(axis=0)
        for begin in range(0, len(x), CHUNK):
            most = max(most, int((x[begin : begin + CHUNK][:, binary] != 0).sum(axis=1).max(initial=0)))
        if binary.sum() < FEW * max(most, 1):
            binary[:] = False
            most = 0
        self.numeric = np.flatnonzero(~binary)
        self._numbers = np.empty((len(x), len(self.numeric)), np.float32)
        self._column = np.full((len(x), most), -1, np.int32)
        columns = np.flatnonzero(binary)
        for begin in range(0, len(x), CHUNK):
            chunk = x[begin : begin + CHUNK]
            self._numbers[begin : begin + CHUNK] = chunk[:, self.numeric]
            row, place = np.nonzero(chunk[:, columns])
            position = np.arange(len(row)) - np.searchsorted(row, row)
            self._column[begin + row, position] = columns[place]

    def __len__(self) -> int:
        return len(self._numbers)

    def batch(self, rows: np.ndarray) -> Batch:
        """The inputs of some rows, an array of any shape."""
        column = self._column[rows]
        return Batch(
            torch.from_numpy(np.maximum(column, 0).astype(np.int64)),
            torch.from_numpy((column >= 0).astype(np.float32)),
            torch.from_numpy(self._numbers[rows]),
            torch.from_numpy(self.numeric),
        )
