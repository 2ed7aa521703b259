"""Log-probabilities of given answers under a causal LM: packed, batched, memoised.

The score of a candidate is the log-probability of its tokens and of an end after them, so candidates of different
lengths compete as whole answers. The end is any of the tokens at which writing stops too
(:func:`selfreg_gym.lm.stopping.stop_tokens`): their probabilities are summed. Three ways to compute it, equal to 1e-5
in float32:

* ``tree``: :mod:`selfreg_gym.lm.packing`, one row per prompt. The default wherever 4-D masks are honoured.
* ``kv``: the prompt once, its key-value cache expanded over the candidates. For kernels that refuse 4-D masks
  (flash attention), for rows longer than a sliding window, which a custom mask would widen, and for rows of more
  than 4096 tokens, whose mask would take more memory than the cache.
* ``naive``: each candidate with its own copy of the prompt. The reference, and the last resort.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.packing import Trie, build_trie, pack
from selfreg_gym.lm.stopping import stop_tokens
from selfreg_gym.lm.tokenizer import PromptEncoder

__all__ = [
    "LONGEST_TREE",
    "PATHS",
    "CandidateScorer",
    "best_path",
    "micro_batches",
    "score_candidates",
    "score_naive",
    "window_of",
]

PATHS = ("auto", "tree", "kv", "naive")
#: Tokens of the longest packed row; the mask of a row grows with their square.
LONGEST_TREE = 4096


class CandidateScorer:
    """Scores candidate answers after prompts, many at a time.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer, with a pad token.
        path: "auto" (probe the model once), "tree", "kv" or "naive".
        micro_batch: rows per forward; rows are sorted by length first. 4 to 16 is best on a CPU.
        max_tokens: no forward reads more tokens than this, unless a single row does.
        memo: how many (prompt, candidates) are remembered; equal ones within a call are scored once in any case.
        decimals: scores are rounded so; batches of other shapes differ in the seventh digit, and a sample drawn
            from rounded scores does not.
        end: whether the end of an answer counts as part of it.

    Attributes:
        end: ids of the tokens that end an answer; empty with ``end=False``.

    Raises:
        CheckpointError: the tokenizer has a pad token or a vocabulary beyond the model's embedding.
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        path: str = "auto",
        micro_batch: int = 8,
        max_tokens: int = 8192,
        memo: int = 50_000,
        decimals: int = 4,
        end: bool = True,
    ) -> None:
        if path not in PATHS:
            raise UnknownNameError("scoring path", path, PATHS)
        if micro_batch < 1:
            raise InvalidArgumentError(f"micro_batch must be at least 1 row, received {micro_batch!r}.")
        self.model = model
        self.encoder = PromptEncoder(tokenizer)
        self.limits = match_tokenizer(model, tokenizer)
        self.pad = int(tokenizer.pad_token_id)
        self.end = stop_tokens(model, tokenizer) if end else ()
        self.micro_batch = micro_batch
        self.max_tokens = max_tokens
        self.decimals = decimals
        self.memo: Memo[np.ndarray] = Memo(memo)
        self._tries: Memo[Trie] = Memo(20_000)
        self.window = window_of(model)
        self.path = best_path(model, longest=0) if path == "auto" else path
        self._auto = path == "auto" and self.path == "tree"
        if self._auto:
            self.window = min(self.window, LONGEST_TREE)

    @cached_property
    def path_beyond(self) -> str:
        """How rows beyond :attr:`window` tokens are scored."""
        return best_path(self.model, packed=False) if self._auto else self.path

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return for each prompt the scores of its candidates, float64 ``(n_i,)``, in the candidates' order.

        A candidate is what follows the prompt literally: it usually begins with a space.

        Raises:
            InvalidArgumentError: a prompt has no candidates, the two lists differ in length, or a prompt with its
                longest candidate does not fit into the model's positions.
        """
        if len(prompts) != len(candidates):
            raise InvalidArgumentError(
                f"one list of candidates per prompt is needed, received {len(prompts)} prompts and {len(candidates)}."
            )
        keys = [digest((prompt, *offered)) for prompt, offered in zip(prompts, candidates, strict=True)]
        return self.memo.recall(
            keys, lambda new: zip(new, self._compute([(prompts[i], candidates[i]) for i in new]), strict=True)
        )

    def trie(self, candidates: Sequence[str], *, after: str = ":") -> Trie:
        """The (remembered) trie of these candidates' tokens after a prompt that ends with the character ``after``."""
        key = digest((after, *candidates))
        trie = self._tries.get(key)
        if trie is None:
            if not candidates:
                raise InvalidArgumentError("there must be at least one candidate to score, received none.")
            answers = [self.encoder.continuation(text, after=after) for text in candidates]
            for answer in answers:
                self.limits.check(answer)  # before the tree is built, whose size grows with the square
            sequences = [[*answer, *self.end[:1]] for answer in answers]
            if not all(sequences):
                raise InvalidArgumentError(f"a candidate has no tokens at all, received {list(candidates)!r}.")
            trie = build_trie(sequences)
            self._tries.put(key, trie)
        return trie

    def _compute(self, rows: Sequence[tuple[str, Sequence[str]]]) -> list[np.ndarray]:
        prompts = [self.encoder.prompt(prompt) for prompt, _ in rows]
        if not all(prompts):
            raise InvalidArgumentError("a prompt must have at least one token, received an empty one.")
        tries = [self.trie(tuple(offered), after=prompt[-1:]) for prompt, offered in rows]
        for prompt, trie in zip(prompts, tries, strict=True):
            self.limits.check(prompt, also=trie.target, more=trie.longest)
        lengths = [len(prompt) + trie.size for prompt, trie in zip(prompts, tries, strict=True)]
        out: list[np.ndarray | None] = [None] * len(rows)
        with torch.inference_mode():
            for chunk in self._chunks(lengths):
                function = _FUNCTIONS[self.path if lengths[chunk[-1]] <= self.window else self.path_beyond]
                chosen = [prompts[i] for i in chunk], [tries[i] for i in chunk]
                scores = function(self.model, *chosen, self.pad, self.end)
                for i, row in zip(chunk, scores, strict=True):
                    # -0.0 and 0.0 print differently; adding zero removes the sign
                    rounded = np.round(row, self.decimals) + 0.0
                    rounded.flags.writeable = False  # it is shared by the memo
                    out[i] = rounded
        return [row for row in out if row is not None]

    def _chunks(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Micro-batches of row indices; rows within the window and beyond it are never in one."""
        for within in (True, False):
            part = [i for i, length in enumerate(lengths) if (length <= self.window) is within]
            for chunk in micro_batches([lengths[i] for i in part], rows=self.micro_batch, tokens=self.max_tokens):
                yield [part[i] for i in chunk]


def score_candidates(
    model: Any, tokenizer: Any, prompts: Sequence[str], candidates: Sequence[Sequence[str]], *, path: str = "auto"
) -> list[np.ndarray]:
    """Score once, without memo or rounding (8 decimals); see :class:`CandidateScorer`."""
    return CandidateScorer(model, tokenizer, path=path, memo=0, decimals=8).score(prompts, candidates)


def score_naive(
    model: Any, tokenizer: Any, prompts: Sequence[str], candidates: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """The same one candidate at a time, with nothing shared: the reference that tests and benchmarks compare with."""
    return CandidateScorer(model, tokenizer, path="naive", memo=0, decimals=8).score(prompts, candidates)


def micro_batches(lengths: Sequence[int], *, rows: int, tokens: int) -> list[list[int]]:
    """Group row indices, sorted by length, into batches of at most ``rows`` rows and ``tokens`` padded tokens."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        last = batches[-1] if batches else None
        if last is not None and len(last) < rows and (len(last) + 1) * lengths[i] <= tokens:
            last.append(i)
        else:
            batches.append([i])
    return batches


def window_of(model: Any) -> float:
    """Tokens that every layer of a model looks back at: its sliding window or chunk, or infinity."""
    config = model.config.get_text_config()
    sliding = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    others = (getattr(config, name, None) for name in ("attention_chunk_size", "window_size"))
    return float(min((size for size in (sliding, *others) if size), default=math.inf))


def best_path(model: Any, *, longest: float = math.inf, packed: bool = True) -> str:
    """Find out by trial which path a model supports: "tree" if it agrees with naive scoring, else "kv", else "naive".

    Agreement is tested on one small made-up row. A sliding window might not show there, so it is asked for by name:
    a mask of ours would widen it.

    Args:
        longest: tokens (prompt and tree) of the longest row to come; up to the window, a window changes nothing.
        packed: whether "tree" may be chosen.
    """
    windowed = longest > window_of(model)
    refuses = "flash" in str(getattr(model.config, "_attn_implementation", ""))
    rng = np.random.Generator(np.random.PCG64(0))
    vocabulary = int(model.config.get_text_config().vocab_size)
    # the longer row has 12 tokens; a window below that would make the trial fail for no reason
    sizes = (9, 6) if window_of(model) >= 12 else (2, 1)
    prompts = [rng.integers(0, vocabulary, size=size).tolist() for size in sizes]
    tries = [build_trie([[1, 2, 0], [1, 3], [4, 2, 2, 1], [0]]), build_trie([[2, 1], [2, 3, 0]])]
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.3
    with torch.inference_mode():
        reference = _score_one_by_one(model, prompts, tries, 0)
        for name, function in (("tree", _score_tree), ("kv", _score_kv)):
            if name == "tree" and (windowed or refuses or not packed):
                continue
            try:
                scores = function(model, prompts, tries, 0)
            except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError):
                continue
            if all(np.allclose(a, b, atol=tolerance) for a, b in zip(scores, reference, strict=True)):
                return name
    return "naive"


def _score_tree(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    packed = pack(prompts, tries, pad=pad, dtype=model.dtype)
    logits = model(
        input_ids=packed.input_ids.to(model.device),
        position_ids=packed.position_ids.to(model.device),
        attention_mask=packed.attention_mask.to(model.device),
        logits_to_keep=packed.keep,
        use_cache=False,
    ).logits  # (B, keep, V): column 0 is the prompt's last token, column i + 1 is node i
    return _read(logits, tries, ends)


def _score_kv(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    out = []
    for prompt, trie in zip(prompts, tries, strict=True):
        first = model(input_ids=torch.tensor([prompt], device=model.device), use_cache=True, logits_to_keep=1)
        branches = _branches(trie)
        longest = max(map(len, branches))
        logits = first.logits.float().expand(len(branches), -1, -1)
        if longest:
            ids = torch.full((len(branches), longest), pad)
            mask = torch.zeros(len(branches), len(prompt) + longest, dtype=torch.long)
            mask[:, : len(prompt)] = 1
            for row, branch in enumerate(branches):
                ids[row, : len(branch)] = torch.tensor(branch, dtype=torch.long)
                mask[row, len(prompt) : len(prompt) + len(branch)] = 1
            cache = first.past_key_values
            cache.batch_repeat_interleave(len(branches))
            positions = torch.arange(len(prompt), len(prompt) + longest)[None].expand(len(branches), -1)
            rest = model(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                position_ids=positions.to(model.device),
                past_key_values=cache,
                use_cache=True,
            ).logits
            logits = torch.cat([logits, rest.float()], dim=1)
        out.append(_sum_branches(logits, trie, ends))
    return out


def _score_one_by_one(
    model: Any, prompts: Sequence[list[int]], tries: Sequence[Trie], pad: int, ends: Sequence[int] = ()
) -> list[np.ndarray]:
    out = []
    for prompt, trie in zip(prompts, tries, strict=True):
        scores = []
        for begin, end in zip(trie.starts, [*trie.starts[1:], len(trie.target)], strict=True):
            answer = trie.target[begin:end].tolist()
            ids = torch.tensor([prompt + answer[:-1]], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
            scores.append(_sum_answer(logits.log_softmax(-1), answer, ends))
        out.append(np.asarray(scores))
    return out


def _read(logits: torch.Tensor, tries: Sequence[Trie], ends: Sequence[int]) -> list[np.ndarray]:
    """Sum the log-probabilities along every candidate. ``logits``: ``(B, keep, V)``."""
    logits = logits.float()
    norm = logits.logsumexp(-1).cpu().numpy()
    rows = np.repeat(np.arange(len(tries)), [len(trie.source) for trie in tries])
    source = np.concatenate([trie.source for trie in tries])
    target = np.concatenate([trie.target for trie in tries])
    picked = logits[torch.from_numpy(rows), torch.from_numpy(source), torch.from_numpy(target)].cpu().numpy()
    values = picked.astype(np.float64) - norm[rows, source]
    if len(ends) > 1:  # a candidate's last token stands for every end
        offsets = np.cumsum([0, *(len(trie.source) for trie in tries[:-1])])
        final = np.concatenate(
            [
                offset + np.append(trie.starts[1:], len(trie.source)) - 1
                for offset, trie in zip(offsets, tries, strict=True)
            ]
        )
        chosen = logits[torch.from_numpy(rows[final]), torch.from_numpy(source[final])]
        values[final] = chosen[:, list(ends)].logsumexp(-1).cpu().numpy() - norm[rows[final], source[final]]
    out, begin = [], 0
    for trie in tries:
        end = begin + len(trie.source)
        out.append(np.add.reduceat(values[begin:end], trie.starts))
        begin = end
    return out


def _sum_answer(logprobs: torch.Tensor, answer: Sequence[int], ends: Sequence[int]) -> float:
    """Log-probability of one answer, whose last token stands for every end. ``logprobs``: ``(>= len(answer), V)``."""
    picked = logprobs[torch.arange(len(answer)), torch.tensor(answer)].double()
    if len(ends) > 1:
        picked[-1] = logprobs[len(answer) - 1, list(ends)].double().logsumexp(-1)
    return float(picked.sum())


_FUNCTIONS = {"tree": _score_tree, "kv": _score_kv, "naive": _score_one_by_one}


def _branches(trie: Trie) -> list[list[int]]:
    """What is fed for each candidate on its own: all its tokens but the last."""
    ends = [*trie.starts[1:], len(trie.target)]
    return [trie.target[begin : end - 1].tolist() for begin, end in zip(trie.starts, ends, strict=True)]


def _sum_branches(logits: torch.Tensor, trie: Trie, ends: Sequence[int]) -> np.ndarray:
    """Scores from one row of logits per candidate, ``(c, 1 + longest, V)``."""
    logprobs = logits.log_softmax(-1)
    bounds = zip(trie.starts, [*trie.starts[1:], len(trie.target)], strict=True)
    answers = [trie.target[begin:end].tolist() for begin, end in bounds]
    return np.asarray([_sum_answer(logprobs[row], answer, ends) for row, answer in enumerate(answers)])
