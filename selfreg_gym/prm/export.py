"""Export of a process reward model: its model card, and a ``transformers.decision`` repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfreg_gym.lm.decision_export import DecisionHead, save_decision
from selfreg_gym.lm.model_card import Figure, write_card
from selfreg_gym.lm.prompts import success_prompt, turn

__all__ = ["save_as_decision", "write_model_card"]

_LOAD = """
from selfreg_gym.prm import ProcessRewardModel

prm = ProcessRewardModel.from_pretrained("PATH")
p = prm.score([observation])
"""
_LOAD_DECISION = """
from transformers import pipeline

pipe = pipeline("decision", model="PATH")
p = pipe({"state": observation, "questions": {"success": {"type": "noul"}}})["success"]["noul"]
"""


def save_as_decision(
    path: str | Path,
    model: Any,
    tokenizer: Any,
    *,
    scale: tuple[float, float],
    logits: Callable[[Sequence[str]], np.ndarray],
) -> None:
    """See :meth:`selfreg_gym.prm.model.ProcessRewardModel.export_decision`.

    Args:
        path: the folder to write.
        model, tokenizer: the classifier with one logit, and its tokenizer.
        scale: ``(a, b)`` of the logit, which become weight and bias of the exported head.
        logits: from N observations to unscaled logits ``(N,)``, with which the export is compared.
    """
    a, b = scale
    weight = model.score.weight.detach()
    names = ("failure", "success")
    save_decision(
        path,
        model,
        tokenizer,
        DecisionHead(
            torch.cat([torch.zeros_like(weight), a * weight]),
            torch.tensor([0.0, b]),
            {"choice": names, "score": names, "noul": ("false", "true")},
        ),
        tail=success_prompt("", tokenizer=tokenizer).removeprefix(turn("", tokenizer)),
        expected=lambda texts: np.pad((a * logits(texts) + b)[:, None], ((0, 0), (1, 0))),
    )


def write_model_card(
    folder: Path, *, scale: tuple[float, float], info: Mapping[str, Any], decision: bool = False
) -> None:
    """Write ``README.md`` of a process reward model, or of its export as a decision repository."""
    held_out = info.get("held_out") or {}
    on = f"held-out tasks, target {info.get('targets')!r}, {held_out.get('n')} decisions"
    write_card(
        folder,
        title=f"Process reward model on {info.get('backbone', 'a language model')}",
        what="p(s): the probability that an episode in observation s ends in success, under the continuation policy "
        f"{info.get('targets', 'unknown')!r} (nohelp: the actor continues alone; mixture: the mixture of help of the "
        f"collection continues). p = sigmoid(a * logit + b) with a = {scale[0]:.4g}, b = {scale[1]:.4g}.",
        tags=("process-reward-model", *(["decision"] if decision else [])),
        info=info,
        usage=_LOAD_DECISION if decision else _LOAD,
        figures=[
            Figure(name, held_out[name], on) for name in ("auc", "ece", "brier") if held_out.get(name) is not None
        ],
    )
