"""The training of the helper ``lm-sft``: supervised fine-tuning of a backbone on labels of all budgets at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._lm_examples import (
    LabelledObservation,
    answer_tokens,
    draw_examples,
    gather,
    split_by_task,
)
from selfreg_gym.agents.helpers._lm_prompts import Augment
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.backbone import AUTO, backbone_path, opened_backbone
from selfreg_gym.lm.choice_training import train_choice
from selfreg_gym.lm.loading import load_causal, load_tokenizer
from selfreg_gym.lm.prompts import helper_prompt
from selfreg_gym.lm.small_llama import LEARNING_RATE, steps_from_scratch
from selfreg_gym.lm.training import add_lora, early_stopping, merge_lora

__all__ = ["train_on_labels"]


def train_on_labels(
    labels: Iterable[Any],
    *,
    backbone: str | Path,
    actor: str | Path | None,
    seed: int,
    epochs: float,
    lora: int | bool,
    lr: float | None,
    batch_size: int,
    accumulate: int,
    max_labels: int | None,
    help_weight: float,
    interventions: int | None,
    costs: Sequence[float] | None,
    augment: Augment | None,
    features: Mapping[str, str] | None,
    patience: int | None,
    share: float,
    dtype: str,
    device: str,
    resume: str | Path | None,
    progress: bool,
) -> dict[str, Any]:
    """Train the parts of an ``LMSFTHelper``; ``LMSFTHelper.train`` explains the arguments.

    Returns:
        ``model, tokenizer, answers, costs, info``.
    """
    if str(backbone) != AUTO:
        backbone_path(backbone)  # an unknown name is an error before the labels are read
    rows = list(labels)
    interventions = interventions or len(costs or ()) or max([1, *(int(row.action) for row in rows)])
    if costs is not None:
        costs = checked_costs(costs, interventions)
    rows, held = split_by_task(rows, share=share, seed=seed) if patience is not None else (rows, [])
    gathered = gather(rows, interventions=interventions, help_weight=help_weight)
    if not gathered:
        raise InvalidArgumentError("labels must have weights, not all 0.")
    texts = [one.observation for one in gathered]
    with opened_backbone(backbone, texts, prompts=_prompts(gathered), actor=actor, seed=seed) as start:
        tokenizer = load_tokenizer(start.path)
        answers = answer_tokens(tokenizer, interventions)
        model = load_causal(start.path, dtype=dtype, device=device)
        origin = start.record()
    lora = 0 if start.built else lora
    chosen, validation, topics = draw_examples(
        gathered,
        held,
        limit=len(rows) if max_labels is None else min(max_labels, len(rows)),
        tokenizer=tokenizer,
        features=features or {},
        augment=augment,
        interventions=interventions,
        help_weight=help_weight,
        seed=seed,
    )
    if lora:
        model = add_lora(model, task="CAUSAL_LM", rank=lora, seed=seed)
    steps = None
    if start.built:
        steps = steps_from_scratch(len(chosen), epochs=epochs, batch_size=batch_size, accumulate=accumulate)
    log = train_choice(
        model,
        tokenizer,
        chosen,
        answers,
        held_out=validation,
        topics=topics,
        patience=patience,
        seed=seed,
        lr=lr or (LEARNING_RATE if start.built else 3e-3 if lora else 5e-4),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        resume=resume,
        progress=progress,
        description="helper",
    )
    merged = merge_lora(model) if lora else model
    data = dict(getattr(labels, "info", {}))
    if "source" in data:
        data["source"] = Path(data["source"]).name  # model cards are published: no local folders
    info = {
        **origin,
        "data": data or None,
        "seed": seed,
        "epochs": epochs,
        "lora": int(lora),
        "augmented": augment is not None,
        "features": topics,
        "labels": len(rows),
        "trained_on": sum(len(example.prompts) for example in chosen),
        "budgets": sorted({round(float(row.budget), 4) for row in rows}),
        "help_share": float(np.mean([row.action > 0 for row in rows])),
        "steps": log.steps,
        "loss": [round(value, 4) for value in log.loss],
        "seconds": round(log.seconds, 1),
        "dtype": str(merged.dtype).removeprefix("torch."),
        "device": str(device),
    }
    if patience is not None and log.validation:
        info["early_stopping"] = early_stopping(log, patience=patience)
    return {"model": merged.eval(), "tokenizer": tokenizer, "answers": answers, "costs": costs, "info": info}


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
