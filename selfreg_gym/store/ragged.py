"""``Ragged``: a column of number lists of different lengths, as one array; and the binary form of one list in a store.

A list of float32 numbers is stored as their bytes (little-endian, 4 per number): a distribution over ten actions takes
40 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.errors import StoreDamagedError

__all__ = ["Ragged", "from_blob", "to_blob"]

_FLOAT = np.dtype("<f4")


def to_blob(numbers: Sequence[float] | NDArray[np.float32] | None) -> bytes | None:
    """The bytes of a list of numbers, rounded to float32; None for no list."""
    if numbers is None:
        return None
    with np.errstate(over="ignore"):  # a number beyond float32's range becomes an infinity
        return np.array(numbers, _FLOAT).tobytes()


def from_blob(blob: bytes | None) -> tuple[float, ...] | None:
    """The numbers of :func:`to_blob`.

    Raises:
        StoreDamagedError: not bytes, or not a whole number of floats.
    """
    return None if blob is None else tuple(_floats(blob).tolist())


def _floats(blob: bytes) -> NDArray[np.float32]:
    if not isinstance(blob, bytes) or len(blob) % _FLOAT.itemsize:
        raise StoreDamagedError("a list of float32 numbers in the store has an invalid length: restore it from a copy.")
    return np.frombuffer(blob, _FLOAT)


@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of n lists of float32 numbers. ``column[i]`` is the i-th list, or None if there is none.

    Attributes:
        values: float32 ``(m,)``, all lists one after the other.
        offsets: int64 ``(n + 1,)``: list i is ``values[offsets[i] : offsets[i + 1]]``.
        present: bool ``(n,)``, False where there is no list.

    Example:
        >>> column = Ragged.of([(-0.5, -1.0), None])
        >>> column[0], column[1], len(column)
        (array([-0.5, -1. ], dtype=float32), None, 2)
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.int64]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, lists: Sequence[Sequence[float] | NDArray[np.float32] | None]) -> Ragged:
        """The column of these lists."""
        return cls.from_blobs([to_blob(numbers) for numbers in lists])

    @classmethod
    def from_blobs(cls, blobs: Sequence[bytes | None]) -> Ragged:
        """The column of the lists in these blobs.

        Raises:
            StoreDamagedError: a blob is not a whole number of floats.
        """
        lengths = np.array([0 if blob is None else len(blob) for blob in blobs], np.int64)
        offsets = np.concatenate(([0], np.cumsum(lengths))) // _FLOAT.itemsize
        if (lengths % _FLOAT.itemsize).any():
            _floats(b" ")  # raises
        values = np.frombuffer(b"".join(blob for blob in blobs if blob), _FLOAT).astype(np.float32)
        return cls(values, offsets, np.array([blob is not None for blob in blobs], bool))

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, index: int) -> NDArray[np.float32] | None:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside a column of {len(self)} lists")
        i = int(index) % len(self)
        return self.values[self.offsets[i] : self.offsets[i + 1]] if self.present[i] else None

    def __iter__(self) -> Iterator[NDArray[np.float32] | None]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """The column of some of the lists, given by their indices."""
        return Ragged.of([self[i] for i in rows.tolist()])

    def matrix(self) -> NDArray[np.float32]:
        """The lists as rows of an array ``(n, d)``, NaN where there is none; d is 0 if no list is present.

        Raises:
            StoreDamagedError: the lists have different lengths.
        """
        lengths = np.unique(np.diff(self.offsets)[self.present])
        if len(lengths) > 1:
            raise StoreDamagedError(
                f"all vectors of a store must have one length, received lengths {lengths[0]} to {lengths[-1]}."
            )
        rows = np.full((len(self), int(lengths[0]) if len(lengths) else 0), np.nan, np.float32)
        rows[self.present] = self.values.reshape(int(self.present.sum()), rows.shape[1])
        return rows
