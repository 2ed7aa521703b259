"""Limits of a checkpoint: number of embedding rows, maximum length, and the pad token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError

__all__ = ["Limits", "match_tokenizer"]

_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")


class Limits(NamedTuple):
    """Limits of a model.

    Attributes:
        rows: rows of the input embedding; valid token ids are smaller.
        positions: maximum length of a text in tokens; infinity if the configuration sets none.
    """

    rows: int
    positions: float

    @classmethod
    def of(cls, model: Any) -> Limits:
        """Read the limits of a model or its PEFT wrapper."""
        config = model.config.get_text_config()
        found = (getattr(config, name, None) for name in _POSITIONS)
        positions = next((float(value) for value in found if isinstance(value, int) and value > 0), math.inf)
        return cls(int(model.get_input_embeddings().weight.shape[0]), positions)

    def check(self, ids: Sequence[int], *, also: Sequence[int] | np.ndarray = (), more: int = 0) -> None:
        """Check that the model can read a text and an answer.

        Args:
            ids: token ids of the text.
            also: token ids of answers.
            more: number of tokens that follow the text.

        Raises:
            InvalidArgumentError: the text exceeds the maximum length, or a token has no embedding row.
        """
        if len(ids) + more > self.positions:
            length = f"{len(ids)} tokens" + (f" and up to {more} for the answer" if more else "")
            raise InvalidArgumentError(
                f"a text must fit into the model's {self.positions:.0f} positions (max_position_embeddings of its "
                f"config.json), received {length}: shorten the task's observations or take a model with more positions."
            )
        highest = max(max(ids, default=0), int(max(also, default=0)))
        if highest >= self.rows:
            raise InvalidArgumentError(
                f"token ids must be below {self.rows}, the rows of the model's embedding, received the id {highest}: "
                "the tokenizer belongs to another model, or has tokens that were never added to this one (add them by "
                "model.resize_token_embeddings, then train)."
            )


def match_tokenizer(model: Any, tokenizer: Any) -> Limits:
    """Set the model's pad token to the tokenizer's, in place, and check that the embedding covers the vocabulary.

    A sequence classifier reads the last token that is not padding. With another pad token in its configuration, its
    result would depend on the batch.

    Returns:
        The model's limits.

    Raises:
        CheckpointError: the tokenizer has no pad token, or its pad, bos, eos or unk token or its vocabulary exceeds the
            embedding.
    """
    limits = Limits.of(model)
    pad = tokenizer.pad_token_id
    named = {"pad": pad, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "unk": tokenizer.unk_token_id}
    beyond = [(f"the {name} token {token_id}", token_id) for name, token_id in named.items() if token_id is not None]
    beyond.append(("a vocabulary whose last id is " + str(tokenizer.vocab_size - 1), tokenizer.vocab_size - 1))
    for what, token_id in beyond:
        if token_id >= limits.rows:
            raise CheckpointError(
                f"a tokenizer's ids must be below {limits.rows}, the rows of the model's embedding, received {what}: "
                "set the pad token to a token of the model (tokenizer.pad_token = tokenizer.eos_token), or resize the "
                "embedding (model.resize_token_embeddings) and train it; then save model and tokenizer again."
            )
    if pad is None:
        raise CheckpointError(
            "a tokenizer must have a pad token, received none: set tokenizer.pad_token = tokenizer.eos_token."
        )
    for config in (model.config, model.config.get_text_config(), getattr(model, "generation_config", None)):
        if config is not None and getattr(config, "pad_token_id", None) != pad:
            config.pad_token_id = int(pad)
    embedding = model.get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:  # this row receives no gradient
        embedding.padding_idx = int(pad)
    return limits
