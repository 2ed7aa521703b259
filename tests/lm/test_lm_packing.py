"""The trie of candidates, and the layout of a packed row."""

from __future__ import annotations

import numpy as np
import torch

from selfreg_gym.lm.packing import build_trie, pack


def test_shared_prefixes_are_one_branch_and_last_tokens_are_left_out() -> None:
    trie = build_trie([[5, 6, 0], [5, 7, 0], [8, 0]])
    assert trie.tokens.tolist() == [5, 6, 7, 8]
    assert trie.depth.tolist() == [1, 2, 2, 1]
    assert trie.ancestors.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert trie.source.tolist() == [0, 1, 2, 0, 1, 3, 0, 4]
    assert trie.target.tolist() == [5, 6, 0, 5, 7, 0, 8, 0]
    assert trie.starts.tolist() == [0, 3, 6]


def test_a_candidate_of_one_token_needs_no_node() -> None:
    trie = build_trie([[3], [4]])
    assert trie.size == 0
    assert trie.source.tolist() == [0, 0]


def test_equal_candidates_share_everything() -> None:
    trie = build_trie([[1, 2, 0], [1, 2, 0]])
    assert trie.tokens.tolist() == [1, 2]
    assert trie.starts.tolist() == [0, 3]


def test_rows_are_aligned_at_the_end_of_the_prompt() -> None:
    packed = pack([[7, 8, 9], [4]], [build_trie([[5, 6, 0], [5, 0]]), build_trie([[1, 0]])], pad=99)
    assert packed.keep == 3
    assert packed.input_ids.tolist() == [[7, 8, 9, 5, 6], [99, 99, 4, 1, 99]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 0]]
    seen = (packed.attention_mask[:, 0] == 0).int().tolist()
    assert seen[0] == np.tri(5, dtype=int).tolist()
    assert seen[1] == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


def test_masked_entries_are_the_minimum_of_the_dtype() -> None:
    packed = pack([[1, 2]], [build_trie([[3, 0]])], pad=0, dtype=torch.bfloat16)
    assert packed.attention_mask.dtype == torch.bfloat16
    assert float(packed.attention_mask.min()) == torch.finfo(torch.bfloat16).min
