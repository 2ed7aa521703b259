"""A causal language model from a local directory, as an actor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.arguments import check_name

if TYPE_CHECKING:
    from selfreg_gym.lm.scoring import CandidateScorer

__all__ = ["LM"]

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints"
"""The folder of the families of checkpoints in this package."""
DEFAULT_FAMILY = "sif"
"""The family of an actor without a task: backbones of tasks without a family begin with its weights."""

_MODES = ("rank", "generate")


class LM:
    """A causal LM that ranks the admissible actions, or generates its answer.

    "rank" draws an admissible action with probability ``softmax(score / temperature)``; a score is the log-probability
    of the whole action and an end of turn after it (:mod:`selfreg_gym.lm.scoring`). "generate" writes an answer and
    parses the action (:mod:`selfreg_gym.lm.parsing`). An answer that is not an admissible action is returned as it is,
    and the task treats it as invalid; reasoning that ``max_new_tokens`` cuts off gives the empty action.

    Each decision draws from its own ``rng``, so an action does not depend on the batch. The model is loaded at the
    first use. Pickling keeps the path, not the model.

    Args:
        path: a directory written by ``save_pretrained``; None is the shipped tiny Llama for SIF.
        mode: "rank" or "generate". For a decision without admissible actions the answer is always generated.
        temperature: 1 samples from the model's distribution, 0 takes the most likely action.
        dtype: "float32", "bfloat16" or "float16".
        device: a torch device.
        reasoning: in generation mode, ask for ``Reasoning: ... Action: ...``.
        nearest: in generation mode, replace an inadmissible answer by the most similar admissible action.
        max_new_tokens: largest number of tokens of a generated answer; None is 32, or 256 with ``reasoning``.
        micro_batch: prompts per forward pass. None: 8 in float32, and 1 in 16-bit types, where larger batches are
            faster but change the answers.
        memo: number of scored decisions that are remembered.
        scoring: "auto", "tree", "kv" or "naive" (:mod:`selfreg_gym.lm.scoring_paths`).

    Raises:
        CheckpointError: ``path`` is not a checkpoint.
        InvalidArgumentError, UnknownNameError: an argument is out of range.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        mode: str = "rank",
        temperature: float = 1.0,
        dtype: str = "float32",
        device: str = "cpu",
        reasoning: bool = False,
        nearest: bool = False,
        max_new_tokens: int | None = None,
        micro_batch: int | None = None,
        memo: int = 50_000,
        scoring: str = "auto",
    ) -> None:
        check_name("actor mode", mode, _MODES)
        if not (np.isfinite(temperature) and temperature >= 0):
            raise InvalidArgumentError(f"temperature must be a number of at least 0, received {temperature!r}.")
        if max_new_tokens is None:
            max_new_tokens = 256 if reasoning else 32
        if max_new_tokens < 1:
            raise InvalidArgumentError(f"max_new_tokens must be at least 1, received {max_new_tokens!r}.")
        if path is not None and not isinstance(path, str | Path):
            raise InvalidArgumentError(
                f"path must be a directory written by save_pretrained, or None, received {repr(path)[:100]}."
            )
        self.checkpoint_dir = Path(path) if path is not None else SHIPPED / DEFAULT_FAMILY / "tiny"
        self.mode = mode
        self.temperature = float(temperature)
        self.dtype = dtype
        self.device = device
        self.reasoning = reasoning
        self.nearest = nearest
        self.max_new_tokens = max_new_tokens
        self.micro_batch = micro_batch
        self.memo = memo
        self.scoring = scoring
        self._scorer: CandidateScorer | None = None
        folder = self.checkpoint_dir  # not by `loading.check_checkpoint`, which imports torch
        if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
            raise CheckpointError(
                "an actor's checkpoint must be a local directory with config.json and *.safetensors "
                f"(as save_pretrained writes it), received {str(folder)!r}."
            )

    @property
    def scorer(self) -> CandidateScorer:
        """The scorer with its model, which is loaded at the first access."""
        if self._scorer is None:
            from selfreg_gym.lm.loading import load_causal, load_tokenizer
            from selfreg_gym.lm.scoring import CandidateScorer

            self._scorer = CandidateScorer(
                load_causal(self.checkpoint_dir, dtype=self.dtype, device=self.device),
                load_tokenizer(self.checkpoint_dir),
                path=self.scoring,
                micro_batch=self.micro_batch,
                memo=self.memo,
            )
        return self._scorer

    def unknown_tokens(self, texts: Sequence[str]) -> tuple[int, int]:
        """The number of unknown tokens in the distinct texts, and of all their tokens."""
        from selfreg_gym.lm.vocabulary import unknown_tokens

        found = unknown_tokens(self.scorer.encoder.tokenizer, texts)
        return found.unknown, found.total

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Return one act per decision, in order."""
        out: list[Act | None] = [None] * len(decisions)
        ranked = [i for i, d in enumerate(decisions) if self.mode == "rank" and d.admissible_actions is not None]
        generated = [i for i, d in enumerate(decisions) if self.mode == "generate" or d.admissible_actions is None]
        for indices, answer in ((ranked, self._rank), (generated, self._generate)):
            if indices:
                for i, act in zip(indices, answer([decisions[i] for i in indices]), strict=True):
                    out[i] = act
        return [act for act in out if act is not None]

    def _rank(self, decisions: Sequence[Decision]) -> list[Act]:
        from selfreg_gym.lm.generation import sample_index, softmax
        from selfreg_gym.lm.prompts import actor_prompt, answer_text

        scorer = self.scorer
        prompts = [actor_prompt(d.observation, tokenizer=scorer.encoder.tokenizer) for d in decisions]
        candidates = [tuple(map(answer_text, d.admissible_actions or ())) for d in decisions]
        scored = scorer.score(prompts, candidates)
        acts = []
        for decision, prompt, offered, scores in zip(decisions, prompts, candidates, scored, strict=True):
            probabilities = softmax(scores, temperature=self.temperature)
            chosen = int(np.argmax(scores)) if self.temperature == 0 else sample_index(probabilities, decision.rng)
            scaled = scores / (self.temperature or 1.0)
            scaled = scaled - scaled.max()
            logprobs = scaled - np.log(np.exp(scaled).sum())
            assert decision.admissible_actions is not None
            answer = scorer.encoder.continuation(offered[chosen], after=prompt[-1:])
            tokens = len(scorer.encoder.prompt(prompt)) + len(answer)
            acts.append(Act(decision.admissible_actions[chosen], logprobs=tuple(logprobs.tolist()), tokens=tokens))
        return acts

    def _generate(self, decisions: Sequence[Decision]) -> list[Act]:
        from selfreg_gym.lm.chat_template import turn_of
        from selfreg_gym.lm.generation import generate
        from selfreg_gym.lm.parsing import parse_action
        from selfreg_gym.lm.prompts import ACTION_MARK, actor_prompt

        scorer = self.scorer
        tokenizer = scorer.encoder.tokenizer
        prompts = [actor_prompt(d.observation, tokenizer=tokenizer, reasoning=self.reasoning) for d in decisions]
        answers = generate(
            scorer.model,
            tokenizer,
            prompts,
            [decision.rng for decision in decisions],
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            micro_batch=self.micro_batch,
            one_line=not self.reasoning,
            encoder=scorer.encoder,
        )
        mark = turn_of(tokenizer).opened if self.reasoning else ACTION_MARK  # the end of the prompt
        return [
            Act(parse_action(mark + text, decision.admissible_actions, nearest=self.nearest), tokens=tokens)
            for decision, (text, tokens) in zip(decisions, answers, strict=True)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scorer": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> LM:
        return self

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self.checkpoint_dir)!r}, mode={self.mode!r}, temperature={self.temperature:g})"
        )
