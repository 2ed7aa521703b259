"""What a trained process reward model looks like to others: its model card, and its export as a decision model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from selfreg_gym.lm.decision_export import DecisionHead, save_decision
from selfreg_gym.lm.model_card import Figure, write_card
from selfreg_gym.lm.prompts import success_prompt, turn

if TYPE_CHECKING:
    from selfreg_gym.prm.model import ProcessRewardModel

__all__ = ["export_decision", "write_card_of"]


def export_decision(prm: ProcessRewardModel, path: str | Path) -> None:
    """See :meth:`selfreg_gym.prm.model.ProcessRewardModel.export_decision`."""
    a, b = prm.scale
    weight = prm.model.score.weight.detach()
    names = ("failure", "success")
    save_decision(
        path,
        prm.model,
        prm.tokenizer,
        DecisionHead(
            torch.cat([torch.zeros_like(weight), a * weight]),
            torch.tensor([0.0, b]),
            {"choice": names, "score": names, "noul": ("false", "true")},
        ),
        tail=success_prompt("", tokenizer=prm.tokenizer).removeprefix(turn("", prm.tokenizer)),
        expected=lambda texts: np.pad((a * prm.logits(texts) + b)[:, None], ((0, 0), (1, 0))),
    )
    write_card_of(prm, Path(path), decision=True)


_FROM_DISK = """
from selfreg_gym.prm import ProcessRewardModel

prm = ProcessRewardModel.from_pretrained("PATH")
p = prm.score([observation])
"""
_AS_DECISION = """
from transformers import pipeline

pipe = pipeline("decision", model="PATH")
p = pipe({"state": observation, "questions": {"success": {"type": "noul"}}})["success"]["noul"]
"""


def write_card_of(prm: ProcessRewardModel, folder: Path, *, decision: bool = False) -> None:
    """Write the model card of a process reward model, or of its export."""
    held = prm.info.get("held_out") or {}
    on = f"held-out tasks, target {prm.info.get('targets')!r}, {held.get('n')} decisions"
    write_card(
        folder,
        title=f"Process reward model on {prm.info.get('backbone', 'a language model')}",
        what="p(s): the probability that an episode which stands at observation s ends in success, under the "
        f"continuation policy {prm.info.get('targets', 'unknown')!r} (nohelp: the actor goes on alone; mixture: "
        f"whatever mixture of help was running). The logit is scaled by a = {prm.scale[0]:.4g}, "
        f"b = {prm.scale[1]:.4g} before the sigmoid.",
        tags=("process-reward-model", *(["decision"] if decision else [])),
        info=prm.info,
        usage=_AS_DECISION if decision else _FROM_DISK,
        figures=[Figure(name, held[name], on) for name in ("auc", "ece", "brier") if held.get(name) is not None],
    )
