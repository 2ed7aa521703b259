"""Reading numbers off the end of texts: what a process reward model and a helper do with a trunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.scoring import micro_batches, rows_per_forward
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import pad_right

__all__ = ["TextReader", "classifier_logits", "last_token_logits"]


class TextReader:
    """Maps texts to ``k`` numbers each, in length-sorted micro-batches, remembering what it has read.

    Args:
        model: a model in eval mode.
        tokenizer: its tokenizer.
        head: ``head(model, input_ids (B, L), lengths) -> (B, k)``; rows are padded on the right.
        micro_batch: rows per forward; None: see :func:`selfreg_gym.lm.scoring.rows_per_forward`.
        memo: texts remembered.
        decimals: results are rounded so, which makes them independent of the batch.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        head: Callable[[Any, torch.Tensor, Sequence[int]], torch.Tensor],
        *,
        micro_batch: int | None = None,
        memo: int = 50_000,
        decimals: int = 4,
    ) -> None:
        self.model = model
        self.encoder = PromptEncoder(tokenizer)
        self.limits = match_tokenizer(model, tokenizer)
        self.pad = int(tokenizer.pad_token_id)
        self.head = head
        self.micro_batch = rows_per_forward(model, micro_batch)
        self.decimals = decimals
        self.memo: Memo[np.ndarray] = Memo(memo)

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Return ``(N, k)`` float64 for N texts (N at least 1).

        Raises:
            InvalidArgumentError: a text does not fit into the model's positions, or has tokens beyond its embedding.
        """

        def read(new: list[int]) -> Iterator[tuple[int, np.ndarray]]:
            ids = [self.encoder.prompt(texts[index]) for index in new]
            for row in ids:
                self.limits.check(row)
            for chunk in micro_batches([len(row) for row in ids], rows=self.micro_batch, tokens=8192):
                rows = [ids[i] for i in chunk]
                batch = pad_right(rows, pad=self.pad).to(self.model.device)
                values = self.head(self.model, batch, [len(row) for row in rows]).double().cpu().numpy()
                yield from zip([new[i] for i in chunk], np.round(values, self.decimals) + 0.0, strict=True)

        with torch.inference_mode():
            return np.stack(self.memo.recall([digest((text,)) for text in texts], read))


def classifier_logits(model: Any, input_ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """``(B, 1)``: the logit of a sequence classifier, whose pooler takes the last token that is not padding."""
    return model(input_ids=input_ids).logits.float()


def last_token_logits(
    model: Any, input_ids: torch.Tensor, lengths: Sequence[int], tokens: Sequence[int]
) -> torch.Tensor:
    """``(B, len(tokens))``: a causal LM's logits of some tokens after each row's last real token.

    Rows are sorted by length, so there are few different ends; the output head runs at these columns only.
    """
    ends = torch.as_tensor(lengths) - 1
    columns, where = torch.unique(ends, return_inverse=True)
    logits = model(input_ids=input_ids, logits_to_keep=columns.to(input_ids.device), use_cache=False).logits
    rows = torch.arange(len(ends))
    return logits[rows, where][:, list(tokens)].float()
