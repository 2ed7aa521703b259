"""Tree packing: a prompt and all its candidate answers in one row.

Scoring n candidates one by one reads the prompt n times. Here the prompt is read once, followed by the trie of
the candidates' tokens; a 4-D attention mask lets every node see the prompt, its ancestors and itself, and position
ids count along its own branch. The result is the same as scoring one by one (to 1e-5 in float32). A node that
ends a candidate predicts nothing, so it is not fed at all. The idea is that of tree attention in speculative
decoding (SpecInfer, Miao et al. 2023); the code is ours.

Layout of a row (columns)::

    [ padding | prompt ............ | trie nodes ...... | padding ]
                                    ^ same column `split` in every row of the batch

so that the last ``1 + max nodes`` columns are exactly those whose logits are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["PackedBatch", "Trie", "build_trie", "pack"]


@dataclass(frozen=True, slots=True)
class Trie:
    """The candidates' tokens as a tree under the prompt's last token.

    Attributes:
        tokens: ``(n,)`` int64 tokens of the nodes that are fed (those with children).
        depth: ``(n,)`` int64, 1 for children of the prompt.
        ancestors: ``(n, n)`` bool; row i is True at i and at i's ancestors.
        source: ``(m,)`` int64 for each token to be predicted: 0 is the prompt's last token, i + 1 is node i.
        target: ``(m,)`` int64 the token predicted there.
        starts: ``(c,)`` int64 where each candidate's entries begin in ``source``; all candidates are non-empty.
    """

    tokens: np.ndarray
    depth: np.ndarray
    ancestors: np.ndarray
    source: np.ndarray
    target: np.ndarray
    starts: np.ndarray

    @property
    def size(self) -> int:
        """Number of nodes fed to the model."""
        return len(self.tokens)

    @property
    def longest(self) -> int:
        """Tokens of the longest candidate that are fed to the model."""
        return int(self.depth.max(initial=0))


def build_trie(candidates: Sequence[Sequence[int]]) -> Trie:
    """Merge token sequences (each of at least one token) into a :class:`Trie`; shared prefixes are fed once."""
    node_of: dict[tuple[int, int], int] = {}  # (parent, token) -> node; parent -1 is the prompt
    tokens: list[int] = []
    parents: list[int] = []
    source: list[int] = []
    target: list[int] = []
    starts: list[int] = []
    for candidate in candidates:
        starts.append(len(source))
        parent = -1
        for place, token in enumerate(candidate):
            source.append(parent + 1)
            target.append(token)
            if place + 1 == len(candidate):
                break  # nothing is predicted from a candidate's last token
            node = node_of.get((parent, token))
            if node is None:
                node = node_of[parent, token] = len(tokens)
                tokens.append(token)
                parents.append(parent)
            parent = node
    n = len(tokens)
    depth = np.ones(n, dtype=np.int64)
    ancestors = np.eye(n, dtype=bool)
    for node, parent in enumerate(parents):  # parents come before their children
        if parent >= 0:
            depth[node] = depth[parent] + 1
            ancestors[node] |= ancestors[parent]
    return Trie(
        np.asarray(tokens, dtype=np.int64),
        depth,
        ancestors,
        np.asarray(source, dtype=np.int64),
        np.asarray(target, dtype=np.int64),
        np.asarray(starts, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Model inputs for B packed rows of L columns.

    Attributes:
        input_ids: ``(B, L)`` int64.
        position_ids: ``(B, L)`` int64.
        attention_mask: ``(B, 1, L, L)`` additive float: 0 may look, the dtype's minimum may not. (A boolean mask
            would do for SDPA, but eager attention adds what it is given.)
        keep: how many of the last columns need logits (``logits_to_keep``).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    keep: int


def pack(
    prompts: Sequence[Sequence[int]], tries: Sequence[Trie], *, pad: int, dtype: torch.dtype = torch.float32
) -> PackedBatch:
    """Lay out B prompts (token ids, each of at least one) with their tries; see the module's picture."""
    batch = len(prompts)
    split = max(len(prompt) for prompt in prompts)
    nodes = max(trie.size for trie in tries)
    length = split + nodes
    ids = np.full((batch, length), pad, dtype=np.int64)
    positions = np.zeros((batch, length), dtype=np.int64)
    visible = np.zeros((batch, 1, length, length), dtype=bool)
    columns = np.arange(length)
    visible[:, 0, columns, columns] = True  # padding sees itself: a row that sees nothing would give NaN
    triangle = np.tri(split, dtype=bool)
    for row, (prompt, trie) in enumerate(zip(prompts, tries, strict=True)):
        size, begin, end = len(prompt), split - len(prompt), split + trie.size
        ids[row, begin:split] = prompt
        positions[row, begin:split] = columns[:size]
        visible[row, 0, begin:split, begin:split] = triangle[:size, :size]
        if trie.size:
            ids[row, split:end] = trie.tokens
            positions[row, split:end] = size - 1 + trie.depth
            visible[row, 0, split:end, begin:split] = True
            visible[row, 0, split:end, split:end] = trie.ancestors
    mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(torch.from_numpy(~visible), torch.finfo(dtype).min)
    return PackedBatch(torch.from_numpy(ids), torch.from_numpy(positions), mask, 1 + nodes)
