"""Export of a helper or a process reward model as a ``transformers.decision`` repository.

``transformers`` answers questions of the types ``noul`` (yes or no), ``choice`` and ``score`` about a ``state`` with a
probability for each option, from one forward pass: ``pipeline("decision", model=folder)``, or ``POST /v1/systemone`` of
``transformers serve folder``. The architecture ``JevForDecision`` represents the models of this package exactly: a
backbone of any family, and scores that are linear in the hidden state before a mark, with a bias. The weights of its
head are rows of the output layer (or the classifier), its bias contains the helper's offset or the scale of the process
reward model, and its template is the prompt of the original.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm.chat_template import jinja_literal
from selfreg_gym.lm.prompts import turn
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import cast_parameters
from selfreg_gym.utils.files import set_default_modes

__all__ = ["DecisionHead", "save_decision"]

_PROBES = ("Room 1: table.\nYou can: Done!", "Room 2 has: a cup on a table.\n\nThe human said: bring me the cup.")
_TOLERANCE = {torch.float32: 1e-3}  # of a logit (exported ones are rounded to four decimals); 0.1 in 16-bit types


@dataclass(frozen=True, slots=True)
class DecisionHead:
    """A linear layer from the backbone's last hidden state (H) to the scores of R options.

    Attributes:
        weight: ``(R, H)``.
        bias: ``(R,)``.
        options: for each question type, the names of the R options in the order of the rows.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    options: Mapping[str, tuple[str, ...]]


def save_decision(
    folder: str | Path,
    model: Any,
    tokenizer: Any,
    head: DecisionHead,
    *,
    tail: str,
    instructed: str | None = None,
    expected: Any,
) -> None:
    """Build the model, compare its answers with those of the original, and write the repository if they agree.

    Args:
        folder: directory of the repository.
        model: the original model.
        tokenizer: its tokenizer.
        head: the output layer of the options.
        tail: the part of the prompt after the observation.
        instructed: prefix of instructions that replace the last line of ``tail`` (the helper's budget).
        expected: ``expected(texts) -> (N, R)``, the original's log-odds of each option against the first one.

    Raises:
        InvalidArgumentError: the installed transformers has no decision models.
        CheckpointError: the answers differ, because this model family has an operation between backbone and scores, or
            its tokenizer encodes the written-out first token of a prompt differently.
    """
    try:
        from transformers import JevConfig, JevForDecision
        from transformers.decision import DecisionConfig
    except ImportError as error:
        raise InvalidArgumentError(
            f"the export needs transformers 5.23 or later, which has decision models: {error}."
        ) from None
    backbone = getattr(model, model.base_model_prefix)
    rows, hidden = head.weight.shape
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    config = JevConfig(
        text_config=backbone.config.to_dict(),
        hidden_size=hidden,
        num_verbalizers=rows,
        offsets=dict.fromkeys(("noul", "choice", "score"), 0),
        softcap=softcap if "lm_head" in dict(model.named_children()) else None,
        dtype=str(model.dtype).removeprefix("torch."),
    )
    decision = cast_parameters(JevForDecision(config), model.dtype)
    decision.model.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        decision.proj.weight.copy_(head.weight)
        decision.proj.bias.copy_(head.bias)
    decision.decision_config = DecisionConfig(
        labels={kind: list(options) for kind, options in head.options.items()},
        chat_template=_template(tokenizer, head, tail=tail, instructed=instructed),
        noul_options=["false", "true"],
        sanitize_control_tokens=True,  # as the original prompts do
    )
    gap = _difference(decision.eval().to(model.device), tokenizer, head, expected)
    if not gap <= _TOLERANCE.get(model.dtype, 0.1):
        raise CheckpointError(
            f"a decision repository of this {type(model).__name__} would answer differently (by {gap:.2g} in a logit): "
            "its family has an operation between backbone and scores that the format cannot represent. Serve the model "
            "from Python instead."
        )
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    decision.save_pretrained(out)
    set_default_modes(*out.glob("*.safetensors"))


def _difference(decision: Any, tokenizer: Any, head: DecisionHead, expected: Any) -> float:
    """The largest difference between the answers of transformers and of this model, in logits clipped to +-15."""
    from transformers.pipelines import DecisionPipeline

    pipe = DecisionPipeline(model=decision, tokenizer=copy.deepcopy(tokenizer))  # a copy: two marks are added to it
    kind, options = next((kind, options) for kind, options in head.options.items() if kind != "noul")
    criteria: Any = dict.fromkeys(options) if kind == "choice" else list(options)
    got = []
    for text in _PROBES:
        answer = pipe({"state": text, "questions": {"q": {"type": kind, "criteria": criteria}}})["q"]
        got.append(np.fromiter(answer["probabilities"].values(), dtype=np.float64))
    odds = np.log(np.maximum(got, 1e-30))
    theirs = np.clip(odds - odds[:, :1], -15, 15)
    return float(np.abs(theirs - np.clip(expected(list(_PROBES)), -15, 15)).max())


def _template(tokenizer: Any, head: DecisionHead, *, tail: str, instructed: str | None) -> str:
    """Return the original prompt as a Jinja template that ends in the mark."""
    placeholder = "\u2603STATE\u2603"
    before, after = turn(placeholder, tokenizer).split(placeholder)
    trims = bool(before) and turn(f" {placeholder} ", tokenizer) == turn(placeholder, tokenizer)
    begin = "".join(tokenizer.convert_ids_to_tokens(PromptEncoder(tokenizer).prompt("")))
    begin = "" if before.startswith(begin) else begin  # the chat template already writes it
    refused = {}  # condition and message
    if options := list(head.options.get("choice", ())):
        condition = f'question.type == "choice" and question.options != {json.dumps(options)}'
        refused[condition] = f"a choice question to this model has the options {', '.join(options)}"
    for kind in ("noul", "choice", "score"):
        if kind not in head.options:
            refused[f'question.type == "{kind}"'] = f"this model answers no {kind} question"
    lines = [
        f"{{%- if {condition} -%}}{{{{- raise_exception({jinja_literal(message)}) -}}}}{{%- endif -%}}"
        for condition, message in refused.items()
    ]
    last = tail.split("\n")[-1]
    text, closing = tail[: len(tail) - len(last)], jinja_literal(last)
    if instructed is not None:
        asked = "question.instructions"
        closing = f"({asked} if {asked} is string and {asked}.startswith({jinja_literal(instructed)}) else {closing})"
    state = "(state if state is string else state|tojson)" + ("|trim" if trims else "")
    lines.append(
        f"{{{{- {jinja_literal(begin + before)} ~ {state} ~ {jinja_literal(after + text)} ~ {closing} ~ "
        + '"<|mark|>" -}}'
    )
    return "\n".join(lines)
