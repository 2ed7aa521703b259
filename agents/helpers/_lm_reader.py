"""The inputs of the helper ``lm``: features of the text, and numbers of the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from selfreg_gym.agents.helpers._lm_prompts import prompts_of
from selfreg_gym.inputs import DecisionTable, InputEncoder
from selfreg_gym.lm.gain_model import TEXT_FEATURES, text_features
from selfreg_gym.lm.readers import TextReader

__all__ = ["DecisionReader"]


class DecisionReader:
    """Maps decisions to ``[text features | numbers]``; the encoder of :class:`selfreg_gym.EncodedObservation`.

    Args:
        backbone: a causal LM in eval mode.
        tokenizer: its tokenizer.
        encoder: of the numbers; None if it reads the text alone.
        facts: whether the prompt has the feature key.
        memo: number of prompts whose features are kept in memory.
    """

    def __init__(self, backbone: Any, tokenizer: Any, encoder: InputEncoder | None, *, facts: bool, memo: int) -> None:
        self.tokenizer, self.encoder, self.facts = tokenizer, encoder, facts
        self.text_width = TEXT_FEATURES * int(backbone.config.get_text_config().hidden_size)
        self.reader = TextReader(backbone, tokenizer, text_features, memo=memo)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.text_width + (0 if self.encoder is None else self.encoder.width)

    @property
    def needs_actor(self) -> bool:
        """Whether :meth:`observe` needs the acts that the actor would take."""
        return self.encoder is not None and self.encoder.needs_actor

    def observe(
        self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]], acts: Sequence[Any] | None = None
    ) -> np.ndarray:
        """The columns of decisions in episodes that are being played, float32 ``(n, width)``.

        Args:
            texts, infos, acts: as for :meth:`selfreg_gym.inputs.InputEncoder.observe`.
        """
        if not len(texts):
            return np.zeros((0, self.width), np.float32)
        text = self.text(DecisionTable.from_infos(texts, infos))
        return text if self.encoder is None else np.hstack([text, self.encoder.observe(texts, infos, acts)])

    def encode(self, table: DecisionTable) -> np.ndarray:
        """The columns of the decisions of a table, float32 ``(n, width)``."""
        text = self.text(table)
        return text if self.encoder is None else np.hstack([text, self.encoder.encode(table)])

    def text(self, table: DecisionTable) -> np.ndarray:
        """The features of the text alone, float32 ``(n, text_width)``."""
        prompts = prompts_of(table, facts=self.facts, tokenizer=self.tokenizer)
        with torch.inference_mode():
            return self.reader.read(prompts).astype(np.float32)
