"""Tree packing: a prompt and all its candidate answers in one row.

Scoring c candidates separately reads the prompt c times. A packed row holds the prompt once, followed by the trie of
the candidates' tokens. A 4-D attention mask lets each node attend to the prompt, its ancestors and itself, and position
ids count along each branch, so that the scores equal those of separate scoring (to 1e-5 in float32). A node without
children predicts nothing and is left out. This is the tree attention of speculative decoding (SpecInfer, Miao et al.
2023).

Columns of a row::

    [ padding | prompt ............ | trie nodes ...... | padding ]
                                    ^ the same column `split` in every row of the batch

The last ``1 + max nodes`` columns are those whose logits are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

__all__ = ["PackedBatch", "Trie", "build_trie", "pack"]


@dataclass(frozen=True, slots=True)
class Trie:
    """The tokens of c candidates as a tree with n nodes; the prompt's last token is the root.

    The m entries of ``source`` and ``target`` are the predictions of all candidates, one candidate after the other.

    Attributes:
        tokens: ``(n,)`` int64 tokens of the nodes that the model reads (those with children).
        depth: ``(n,)`` int64, 1 for children of the root.
        ancestors: ``(n, n)`` bool; row i is True at i and at the ancestors of i.
        source: ``(m,)`` int64 position from which a token is predicted: 0 is the root, i + 1 is node i.
        target: ``(m,)`` int64 token that is predicted.
        starts: ``(c,)`` int64 first entry of each candidate; no candidate is empty.
    """

    tokens: np.ndarray
    depth: np.ndarray
    ancestors: np.ndarray
    source: np.ndarray
    target: np.ndarray
    starts: np.ndarray

    @property
    def size(self) -> int:
        """Number of nodes n."""
        return len(self.tokens)

    @property
    def stops(self) -> list[int]:
        """End of each candidate's entries (exclusive)."""
        return [*self.starts[1:].tolist(), len(self.source)]

    @property
    def answers(self) -> list[list[int]]:
        """The tokens of each candidate."""
        return [self.target[begin:end].tolist() for begin, end in zip(self.starts, self.stops, strict=True)]

    @property
    def longest(self) -> int:
        """Number of nodes on the longest branch."""
        return int(self.depth.max(initial=0))


def build_trie(candidates: Sequence[Sequence[int]]) -> Trie:
    """Merge token sequences (each of at least one token) into a :class:`Trie`; a shared prefix becomes one branch."""
    node_of: dict[tuple[int, int], int] = {}  # (parent, token) -> node; parent -1 is the prompt
    tokens: list[int] = []
    parents: list[int] = []
    source: list[int] = []
    target: list[int] = []
    starts: list[int] = []
    for candidate in candidates:
        starts.append(len(source))
        parent = -1
        for position, token in enumerate(candidate):
            source.append(parent + 1)
            target.append(token)
            if position + 1 == len(candidate):
                break  # nothing is predicted after a candidate's last token
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
    ids = partial(np.asarray, dtype=np.int64)
    return Trie(ids(tokens), depth, ancestors, ids(source), ids(target), ids(starts))


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Model inputs for B packed rows of L columns.

    Attributes:
        input_ids: ``(B, L)`` int64.
        position_ids: ``(B, L)`` int64.
        attention_mask: ``(B, 1, L, L)`` additive float mask: 0 where a column is visible, the dtype's minimum where it
            is not. (SDPA would accept a boolean mask; eager attention adds the mask to the logits.)
        keep: number of last columns whose logits are needed (``logits_to_keep``).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    keep: int


def pack(
    prompts: Sequence[Sequence[int]], tries: Sequence[Trie], *, pad: int, dtype: torch.dtype = torch.float32
) -> PackedBatch:
    """Build the inputs for B prompts (each of at least one token id) and their tries; see the module docstring."""
    batch = len(prompts)
    split = max(len(prompt) for prompt in prompts)
    nodes = max(trie.size for trie in tries)
    length = split + nodes
    ids = np.full((batch, length), pad, dtype=np.int64)
    positions = np.zeros((batch, length), dtype=np.int64)
    visible = np.zeros((batch, 1, length, length), dtype=bool)
    columns = np.arange(length)
    visible[:, 0, columns, columns] = True  # padding sees itself, since softmax over no column is NaN
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
