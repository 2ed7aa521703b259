"""Micro-batches: how many token rows go through a model at once, and their padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["micro_batches", "pad_right", "rows_per_forward"]

_ROWS, _TOKENS = 8, 8192  # largest number of rows and of tokens per forward pass, padding included


def rows_per_forward(model: Any, rows: int | None) -> int:
    """Return ``rows``, or by default 8 in float32 and 1 in 16-bit types.

    The shape of a batch changes the last digits of each row's result. In float32 rounding removes these digits. In
    bfloat16 and float16 they are too large for that, so each row is read alone. More rows are faster in 16-bit types,
    but then results depend on the batch.

    Raises:
        InvalidArgumentError: ``rows`` is less than 1.
    """
    if rows is None:
        return _ROWS if next(model.parameters()).dtype == torch.float32 else 1
    if rows < 1:
        raise InvalidArgumentError(f"micro_batch must be at least 1 row, received {rows!r}.")
    return rows


def micro_batches(lengths: Sequence[int], *, rows: int, tokens: int = _TOKENS) -> list[list[int]]:
    """Group row indices, sorted by length, into batches of at most ``rows`` rows and ``tokens`` padded tokens.

    A single row longer than ``tokens`` is a batch of its own.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and len(batches[-1]) < rows and (len(batches[-1]) + 1) * lengths[i] <= tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def pad_right(rows: Sequence[Sequence[int]], *, pad: int) -> torch.Tensor:
    """Stack token rows into ``(B, L)`` int64, padded on the right.

    A causal model needs no attention mask for such a batch: tokens do not attend to later positions.
    """
    longest = max(map(len, rows))
    return torch.tensor([[*row, *([pad] * (longest - len(row)))] for row in rows], dtype=torch.long)
