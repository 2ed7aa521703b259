"""Several questions about one page, read at once.

A helper is asked the same of one page at every budget. The page is read once, and the questions hang from it as the
branches of a tree (:mod:`selfreg_gym.lm.packing`): four budgets cost little more than one, in training and in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.packing import Trie, build_trie, pack
from selfreg_gym.lm.reading import last_token_logits
from selfreg_gym.lm.scoring import LONGEST_TREE, best_path, micro_batches, rows_per_forward
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import pad_right

__all__ = ["QuestionReader", "Questions", "hang", "logits_apart", "logits_packed", "places"]


@dataclass(frozen=True, slots=True)
class Questions:
    """Q prompts that begin alike, in tokens.

    Attributes:
        shared: what they all begin with.
        trie: the tree of what follows.
        nodes: for each question, the node of the tree after which the answer is read.
        whole: the Q prompts, each by itself.
    """

    shared: list[int]
    trie: Trie
    nodes: tuple[int, ...]
    whole: tuple[list[int], ...]

    @property
    def length(self) -> int:
        """Tokens that are read."""
        return len(self.shared) + self.trie.size


def hang(prompts: Sequence[str], encoder: PromptEncoder) -> Questions:
    """Find what the prompts (at least one) share, and hang the rest from it."""
    whole = tuple(encoder.prompt(text) for text in prompts)
    first, last = min(whole), max(whole)  # what these two share, all share
    limit = min(map(len, whole)) - 1  # a question keeps at least one token of its own
    shared = next((i for i in range(limit) if first[i] != last[i]), limit)
    # a trie feeds all but the last token of a branch: the closing 0 makes it feed the question's last one as well
    trie = build_trie([[*ids[shared:], 0] for ids in whole])
    ends = [*trie.starts[1:], len(trie.source)]
    return Questions(whole[0][:shared], trie, tuple(int(trie.source[end - 1]) for end in ends), whole)


def logits_packed(model: Any, pages: Sequence[Questions], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """``(questions, A)`` logits of the answers' tokens; every page is one row. For models on the "tree" path."""
    packed = pack([page.shared for page in pages], [page.trie for page in pages], pad=pad, dtype=model.dtype)
    logits = model(
        input_ids=packed.input_ids.to(model.device),
        position_ids=packed.position_ids.to(model.device),
        attention_mask=packed.attention_mask.to(model.device),
        logits_to_keep=packed.keep,
        use_cache=False,
    ).logits
    return logits[places(pages, packed=True)][:, answers.to(logits.device)].float()


def places(pages: Sequence[Questions], *, packed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column, among those whose logits were kept, at which each question is answered."""
    if packed:
        row = [i for i, page in enumerate(pages) for _ in page.nodes]
        return torch.as_tensor(row), torch.as_tensor([node for page in pages for node in page.nodes])
    ends = torch.as_tensor([len(ids) for page in pages for ids in page.whole])
    return torch.arange(len(ends)), torch.unique(ends, return_inverse=True)[1]


def logits_apart(model: Any, pages: Sequence[Questions], answers: torch.Tensor, pad: int) -> torch.Tensor:
    """The same with every question as a row of its own, for models that refuse our mask."""
    rows = [ids for page in pages for ids in page.whole]
    return last_token_logits(model, pad_right(rows, pad=pad).to(model.device), [len(r) for r in rows], answers.tolist())


class QuestionReader:
    """Answers questions about pages: in length-sorted micro-batches, remembering what it has read.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        answers: A token ids.
        micro_batch: pages per forward; None is 8 in float32. In types of two bytes every question is read alone, so
            that neither other pages nor other questions change the answer.
        memo: pages remembered.
        decimals: logits are rounded so, which makes them independent of the batch.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        answers: Sequence[int],
        *,
        micro_batch: int | None = None,
        memo: int = 50_000,
        decimals: int = 4,
    ) -> None:
        self.model = model
        self.encoder = PromptEncoder(tokenizer)
        self.limits = match_tokenizer(model, tokenizer)
        self.pad = int(tokenizer.pad_token_id)
        self.answers = torch.as_tensor(list(answers))
        self.micro_batch = rows_per_forward(model, micro_batch)
        self._alone = micro_batch is None and next(model.parameters()).dtype != torch.float32
        self.decimals = decimals
        self.memo: Memo[np.ndarray] = Memo(memo)

    def read(self, pages: Sequence[Sequence[str]]) -> np.ndarray:
        """Return ``(N, Q, A)`` float64 logits for N pages (at least 1) of Q questions each.

        A question is the whole prompt: the page, then what is asked.

        Raises:
            InvalidArgumentError: a prompt does not fit into the model's positions, or has tokens beyond its embedding.
        """

        def read(new: list[int]) -> Iterator[tuple[int, np.ndarray]]:
            hung = [hang(pages[index], self.encoder) for index in new]
            for page in hung:
                for ids in page.whole:
                    self.limits.check(ids)
            if self._alone:
                for index, page in zip(new, hung, strict=True):
                    each = [
                        logits_apart(self.model, [replace(page, whole=(ids,))], self.answers, self.pad)
                        for ids in page.whole
                    ]
                    yield index, np.round(torch.cat(each).double().cpu().numpy(), self.decimals) + 0.0
                return
            # A single question has nothing to share: the kernel for plain causal attention is the faster one.
            packs = len(pages[0]) > 1 and self._packs
            packed = [packs and page.length <= LONGEST_TREE for page in hung]
            for way, function in ((True, logits_packed), (False, logits_apart)):
                part = [i for i in range(len(hung)) if packed[i] is way]
                lengths = [hung[i].length if way else sum(map(len, hung[i].whole)) for i in part]
                for chunk in micro_batches(lengths, rows=self.micro_batch, tokens=8192):
                    rows = [hung[part[i]] for i in chunk]
                    logits = function(self.model, rows, self.answers, self.pad)
                    values = logits.double().cpu().numpy().reshape(len(rows), -1, len(self.answers))
                    yield from zip([new[part[i]] for i in chunk], np.round(values, self.decimals) + 0.0, strict=True)

        with torch.inference_mode():
            return np.stack(self.memo.recall([digest(prompts) for prompts in pages], read))

    @cached_property
    def _packs(self) -> bool:
        return best_path(self.model) == "tree"
