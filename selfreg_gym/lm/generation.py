"""Text generation with one random stream per prompt.

``transformers.generate`` draws from torch's global generator, so the answer to a prompt depends on the other prompts of
its batch. Here each row draws from its own NumPy stream, by inverting the cumulative distribution of rounded logits: a
prompt's answer is the same alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.batching import micro_batches, rows_per_forward
from selfreg_gym.lm.chat_template import stop_tokens
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.reasoning_marks import is_mark
from selfreg_gym.lm.sampling import sample_index, softmax
from selfreg_gym.lm.scoring_paths import trial_model
from selfreg_gym.lm.tokenizer import PromptEncoder

__all__ = ["generate", "sample_index", "softmax"]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    rngs: Sequence[np.random.Generator],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 64,
    micro_batch: int | None = None,
    decimals: int = 3,
    one_line: bool = False,
    encoder: PromptEncoder | None = None,
) -> list[tuple[str, int]]:
    """Continue each prompt up to a stop token (:func:`~selfreg_gym.lm.chat_template.stop_tokens`) or a token limit.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        prompts: N texts.
        rngs: N random streams; each token takes one uniform number from its prompt's stream (none at temperature 0).
        temperature: divisor of the logits; 0 is greedy decoding.
        max_new_tokens: largest number of new tokens per prompt.
        micro_batch: rows per forward pass; None: see :func:`selfreg_gym.lm.batching.rows_per_forward`.
        decimals: decimals to which logits are rounded before sampling.
        one_line: stop at the first line break after visible text, and drop the break. A model that was not trained to
            stop there would continue with an observation of its own.
        encoder: the tokenizer's encoder, if the caller has one.

    Returns:
        N pairs: the new text (of special tokens it keeps only marks of reasoning, channels and answers), and the number
        of tokens read and written.

    Raises:
        InvalidArgumentError: there are not N streams, ``temperature`` or ``max_new_tokens`` is out of range, or a
            prompt with ``max_new_tokens`` exceeds the model's maximum length.
    """
    if len(prompts) != len(rngs):
        raise InvalidArgumentError(f"one rng per prompt is needed, received {len(prompts)} prompts, {len(rngs)} rngs.")
    if temperature < 0 or max_new_tokens < 1:
        raise InvalidArgumentError(
            "temperature must be 0 or more and max_new_tokens at least 1, "
            f"received {temperature!r} and {max_new_tokens!r}."
        )
    encoder = encoder or PromptEncoder(tokenizer)
    limits = match_tokenizer(model, tokenizer)
    ids = [encoder.prompt(prompt) for prompt in prompts]
    for row in ids:
        limits.check(row, more=max_new_tokens)
    answers: list[list[int]] = [[] for _ in prompts]
    # Special tokens are left out of texts, except the marks of reasoning, channels and answers.
    special = zip(tokenizer.all_special_ids, tokenizer.convert_ids_to_tokens(tokenizer.all_special_ids), strict=True)
    hidden = frozenset(int(token_id) for token_id, token in special if not is_mark(token))

    def text_of(tokens: Sequence[int]) -> str:
        return tokenizer.decode([token for token in tokens if token not in hidden], skip_special_tokens=False)

    lengths = [len(row) + max_new_tokens for row in ids]
    with torch.inference_mode():
        cached = _cache_is_exact(model)
        rows = rows_per_forward(model, micro_batch) if cached else 1
        for chunk in micro_batches(lengths, rows=rows):
            written = _decode(
                (_CachedDecoder if cached else _PlainDecoder)(model, int(tokenizer.pad_token_id)),
                [ids[i] for i in chunk],
                [rngs[i] for i in chunk],
                stop=frozenset(stop_tokens(model, tokenizer)),
                temperature=temperature,
                limit=max_new_tokens,
                decimals=decimals,
                ended=(lambda row: "\n" in text_of(row).lstrip()) if one_line else None,
            )
            for i, tokens in zip(chunk, written, strict=True):
                answers[i] = tokens
    return [
        (_first_line(text_of(tokens)) if one_line else text_of(tokens), len(row) + len(tokens))
        for row, tokens in zip(ids, answers, strict=True)
    ]


def _first_line(text: str) -> str:
    """Return ``text`` up to the first line break after visible text."""
    begin = len(text) - len(text.lstrip())
    return text[:begin] + text[begin:].partition("\n")[0]


def _decode(
    decoder: _CachedDecoder | _PlainDecoder,
    prompts: Sequence[list[int]],
    rngs: Sequence[np.random.Generator],
    *,
    stop: frozenset[int],
    temperature: float,
    limit: int,
    decimals: int,
    ended: Callable[[Sequence[int]], bool] | None,
) -> list[list[int]]:
    """Return the new tokens of one micro-batch of B prompts."""
    batch = len(prompts)
    written: list[list[int]] = [[] for _ in prompts]
    active = [True] * batch
    raw = decoder.start(prompts)
    for position in range(limit):
        logits = np.round(raw.float().cpu().numpy().astype(np.float64), decimals)
        chosen: list[int | None] = [None] * batch
        for row in range(batch):
            if not active[row]:
                continue
            if temperature == 0:
                token = int(np.argmax(logits[row]))
            else:
                token = sample_index(softmax(logits[row], temperature=temperature), rngs[row])
            if token in stop:
                active[row] = False
                continue
            written[row].append(token)  # also a line break, since one token may hold text and a break
            chosen[row] = token
            active[row] = ended is None or not ended(written[row])
        if not any(active) or position + 1 == limit:
            break
        raw = decoder.step(chosen)
    return written


class _CachedDecoder:
    """Next-token logits with a key-value cache; prompts are padded on the left."""

    def __init__(self, model: Any, pad: int) -> None:
        self.model, self.pad = model, pad

    def start(self, prompts: Sequence[list[int]]) -> torch.Tensor:
        """Return ``(B, V)`` logits after B prompts."""
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), self.pad)
        self.mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, longest - len(prompt) :] = 1
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        self.cache = None
        return self._forward(tokens)

    def step(self, chosen: Sequence[int | None]) -> torch.Tensor:
        """Return ``(B, V)`` logits after one more token per row; None marks a finished row."""
        self.mask = torch.cat([self.mask, torch.ones(len(chosen), 1, dtype=torch.long)], dim=1)
        self.positions = self.positions[:, -1:] + 1
        return self._forward(torch.tensor([[self.pad if token is None else token] for token in chosen]))

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        device = self.model.device
        out = self.model(
            input_ids=tokens.to(device),
            attention_mask=self.mask.to(device),
            position_ids=self.positions.to(device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache = out.past_key_values
        return out.logits[:, -1]


class _PlainDecoder:
    """Next-token logits of one row, computed from its start for each token: for recurrent models (Mamba, RWKV)."""

    def __init__(self, model: Any, pad: int) -> None:
        self.model = model

    def start(self, prompts: Sequence[list[int]]) -> torch.Tensor:
        """Return ``(1, V)`` logits after one prompt."""
        [prompt] = prompts
        self.ids = list(prompt)
        return self.model(input_ids=torch.tensor([self.ids], device=self.model.device), use_cache=False).logits[:, -1]

    def step(self, chosen: Sequence[int | None]) -> torch.Tensor:
        """Return ``(1, V)`` logits after one more token."""
        return self.start([[*self.ids, *(token for token in chosen if token is not None)]])


_exact: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def _cache_is_exact(model: Any) -> bool:
    """Return whether decoding with cache and padding equals decoding without, by one trial per model."""
    if model not in _exact:
        _exact[model] = not getattr(model, "_is_stateful", False) and _agrees(model)
    return _exact[model]


def _agrees(model: Any) -> bool:
    trial, tolerance = trial_model(model)
    rng = np.random.Generator(np.random.PCG64(0))
    vocabulary = int(model.config.get_text_config().vocab_size)
    prompts = [rng.integers(0, vocabulary, size=size).tolist() for size in (9, 6)]
    token, cached = 1, _CachedDecoder(trial, 0)
    try:
        found = [cached.start(prompts), cached.step([token, token])]
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError, KeyError):
        return False
    for logits, more in zip(found, ([], [token]), strict=True):
        for row, prompt in enumerate(prompts):
            expected = _PlainDecoder(trial, 0).start([[*prompt, *more]])[0]
            gap = logits[row].float().log_softmax(-1) - expected.float().log_softmax(-1)
            if not float(gap.abs().max()) <= tolerance * 10:  # the largest gap over the whole vocabulary
                return False
    return True
