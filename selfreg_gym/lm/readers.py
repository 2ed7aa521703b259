"""Batched, memoised readers: numbers from the end of each text, or answers to several prompts with a shared prefix.

Process reward models and confidence estimates read one text at a time (:class:`TextReader`). A helper is asked at every
budget about the same observation: its prompts share a prefix, which is read once, and the suffixes are the branches of
a tree (:mod:`selfreg_gym.lm.packing`). Four budgets then cost little more than one, in training and in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.batching import micro_batches, pad_right, rows_per_forward
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.packing import Trie, build_trie
from selfreg_gym.lm.scoring_paths import LONGEST_TREE, best_path, packed_logits
from selfreg_gym.lm.tokenizer import PromptEncoder

__all__ = [
    "PromptGroup",
    "PromptGroupReader",
    "TextReader",
    "answer_positions",
    "classifier_logits",
    "last_token_logits",
    "logits_packed",
    "logits_separate",
    "split_prefix",
]


Head = Callable[[Any, torch.Tensor, Sequence[int]], torch.Tensor]


class _Reader:
    """The common arguments of both readers.

    Args:
        model: a model in eval mode.
        tokenizer: its tokenizer.
        micro_batch: rows per forward pass; None: see :func:`selfreg_gym.lm.batching.rows_per_forward`.
        memo: number of results that are remembered.
        decimals: decimals to which results are rounded, so that they do not depend on the batch.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, micro_batch: int | None = None, memo: int = 50_000, decimals: int = 4
    ) -> None:
        self.model = model
        self.encoder = PromptEncoder(tokenizer)
        self.limits = match_tokenizer(model, tokenizer)
        self.pad = int(tokenizer.pad_token_id)
        self.micro_batch = rows_per_forward(model, micro_batch)
        self.decimals = decimals
        self.memo: Memo[np.ndarray] = Memo(memo)


class TextReader(_Reader):
    """Maps texts to ``k`` numbers each.

    Args:
        model: a model in eval mode.
        tokenizer: its tokenizer.
        head: ``head(model, input_ids (B, L), lengths) -> (B, k)``; rows are padded on the right.
        **options: ``micro_batch``, ``memo`` (number of texts) and ``decimals``, as for every reader.
    """

    def __init__(self, model: Any, tokenizer: Any, head: Head, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        self.head = head

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Return ``(N, k)`` float64 for N >= 1 texts.

        Raises:
            InvalidArgumentError: a text exceeds the model's maximum length, or has tokens beyond its embedding.
        """

        def compute(new: list[int]) -> Iterator[tuple[int, np.ndarray]]:
            ids = [self.encoder.prompt(texts[index]) for index in new]
            for row in ids:
                self.limits.check(row)
            for chunk in micro_batches([len(row) for row in ids], rows=self.micro_batch):
                rows = [ids[i] for i in chunk]
                batch = pad_right(rows, pad=self.pad).to(self.model.device)
                values = self.head(self.model, batch, [len(row) for row in rows])
                yield from zip([new[i] for i in chunk], _rounded(values, self.decimals), strict=True)

        with torch.inference_mode():
            return np.stack(self.memo.get_or_compute([digest((text,)) for text in texts], compute))


def classifier_logits(model: Any, input_ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Return the ``(B, 1)`` logits of a sequence classifier, which reads the last token that is not padding."""
    return model(input_ids=input_ids).logits.float()


def last_token_logits(
    model: Any, input_ids: torch.Tensor, lengths: Sequence[int], tokens: Sequence[int]
) -> torch.Tensor:
    """Return ``(B, len(tokens))``: a causal LM's logits of ``tokens`` after the last real token of each row.

    The output layer is evaluated only at columns where a row ends. Rows are sorted by length, so these are few.
    """
    ends = torch.as_tensor(lengths) - 1
    columns, where = torch.unique(ends, return_inverse=True)
    logits = model(input_ids=input_ids, logits_to_keep=columns.to(input_ids.device), use_cache=False).logits
    rows = torch.arange(len(ends))
    return logits[rows, where][:, list(tokens)].float()


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """The token ids of Q prompts with a shared prefix.

    Attributes:
        prefix: ids of the shared prefix.
        trie: the trie of the suffixes.
        nodes: ``(Q,)`` for each prompt, the column of :func:`packed_logits` that follows its last token.
        prompts: ids of the Q whole prompts.
    """

    prefix: list[int]
    trie: Trie
    nodes: tuple[int, ...]
    prompts: tuple[list[int], ...]

    @property
    def length(self) -> int:
        """Number of tokens in the packed row."""
        return len(self.prefix) + self.trie.size


def split_prefix(prompts: Sequence[str], encoder: PromptEncoder) -> PromptGroup:
    """Encode Q >= 1 prompts and split them into their longest shared prefix and the trie of their suffixes."""
    ids = tuple(encoder.prompt(text) for text in prompts)
    first, last = min(ids), max(ids)  # in lexicographic order: the prefix of these two is that of all
    limit = min(map(len, ids)) - 1  # each prompt keeps at least one token as its suffix
    shared = next((i for i in range(limit) if first[i] != last[i]), limit)
    # A trie leaves out the last token of a branch. The final 0 makes the prompt's own last token a node.
    trie = build_trie([[*row[shared:], 0] for row in ids])
    return PromptGroup(ids[0][:shared], trie, tuple(int(trie.source[stop - 1]) for stop in trie.stops), ids)


def logits_packed(model: Any, groups: Sequence[PromptGroup], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """Return ``(prompts, A)`` logits of A answer tokens, with one packed row per group.

    For models on the path "tree" (:mod:`selfreg_gym.lm.scoring_paths`).
    """
    logits = packed_logits(model, [group.prefix for group in groups], [group.trie for group in groups], pad)
    return logits[answer_positions(groups, packed=True)][:, answers.to(logits.device)].float()


def logits_separate(model: Any, groups: Sequence[PromptGroup], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """Return the same ``(prompts, A)`` logits, with one row per prompt, for models without 4-D masks."""
    rows = [ids for group in groups for ids in group.prompts]
    return last_token_logits(model, pad_right(rows, pad=pad).to(model.device), [len(r) for r in rows], answers.tolist())


def answer_positions(groups: Sequence[PromptGroup], *, packed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows ``(prompts,)`` and columns ``(prompts,)`` of the computed logits at which prompts are answered."""
    if packed:
        row = [i for i, group in enumerate(groups) for _ in group.nodes]
        return torch.as_tensor(row), torch.as_tensor([node for group in groups for node in group.nodes])
    ends = torch.as_tensor([len(ids) for group in groups for ids in group.prompts])
    return torch.arange(len(ends)), torch.unique(ends, return_inverse=True)[1]


class PromptGroupReader(_Reader):
    """Reads the logits of answer tokens after groups of prompts that share a prefix.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        answers: A token ids.
        micro_batch: groups per forward pass; None is 8 in float32. In 16-bit types None reads every prompt alone, so
            that the result depends neither on other groups nor on other prompts of the group.
        **options: ``memo`` (number of groups) and ``decimals``, as for every reader.
    """

    def __init__(
        self, model: Any, tokenizer: Any, answers: Sequence[int], *, micro_batch: int | None = None, **options: Any
    ) -> None:
        super().__init__(model, tokenizer, micro_batch=micro_batch, **options)
        self.answers = torch.as_tensor(list(answers))
        self._each_alone = micro_batch is None and next(model.parameters()).dtype != torch.float32

    def read(self, groups: Sequence[Sequence[str]]) -> np.ndarray:
        """Return ``(N, Q, A)`` float64 logits for N >= 1 groups of Q whole prompts.

        Raises:
            InvalidArgumentError: a prompt exceeds the model's maximum length, or has tokens beyond its embedding.
        """

        def compute(new: list[int]) -> Iterator[tuple[int, np.ndarray]]:
            encoded = [split_prefix(groups[index], self.encoder) for index in new]
            for group in encoded:
                for ids in group.prompts:
                    self.limits.check(ids)
            if self._each_alone:
                for index, group in zip(new, encoded, strict=True):
                    alone = [replace(group, prompts=(ids,)) for ids in group.prompts]
                    each = [logits_separate(self.model, [one], self.answers, self.pad) for one in alone]
                    yield index, _rounded(torch.cat(each), self.decimals)
                return
            # A single prompt shares no prefix, and plain causal attention is faster.
            packs = len(groups[0]) > 1 and self._packs
            fits = [packs and group.length <= LONGEST_TREE for group in encoded]
            for packed, function in ((True, logits_packed), (False, logits_separate)):
                part = [i for i in range(len(encoded)) if fits[i] is packed]
                lengths = [encoded[i].length if packed else sum(map(len, encoded[i].prompts)) for i in part]
                for chunk in micro_batches(lengths, rows=self.micro_batch):
                    rows = [encoded[part[i]] for i in chunk]
                    logits = function(self.model, rows, self.answers, self.pad)
                    values = _rounded(logits, self.decimals).reshape(len(rows), -1, len(self.answers))
                    yield from zip([new[part[i]] for i in chunk], values, strict=True)

        with torch.inference_mode():
            return np.stack(self.memo.get_or_compute([digest(prompts) for prompts in groups], compute))

    @cached_property
    def _packs(self) -> bool:
        return best_path(self.model) == "tree"


def _rounded(values: torch.Tensor, decimals: int) -> np.ndarray:
    """Return rounded float64 values, with -0.0 as 0.0."""
    return np.round(values.double().cpu().numpy(), decimals) + 0.0
