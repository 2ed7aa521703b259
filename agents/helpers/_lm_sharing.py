"""What a trained helper looks like to others: its model card, and its export as a decision model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from selfreg_gym.lm.decision_export import DecisionHead, save_decision
from selfreg_gym.lm.model_card import Figure, write_card
from selfreg_gym.lm.prompts import helper_prompt, turn

if TYPE_CHECKING:
    from selfreg_gym.agents.helpers.lm import LMHelper

__all__ = ["export_decision", "write_card_of"]


def export_decision(helper: LMHelper, path: str | Path, *, budget: float | None) -> None:
    """See :meth:`selfreg_gym.agents.helpers.lm.LMHelper.export_decision`."""
    asked = helper if budget is None else helper.with_budget(budget).with_offset(helper.offset)
    head = asked.model.get_output_embeddings()
    tokens = list(asked.answers)
    bias = torch.zeros(len(tokens)) if head.bias is None else head.bias.detach()[tokens].float().cpu()
    moved = asked.offset * np.asarray(asked.offset_weights)
    bias[1:] += torch.as_tensor(moved, dtype=bias.dtype)
    names = ("nohelp", "help", *(f"help{k}" for k in range(2, len(tokens))))
    yes_or_no = {"noul": ("false", "true")} if len(tokens) == 2 else {}
    save_decision(
        path,
        asked.model,
        asked.tokenizer,
        DecisionHead(head.weight.detach()[tokens], bias, {"choice": names, **yes_or_no}),
        tail=helper_prompt("", asked.budget, tokenizer=asked.tokenizer).removeprefix(turn("", asked.tokenizer)),
        instructed="Budget ",
        expected=lambda texts: np.pad(asked.logits(texts) + moved, ((0, 0), (1, 0))),
    )
    write_card_of(asked, Path(path), decision=True)


_FROM_DISK = """
from selfreg_gym.agents.helpers.lm import LMHelper

helper = LMHelper.from_pretrained("PATH").with_budget(1.0)
action, _ = helper.predict(observation)
"""
_AS_DECISION = """
from transformers import pipeline

pipe = pipeline("decision", model="PATH")
question = {"type": "noul", "instructions": "Budget 1.00. Help?"}  # type "choice" where there are several to ask
p = pipe({"state": observation, "questions": {"help": question}})["help"]["noul"]  # ask for help above 0.5
"""


def write_card_of(helper: LMHelper, folder: Path, *, decision: bool = False) -> None:
    """Write the model card of a helper, or of its export."""
    stopping = helper.info.get("early_stopping")
    figures = []
    if stopping:
        loss = min(value for _, value in stopping["validation"])
        figures.append(Figure("weighted cross-entropy", loss, "labels of held-out tasks"))
    write_card(
        folder,
        title=f"Helper on {helper.info.get('backbone', 'a language model')}",
        what="Reads an observation and a budget (cost units of help per episode), and says whether to ask for help. "
        f"Saved at budget {helper.budget:g} with an offset of {helper.offset:g} logits per cost unit (costs: "
        f"{', '.join(f'{cost:g}' for cost in helper.offset_weights)}); one model serves every budget. It "
        "was trained on the labels of an exact solution, each weighted by how much the choice matters. How it fares in "
        "episodes stands in the evaluation.json of its run.",
        tags=("helper", *(["decision"] if decision else [])),
        info=helper.info,
        usage=_AS_DECISION if decision else _FROM_DISK,
        figures=figures,
    )
