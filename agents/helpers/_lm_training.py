"""The training of the helper ``lm``: its data, backbone, value heads and training record."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from selfreg_gym.agents.helpers._always import always_asked
from selfreg_gym.agents.helpers._arguments import checked_costs, without_task
from selfreg_gym.agents.helpers._lm_prompts import Augment, draw_decisions, prompts_of
from selfreg_gym.agents.helpers._lm_regression import GainExamples, r_squared, train_gains, train_numbers
from selfreg_gym.agents.helpers._teacher import TeacherGains, teacher_gains
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.inputs import DecisionTable, InputEncoder, action_kinds_of
from selfreg_gym.lm.backbone import checkpoint_of_spec, task_of_spec
from selfreg_gym.lm.finetuning_settings import FinetuningSettings
from selfreg_gym.lm.gain_model import TEXT_FEATURES, GainHead, GainModel, text_features
from selfreg_gym.lm.loading import load_causal
from selfreg_gym.lm.readers import TextReader
from selfreg_gym.lm.small_llama import LEARNING_RATE
from selfreg_gym.lm.training_start import TrainingStart, check_backbone
from selfreg_gym.lm.vocabulary_extension import extend_vocabulary
from selfreg_gym.prm.targets import split_tasks
from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.store.source import checked_source
from selfreg_gym.types import Episode
from selfreg_gym.utils.random_streams import LABEL_EXAMPLES, stream

__all__ = ["train_student"]

_VALIDATION = 256  # smallest number of decisions for validation, if there are as many
_TAIL = "Steps left 1. Calls 1. Help?"  # the words of the last line of a prompt


def train_student(
    rollouts: Any,
    teacher: Any,
    *,
    inputs: tuple[str, ...] | None,
    facts: bool,
    prm: Any,
    costs: Sequence[float] | None,
    max_decisions: int | None,
    augment: Augment | None,
    topics: bool,
    settings: FinetuningSettings,
) -> dict[str, Any]:
    """Train the parts of a :class:`selfreg_gym.LMHelper`; ``LMHelper.train`` explains the arguments.

    Returns:
        ``backbone, tokenizer, head, prices, costs, always, encoder, info``.
    """
    if "embedding" in (inputs or ()):
        raise InvalidArgumentError(
            "a language-model helper reads the text itself: leave 'embedding' out of its inputs."
        )
    without_task(inputs or ())
    seed, task = settings.seed, task_of_spec(getattr(rollouts, "spec", None))
    check_backbone(settings.backbone, task=task)
    rollouts = checked_source(rollouts)
    data = _read(rollouts, teacher, inputs=inputs, facts=facts, prm=prm, share=settings.share, seed=seed)
    table, gains = data.table, data.gains
    costs = checked_costs(costs or [1.0] * gains.interventions, gains.interventions)
    drawn, weight = draw_decisions(table, data.inside, size=max_decisions, seed=seed)
    size = max(_VALIDATION, len(drawn) // 40)
    judged, judged_weight = draw_decisions(table, data.outside, size=size, seed=seed)

    checkpoint = checkpoint_of_spec(getattr(rollouts, "spec", None))
    start, added = _open(settings, table, facts=facts, actor=checkpoint, task=task)
    tokenizer = start.tokenizer
    reading: dict[str, Any] = {"facts": facts, "topics": topics, "tokenizer": tokenizer}
    fit = data.examples(drawn, weight, **reading, augment=augment, rng=stream(LABEL_EXAMPLES, seed, 1))
    validation = data.examples(judged, judged_weight, **reading)
    text_width = TEXT_FEATURES * int(start.model.config.get_text_config().hidden_size)
    head = GainHead(text_width, data.numbers.shape[1], gains.prices, gains.interventions, seed=seed)
    head.fit_scale(torch.from_numpy(gains.values[data.inside]))
    explained: dict[str, Any] = {}
    if data.encoder is not None:
        _train_numbers(head, data, seed=seed, resume=settings.resume)
        with torch.inference_mode():
            alone = head.eval().without_text(torch.from_numpy(validation.numbers)).numpy()
        explained["r2_of_numbers"] = _explained(alone, validation, gains)
    start.adapt(task="CAUSAL_LM")
    student = GainModel(start.model, head.to(settings.device))
    log = train_gains(
        student,
        tokenizer,
        fit,
        validation,
        topics=len(table.feature_key.values) if topics else 0,
        description="helper",
        **start.loop(len(drawn), adapters=3e-3, weights=LEARNING_RATE),
    )
    merged = start.merged(student.backbone)
    head = student.head.cpu().eval()
    features = TextReader(merged, tokenizer, text_features, memo=0).read(validation.prompts).astype(np.float32)
    with torch.inference_mode():
        found = head(torch.from_numpy(features), torch.from_numpy(validation.numbers)).numpy()
    explained["r2"] = _explained(found, validation, gains)
    info = {
        **start.record(log, merged),
        "teacher": gains.source,
        "inputs": list(data.inputs),
        "facts": facts,
        "augmented": augment is not None,
        "features": len(table.feature_key.values) if topics else 0,
        "added_words": added,
        "decisions": len(table),
        "trained_on": len(drawn),
        "held_out_decisions": len(judged),
        "prices": [round(r, 4) for r in gains.prices],
        **explained,
        "validation": [[step, round(value, 5)] for step, value in log.validation],
    }
    return {
        "backbone": merged,
        "tokenizer": tokenizer,
        "head": head,
        "prices": gains.prices,
        "costs": costs,
        "always": always_asked(teacher, costs),
        "encoder": data.encoder,
        "info": info,
    }


class _Data(NamedTuple):
    """The decisions of a training.

    Attributes:
        table: n decisions.
        gains: the teacher's gains at these decisions.
        inputs: names of the numbers.
        encoder: the encoder of the numbers; None without inputs.
        numbers: float32 ``(n, D)``.
        inside, outside: indices of the decisions that the teacher knows, of the tasks to train on and of the held-out
            tasks.
    """

    table: DecisionTable
    gains: TeacherGains
    inputs: tuple[str, ...]
    encoder: InputEncoder | None
    numbers: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    def examples(
        self,
        rows: np.ndarray,
        weight: np.ndarray,
        *,
        facts: bool,
        topics: bool,
        tokenizer: Any,
        augment: Augment | None = None,
        rng: np.random.Generator | None = None,
    ) -> GainExamples:
        """The examples of some decisions, with their weights in the loss; ``topics``: with the feature key as topic."""
        prompts = prompts_of(self.table.take(rows), facts=facts, tokenizer=tokenizer, augment=augment, rng=rng)
        topic = self.table.feature_key.codes[rows] if topics else np.full(len(rows), -1)
        return GainExamples(prompts, self.numbers[rows], self.gains.values[rows], weight, topic)


def _read(
    rollouts: Rollouts | list[Episode], teacher: Any, *, inputs: tuple[str, ...] | None, facts: bool, prm: Any,
    share: float, seed: int,
) -> _Data:  # fmt: skip
    """Read the decisions of the rollouts with the teacher's gains, and hold out a share of the tasks.

    Raises:
        InvalidArgumentError: the teacher knows no decision of the tasks to train on, or none of the held-out tasks.
    """
    table = DecisionTable.from_rollouts(rollouts)
    gains = teacher_gains(teacher, table)
    held_out = split_tasks(_tasks(rollouts), share=share, seed=seed)
    inputs = _available(table, facts=facts) if inputs is None else inputs
    encoder, numbers = _numbers(table, inputs, rollouts, prm)
    inside, outside = np.flatnonzero(gains.known & ~held_out), np.flatnonzero(gains.known & held_out)
    if not len(inside) or not len(outside):
        raise InvalidArgumentError(
            "the teacher must know decisions of the tasks to train on and of the held-out tasks, received "
            f"{len(inside)} and {len(outside)}: collect more tasks, or use another share or seed."
        )
    return _Data(table, gains, inputs, encoder, numbers, inside, outside)


def _open(
    settings: FinetuningSettings, table: DecisionTable, *, facts: bool, actor: str | Path | None, task: str | None
) -> tuple[TrainingStart, list[str]]:
    """The model of the backbone with its tokenizer, and the words of the prompts that its vocabulary lacked."""
    lines = [f"Facts: {key}" for key in table.feature_key.values] if facts else []
    prompts = [_TAIL, " ".join(lines)] if lines else [_TAIL]  # their words are in the vocabulary of a built backbone
    load = partial(load_causal, dtype=settings.dtype, device=settings.device)
    texts = table.observation.values
    start = TrainingStart.open(settings, load, texts, prompts=prompts, actor=actor, task=task)
    return start, extend_vocabulary(start.model, start.tokenizer, [*lines, _TAIL], seed=settings.seed)


def _train_numbers(head: GainHead, data: _Data, *, seed: int, resume: str | Path | None) -> None:
    """Train the network of the numbers on all decisions that the teacher knows."""
    rows = np.concatenate([data.inside, data.outside])
    held_out = np.arange(len(rows)) >= len(data.inside)
    folder = None if resume is None else Path(resume) / "numbers"
    train_numbers(head, data.numbers[rows], data.gains.values[rows], held_out, seed=seed, resume=folder)


def _available(table: DecisionTable, *, facts: bool) -> tuple[str, ...]:
    """The inputs that are read by default, of those that the table has."""
    has = {
        "features": facts and bool((table.feature_key.codes >= 0).any()),
        "actor": table.actor_logprobs is not None and all(one is not None for one in table.actor_logprobs),
        "steps_left": bool((table.steps_left >= 0).any()),
        "calls_so_far": table.interventions > 0,
    }
    return tuple(name for name, there in has.items() if there)


def _numbers(
    table: DecisionTable, inputs: Sequence[str], rollouts: Any, prm: Any
) -> tuple[InputEncoder | None, np.ndarray]:
    """The encoder of the numbers, and the numbers float32 ``(n, D)``; None and ``(n, 0)`` without inputs."""
    if not inputs:
        return None, np.zeros((len(table), 0), np.float32)
    encoder = InputEncoder.fit(table, inputs, prm=prm, action_kinds=action_kinds_of(rollouts))
    return encoder, encoder.encode(table)


def _tasks(rollouts: Rollouts | list[Episode]) -> list[str]:
    """The task of each decision, in the order of :meth:`DecisionTable.from_rollouts`."""
    if isinstance(rollouts, Rollouts):
        column: Any = rollouts.columns("task_id", decisions=True)["task_id"]
        return [column.values[code] for code in column.codes.tolist()]
    return [episode.task_id for episode in rollouts for _ in episode.decisions]


def _explained(found: np.ndarray, examples: GainExamples, gains: TeacherGains) -> list[float]:
    """The share of the variance of the gains that is explained at each price, for dS and dM ``found (m, P, K, 2)``."""
    price = np.asarray(gains.prices, np.float32)[:, None]
    gain, wanted = (values[..., 0] - price * values[..., 1] for values in (found, examples.targets))
    return [round(float(value), 4) for value in r_squared(gain, wanted, examples.weight)]
