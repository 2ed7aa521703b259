"""Three ways to compute the log-probabilities of candidate answers, and the choice among them.

* ``tree``: one packed row per prompt (:mod:`selfreg_gym.lm.packing`). The default for models that support 4-D masks.
* ``kv``: the prompt is read once, and its key-value cache is copied for each candidate, for at most
  :data:`COPIED_TOKENS` tokens at once. For attention kernels without 4-D masks (flash attention), for rows longer than
  a sliding window (a custom mask would widen the window), and for rows longer than :data:`LONGEST_TREE` tokens, whose
  mask would need more memory than the cache.
* ``naive``: each candidate with its own copy of the prompt. The reference, and the fallback.

In float32 the three agree to 1e-5. Each function takes B prompts (token ids), their B tries, the pad token and the ids
of the end tokens, and returns B arrays ``(c,)`` with one score per candidate.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.packing import Trie, build_trie, pack

__all__ = [
    "COPIED_TOKENS",
    "LONGEST_TREE",
    "PATHS",
    "SCORE_FUNCTIONS",
    "best_path",
    "packed_logits",
    "trial_model",
    "window_of",
]

PATHS = ("auto", "tree", "kv", "naive")

LONGEST_TREE = 4096
"""Tokens of the longest packed row; the memory of its mask grows with the square of this."""

COPIED_TOKENS = 16_384
"""Tokens of the copies of a prompt in one forward pass of the path ``kv``; many candidates take several passes."""

_SMALL = 300_000_000  # parameters: up to this size, 16-bit models are copied to float32 for a trial


def trial_model(model: Any) -> tuple[Any, float]:
    """Return a model for comparing two implementations, and the tolerance within which they count as equal.

    In 16-bit types rounding errors hide wrong masks and positions, so a small model is copied to float32.
    """
    if next(model.parameters()).dtype == torch.float32:
        return model, 1e-3
    if sum(parameter.numel() for parameter in model.parameters()) <= _SMALL:
        return copy.deepcopy(model).float(), 1e-3
    return model, 0.3


def window_of(model: Any) -> float:
    """Return the size of a model's sliding window or attention chunk in tokens, or infinity without one."""
    config = model.config.get_text_config()
    sliding = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    others = (getattr(config, name, None) for name in ("attention_chunk_size", "window_size"))
    return float(min((size for size in (sliding, *others) if size), default=math.inf))


def best_path(model: Any, *, longest: float = math.inf, packed: bool = True) -> str:
    """Try the paths on a small random example and return the first of "tree", "kv" that agrees with "naive".

    The example is too short to reveal a sliding window, so the window is read from the configuration.

    Args:
        model: a causal LM in eval mode.
        longest: tokens (prompt and trie) of the longest row to be scored. A window matters for longer rows only.
        packed: whether "tree" may be chosen.

    Returns:
        "tree", "kv" or "naive".
    """
    windowed = longest > window_of(model)
    # In a recurrent state each branch of a tree would depend on the branches before it.
    no_4d_mask = getattr(model, "_is_stateful", False) or "flash" in str(
        getattr(model.config, "_attn_implementation", "")
    )
    rng = np.random.Generator(np.random.PCG64(0))
    vocabulary = int(model.config.get_text_config().vocab_size)
    # The longer row has 12 tokens. A shorter window would make the trial fail without need.
    sizes = (9, 6) if window_of(model) >= 12 else (2, 1)
    prompts = [rng.integers(0, vocabulary, size=size).tolist() for size in sizes]
    tries = [build_trie([[1, 2, 0], [1, 3], [4, 2, 2, 1], [0]]), build_trie([[2, 1], [2, 3, 0]])]
    model, tolerance = trial_model(model)
    with torch.inference_mode():
        reference = _score_naive(model, prompts, tries, 0)
        for name, function in (("tree", _score_tree), ("kv", _score_kv)):
            if name == "tree" and (windowed or no_4d_mask or not packed):
                continue
            try:
                scores = function(model, prompts, tries, 0)
            except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError):
                continue
            if all(np.allclose(a, b, atol=tolerance) for a, b in zip(scores, reference, strict=True)):
                return name
    return "naive"


def packed_logits(model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int) -> torch.Tensor:
    """Return logits ``(B, 1 + nodes, V)``: column 0 after the prompt, column i + 1 after node i of the trie."""
    packed = pack(prompts, tries, pad=pad, dtype=model.dtype)
    return model(
        input_ids=packed.input_ids.to(model.device),
        position_ids=packed.position_ids.to(model.device),
        attention_mask=packed.attention_mask.to(model.device),
        logits_to_keep=packed.keep,
        use_cache=False,
    ).logits


def _score_tree(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    logits = packed_logits(model, prompts, tries, pad).float()
    norm = logits.logsumexp(-1).cpu().numpy()
    rows = np.repeat(np.arange(len(tries)), [len(trie.source) for trie in tries])
    source = np.concatenate([trie.source for trie in tries])
    target = np.concatenate([trie.target for trie in tries])
    picked = logits[torch.from_numpy(rows), torch.from_numpy(source), torch.from_numpy(target)].cpu().numpy()
    values = picked.astype(np.float64) - norm[rows, source]
    if len(ends) > 1:  # a candidate's last token stands for all end tokens
        offsets = np.cumsum([0, *(len(trie.source) for trie in tries[:-1])])
        stops = [offset + np.asarray(trie.stops) for offset, trie in zip(offsets, tries, strict=True)]
        final = np.concatenate(stops) - 1
        chosen = logits[torch.from_numpy(rows[final]), torch.from_numpy(source[final])]
        values[final] = chosen[:, list(ends)].logsumexp(-1).cpu().numpy() - norm[rows[final], source[final]]
    parts = np.split(values, np.cumsum([len(trie.source) for trie in tries])[:-1])
    return [np.add.reduceat(part, trie.starts) for part, trie in zip(parts, tries, strict=True)]


def _score_kv(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    out = []
    for prompt, trie in zip(prompts, tries, strict=True):
        first = model(input_ids=torch.tensor([prompt], device=model.device), use_cache=True, logits_to_keep=1)
        answers = trie.answers
        rows = max(1, COPIED_TOKENS // (len(prompt) + trie.longest))
        scores = []
        for begin in range(0, len(answers), rows):
            last = begin + rows >= len(answers)
            cache = first.past_key_values if last else copy.deepcopy(first.past_key_values)
            part = answers[begin : begin + rows]
            logprobs = _continued(model, len(prompt), part, first.logits, cache, pad).log_softmax(-1)
            scores += [_sum_answer(logprobs[row], answer, ends) for row, answer in enumerate(part)]
        out.append(np.asarray(scores))
    return out


def _continued(
    model: Any, known: int, answers: Sequence[list[int]], first: torch.Tensor, cache: Any, pad: int
) -> torch.Tensor:
    """Logits ``(c, 1 + T, V)`` of c answers of at most 1 + T tokens, from the cache of their prompt's tokens.

    Args:
        model: a causal LM.
        known: number of tokens of the prompt.
        answers: the tokens of each answer.
        first: logits ``(1, 1, V)`` after the prompt.
        cache: the key-value cache of the prompt, which is changed.
        pad: the pad token.
    """
    longest = max(map(len, answers)) - 1  # nothing is predicted after an answer's last token
    logits = first.float().expand(len(answers), -1, -1)
    if not longest:
        return logits
    ids = torch.full((len(answers), longest), pad)
    mask = torch.zeros(len(answers), known + longest, dtype=torch.long)
    mask[:, :known] = 1
    for row, answer in enumerate(answers):
        ids[row, : len(answer) - 1] = torch.tensor(answer[:-1], dtype=torch.long)
        mask[row, known : known + len(answer) - 1] = 1
    cache.batch_repeat_interleave(len(answers))
    positions = torch.arange(known, known + longest)[None].expand(len(answers), -1)
    rest = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=positions.to(model.device),
        past_key_values=cache,
        use_cache=True,
    ).logits
    return torch.cat([logits, rest.float()], dim=1)


def _score_naive(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    out = []
    for prompt, trie in zip(prompts, tries, strict=True):
        scores = []
        for answer in trie.answers:
            ids = torch.tensor([prompt + answer[:-1]], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
            scores.append(_sum_answer(logits.log_softmax(-1), answer, ends))
        out.append(np.asarray(scores))
    return out


def _sum_answer(logprobs: torch.Tensor, answer: Sequence[int], ends: Sequence[int]) -> float:
    """Sum one answer's log-probabilities. Its last token stands for all end tokens; ``logprobs`` is ``(T, V)``."""
    picked = logprobs[torch.arange(len(answer)), torch.tensor(answer)].double()
    if len(ends) > 1:
        picked[-1] = logprobs[len(answer) - 1, list(ends)].double().logsumexp(-1)
    return float(picked.sum())


SCORE_FUNCTIONS = {"tree": _score_tree, "kv": _score_kv, "naive": _score_naive}
