"""Teaching a causal LM to answer by one token, where several questions share the page they are about.

A helper is asked the same of one page at every budget. The page is read once, and the questions hang from it as the
branches of a tree (:mod:`selfreg_gym.lm.packing`): four budgets cost little more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.packing import Trie, build_trie, pack
from selfreg_gym.lm.reading import last_token_logits
from selfreg_gym.lm.scoring import best_path
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import TrainingLog, finetune, held_out_loss, pad_right

__all__ = ["Page", "train_choice"]


@dataclass(frozen=True, slots=True)
class Page:
    """Q whole prompts that begin alike, and how much each of A answers is wanted after each.

    Attributes:
        prompts: Q texts.
        wanted: ``(Q, A)`` non-negative weights; a row of two positive entries is a soft label.
    """

    prompts: tuple[str, ...]
    wanted: np.ndarray


@dataclass(frozen=True, slots=True)
class _Row:
    """A page in tokens: the shared beginning, the tree of what follows, the node read for each question."""

    shared: list[int]
    trie: Trie
    nodes: tuple[int, ...]
    wanted: np.ndarray
    whole: tuple[list[int], ...]

    @property
    def length(self) -> int:
        return len(self.shared) + self.trie.size


def train_choice(
    model: Any,
    tokenizer: Any,
    pages: Sequence[Page],
    answers: Sequence[int],
    *,
    batch_size: int = 8,
    held_out: Sequence[Page] = (),
    **arguments: Any,
) -> TrainingLog:
    """Minimise ``sum wanted * -log P(answer | prompt)``, where P is the softmax over the ``answers``' logits alone.

    Args:
        model: a causal LM (or its PEFT wrapper), trained in place.
        pages: at least one.
        answers: A token ids.
        batch_size: pages per forward.
        held_out: pages whose loss decides when to stop, and which weights are kept (``patience``).
        **arguments: of :func:`selfreg_gym.lm.training.finetune`.
    """
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    rows = [_row(page, encoder) for page in pages]
    tokens = torch.as_tensor(list(answers))
    packed = best_path(model, longest=max(row.length for row in rows)) == "tree"

    def loss(net: Any, batch: Sequence[_Row]) -> torch.Tensor:
        logits = (_packed if packed else _one_by_one)(net, batch, tokens, pad)
        wanted = torch.as_tensor(np.concatenate([row.wanted for row in batch]), dtype=torch.float32)
        return -(wanted.to(logits.device) * logits.log_softmax(-1)).sum() / len(batch)

    if held_out:
        aside = [_row(page, encoder) for page in held_out]
        arguments["validate"] = held_out_loss(loss, aside, lengths=[row.length for row in aside], batch_size=batch_size)
    return finetune(model, rows, loss, lengths=[row.length for row in rows], batch_size=batch_size, **arguments)


def _row(page: Page, encoder: PromptEncoder) -> _Row:
    whole = tuple(encoder.prompt(text) for text in page.prompts)
    first, last = min(whole), max(whole)  # what these two share, all share
    limit = min(map(len, whole)) - 1  # a question keeps at least one token of its own
    shared = next((i for i in range(limit) if first[i] != last[i]), limit)
    # a trie feeds all but the last token of a branch: the closing 0 makes it feed the question's last one as well
    trie = build_trie([[*ids[shared:], 0] for ids in whole])
    ends = [*trie.starts[1:], len(trie.source)]
    return _Row(whole[0][:shared], trie, tuple(int(trie.source[end - 1]) for end in ends), page.wanted, whole)


def _packed(net: Any, batch: Sequence[_Row], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """``(questions, A)`` logits; every page is one row."""
    packed = pack([row.shared for row in batch], [row.trie for row in batch], pad=pad, dtype=net.dtype)
    logits = net(
        input_ids=packed.input_ids.to(net.device),
        position_ids=packed.position_ids.to(net.device),
        attention_mask=packed.attention_mask.to(net.device),
        logits_to_keep=packed.keep,
        use_cache=False,
    ).logits
    which = [i for i, row in enumerate(batch) for _ in row.nodes]
    node = [n for row in batch for n in row.nodes]
    return logits[which, node][:, answers.to(logits.device)].float()


def _one_by_one(net: Any, batch: Sequence[_Row], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """The same with every question as a row of its own, for models that refuse our mask."""
    rows = [ids for row in batch for ids in row.whole]
    return last_token_logits(net, pad_right(rows, pad=pad).to(net.device), [len(ids) for ids in rows], answers.tolist())
