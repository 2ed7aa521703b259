"""Log-probabilities of candidate answers under a causal LM: packed, batched and memoised.

For a prompt x and a candidate answer y of tokens y_1 ... y_T,

    score(y) = sum_t log P(y_t | x, y_<t) + log sum_{e in E} P(e | x, y)

where E is the set of tokens that end an answer (:func:`selfreg_gym.lm.chat_template.stop_tokens`). With the end token
included, candidates of different lengths compete as whole answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.batching import micro_batches, rows_per_forward
from selfreg_gym.lm.chat_template import stop_tokens
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.memo import Memo, digest
from selfreg_gym.lm.packing import Trie, build_trie
from selfreg_gym.lm.scoring_paths import LONGEST_TREE, PATHS, SCORE_FUNCTIONS, best_path, window_of
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.utils.arguments import check_name

__all__ = ["CandidateScorer", "score_candidates"]


class CandidateScorer:
    """Scores candidate answers after prompts, in batches.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer, with a pad token.
        path: "tree", "kv" or "naive" (:mod:`selfreg_gym.lm.scoring_paths`), or "auto" to choose by a trial.
        micro_batch: rows per forward pass; rows are sorted by length first. None: see
            :func:`selfreg_gym.lm.batching.rows_per_forward`.
        memo: number of (prompt, candidates) pairs that are remembered. Equal pairs in one call are scored once anyway.
        decimals: decimals to which scores are rounded. Scores from batches of different shapes differ in the seventh
            digit; samples drawn from rounded scores do not.

    Attributes:
        end: ids of the tokens that end an answer.

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
        micro_batch: int | None = None,
        memo: int = 50_000,
        decimals: int = 4,
    ) -> None:
        check_name("scoring path", path, PATHS)
        self.model = model
        self.encoder = PromptEncoder(tokenizer)
        self.limits = match_tokenizer(model, tokenizer)
        self.pad = int(tokenizer.pad_token_id)
        self.end = stop_tokens(model, tokenizer)
        self.micro_batch = rows_per_forward(model, micro_batch)
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
        """The path for rows longer than :attr:`window` tokens."""
        return best_path(self.model, packed=False) if self._auto else self.path

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Score the candidates of N prompts.

        A candidate is appended to the prompt literally, so it usually begins with a space.

        Args:
            prompts: N texts.
            candidates: for each prompt, its ``n_i`` candidate answers.

        Returns:
            N float64 arrays ``(n_i,)`` of log-probabilities, in the candidates' order.

        Raises:
            InvalidArgumentError: a prompt has no candidates, the two lists differ in length, or a prompt with its
                longest candidate exceeds the model's maximum length.
        """
        if len(prompts) != len(candidates):
            raise InvalidArgumentError(
                f"one list of candidates per prompt is needed, received {len(prompts)} prompts and {len(candidates)}."
            )
        keys = [digest((prompt, *offered)) for prompt, offered in zip(prompts, candidates, strict=True)]
        return self.memo.get_or_compute(
            keys, lambda new: zip(new, self._compute([(prompts[i], candidates[i]) for i in new]), strict=True)
        )

    def trie(self, candidates: Sequence[str], *, after: str = ":") -> Trie:
        """Return the memoised trie of the candidates' tokens after a prompt whose last character is ``after``."""
        key = digest((after, *candidates))
        trie = self._tries.get(key)
        if trie is None:
            if not candidates:
                raise InvalidArgumentError("there must be at least one candidate to score, received none.")
            answers = [self.encoder.continuation(text, after=after) for text in candidates]
            for answer in answers:
                self.limits.check(answer)  # before the trie is built, whose size grows with the square
            sequences = [[*answer, *self.end[:1]] for answer in answers]
            if not all(sequences):
                raise InvalidArgumentError(
                    f"a candidate must have at least one token, received an empty one in {list(candidates)!r}."
                )
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
                function = SCORE_FUNCTIONS[self.path if lengths[chunk[-1]] <= self.window else self.path_beyond]
                chosen = [prompts[i] for i in chunk], [tries[i] for i in chunk]
                scores = function(self.model, *chosen, self.pad, self.end)
                for i, row in zip(chunk, scores, strict=True):
                    rounded = np.round(row, self.decimals) + 0.0  # adding zero turns -0.0 into 0.0
                    rounded.flags.writeable = False  # the memo shares it
                    out[i] = rounded
        return [row for row in out if row is not None]

    def _chunks(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield micro-batches of row indices; none mixes rows within the window and beyond it."""
        for within in (True, False):
            part = [i for i, length in enumerate(lengths) if (length <= self.window) is within]
            for chunk in micro_batches([lengths[i] for i in part], rows=self.micro_batch):
                yield [part[i] for i in chunk]


def score_candidates(
    model: Any, tokenizer: Any, prompts: Sequence[str], candidates: Sequence[Sequence[str]], *, path: str = "auto"
) -> list[np.ndarray]:
    """Score once, without memo and to 8 decimals, as :meth:`CandidateScorer.score`; "naive" is the reference path."""
    return CandidateScorer(model, tokenizer, path=path, memo=0, decimals=8).score(prompts, candidates)
