"""The training of the helper ``lm-sft``: supervised fine-tuning of a backbone on labels of all budgets at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._lm_prompts import Augment
from selfreg_gym.agents.helpers._lm_sft_examples import (
    LabelledObservation,
    answer_tokens,
    draw_examples,
    gather,
    split_by_task,
)
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.choice_training import train_choice
from selfreg_gym.lm.finetuning_settings import FinetuningSettings
from selfreg_gym.lm.loading import load_causal
from selfreg_gym.lm.prompts import helper_prompt
from selfreg_gym.lm.training_start import TrainingStart, check_backbone

__all__ = ["train_on_labels"]


def train_on_labels(
    labels: Iterable[Any],
    *,
    max_labels: int | None,
    help_weight: float,
    interventions: int | None,
    costs: Sequence[float] | None,
    augment: Augment | None,
    features: Mapping[str, str] | None,
    settings: FinetuningSettings,
) -> dict[str, Any]:
    """Train the parts of an ``LMSFTHelper``; ``LMSFTHelper.train`` explains the arguments.

    Returns:
        ``model, tokenizer, answers, costs, info``.
    """
    check_backbone(settings.backbone)
    rows = list(labels)
    interventions = interventions or len(costs or ()) or max([1, *(int(row.action) for row in rows)])
    if costs is not None:
        costs = checked_costs(costs, interventions)
    rows, held = (
        split_by_task(rows, share=settings.share, seed=settings.seed) if settings.patience is not None else (rows, [])
    )
    gathered = gather(rows, interventions=interventions, help_weight=help_weight)
    if not gathered:
        raise InvalidArgumentError("labels must have weights, not all 0.")
    texts = [one.observation for one in gathered]
    load = partial(load_causal, dtype=settings.dtype, device=settings.device)
    start = TrainingStart.open(settings, load, texts, prompts=_prompts(gathered))
    tokenizer = start.tokenizer
    answers = answer_tokens(tokenizer, interventions)
    chosen, validation, topics = draw_examples(
        gathered,
        held,
        limit=len(rows) if max_labels is None else min(max_labels, len(rows)),
        tokenizer=tokenizer,
        features=features or {},
        augment=augment,
        interventions=interventions,
        help_weight=help_weight,
        seed=settings.seed,
    )
    start.adapt(task="CAUSAL_LM")
    log = train_choice(
        start.model,
        tokenizer,
        chosen,
        answers,
        held_out=validation,
        topics=topics,
        description="helper",
        **start.loop(len(chosen), adapters=3e-3, weights=5e-4),
    )
    merged = start.merged()
    data = dict(getattr(labels, "info", {}))
    if "source" in data:
        data["source"] = Path(data["source"]).name  # model cards are published: no local folders
    info = {
        **start.record(log, merged),
        "data": data or None,
        "augmented": augment is not None,
        "features": topics,
        "labels": len(rows),
        "trained_on": sum(len(example.prompts) for example in chosen),
        "budgets": sorted({round(float(row.budget), 4) for row in rows}),
        "help_share": float(np.mean([row.action > 0 for row in rows])),
    }
    return {"model": merged, "tokenizer": tokenizer, "answers": answers, "costs": costs, "info": info}


def _prompts(gathered: Sequence[LabelledObservation]) -> list[str]:
    """The ends of the prompts of all budgets.

    Raises:
        InvalidArgumentError: two budgets are equal when written with two decimals.
    """
    budgets = sorted({budget for one in gathered for budget in one.budgets})
    prompts = [helper_prompt("", budget) for budget in budgets]
    if len(set(prompts)) < len(prompts):
        raise InvalidArgumentError(
            f"the budgets of a helper must differ when written with two decimals, received {budgets}: choose "
            "others, or count cost units in a smaller unit (costs and budgets times 100)."
        )
    return prompts
