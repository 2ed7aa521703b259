"""Export of language-model helpers: model cards, and a ``transformers.decision`` repository."""

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
    from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper

__all__ = ["export_decision", "write_gain_card", "write_model_card"]


def export_decision(helper: LMSFTHelper, path: str | Path, *, budget: float | None) -> None:
    """See :meth:`selfreg_gym.agents.helpers.lm_sft.LMSFTHelper.export_decision`."""
    exported = helper if budget is None else helper.with_budget(budget).with_offset(helper.offset)
    head = exported.model.get_output_embeddings()
    tokens = list(exported.answers)
    bias = torch.zeros(len(tokens)) if head.bias is None else head.bias.detach()[tokens].float().cpu()
    moved = exported.offset * np.asarray(exported.offset_weights)
    bias[1:] += torch.as_tensor(moved, dtype=bias.dtype)
    names = ("nohelp", "help", *(f"help{k}" for k in range(2, len(tokens))))
    yes_or_no = {"noul": ("false", "true")} if len(tokens) == 2 else {}
    save_decision(
        path,
        exported.model,
        exported.tokenizer,
        DecisionHead(head.weight.detach()[tokens], bias, {"choice": names, **yes_or_no}),
        tail=helper_prompt("", exported.budget, tokenizer=exported.tokenizer).removeprefix(
            turn("", exported.tokenizer)
        ),
        instructed="Budget ",
        expected=lambda texts: np.pad(exported.logits(texts) + moved, ((0, 0), (1, 0))),
    )
    write_model_card(exported, Path(path), decision=True)


_LOAD = """
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper

helper = LMSFTHelper.from_pretrained("PATH").with_budget(1.0)
action, _ = helper.predict(observation)
"""
_LOAD_DECISION = """
from transformers import pipeline

pipe = pipeline("decision", model="PATH")
question = {"type": "noul", "instructions": "Budget 1.00. Help?"}  # type "choice" for several interventions
p = pipe({"state": observation, "questions": {"help": question}})["help"]["noul"]  # ask for help above 0.5
"""


def write_model_card(helper: LMSFTHelper, folder: Path, *, decision: bool = False) -> None:
    """Write ``README.md`` of a helper, or of its export as a decision repository."""
    stopping = helper.info.get("early_stopping")
    figures = []
    if stopping:
        loss = min(value for _, value in stopping["validation"])
        figures.append(Figure("weighted cross-entropy", loss, "labels of held-out tasks"))
    write_card(
        folder,
        title=f"Helper on {helper.info.get('backbone', 'a language model')}",
        what="Reads an observation and a budget (cost units of help per episode), and decides whether to ask for help. "
        f"Saved at budget {helper.budget:g} with an offset of {helper.offset:g} logits per cost unit (costs: "
        f"{', '.join(f'{cost:g}' for cost in helper.offset_weights)}); one model serves every budget. It "
        "was trained on labels of an exact solution, each weighted by the advantage of its action. Its results in "
        "episodes are in the evaluation.json of its run.",
        tags=("helper", *(["decision"] if decision else [])),
        info=helper.info,
        usage=_LOAD_DECISION if decision else _LOAD,
        figures=figures,
    )


_LOAD_GAINS = """
from selfreg_gym import LMHelper, evaluate

helper = LMHelper.from_pretrained("PATH").with_price(0.3)  # success per cost unit; a lower price asks more
evaluate(env, {"helper": helper}, tasks=range(100), episodes=3)
"""


def write_gain_card(helper: LMHelper, folder: Path) -> None:
    """Write ``README.md`` of a helper with value heads."""
    prices, r2 = helper.info.get("prices") or [], helper.info.get("r2") or []
    figures = [
        Figure(f"explained variance of the gains at price {price:g}", value, "decisions of held-out tasks")
        for price, value in zip(prices, r2, strict=True)
    ]
    numbers = ", ".join(helper.encoder.names) if helper.encoder is not None else "none"
    write_card(
        folder,
        title=f"Helper with value heads on {helper.info.get('backbone', 'a language model')}",
        what="Reads a decision, and predicts for each intervention by how much success and usage would change "
        f"if it were asked now, at {len(helper.prices)} prices. It asks where success minus price times usage rises. "
        "The price sets the usage, so one model serves every budget. Besides the text it reads these numbers: "
        f"{numbers}. Costs of the interventions: {', '.join(f'{cost:g}' for cost in helper.costs)}. Its results in "
        "episodes are in the evaluation.json of its run.",
        tags=("helper",),
        info=helper.info,
        usage=_LOAD_GAINS,
        figures=figures,
    )
