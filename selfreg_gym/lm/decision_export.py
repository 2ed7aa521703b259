"""Export as a ``transformers.decision`` repository: the helper or the process reward model behind a typed question.

``transformers`` answers questions of the types ``noul`` (yes or no), ``choice`` and ``score`` about a ``state``, with
a probability for every option from one forward pass: ``pipeline("decision", model=folder)``, or ``POST /v1/systemone``
of ``transformers serve folder``. Of the forms that it knows, ``JevForDecision`` carries ours exactly: any trunk, and
linear scores with a bias, read before a mark. The rows of the head are those of our output head (or classifier), the
bias holds the helper's offset or the scale of the process reward model, and the template is our prompt.
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
from selfreg_gym.lm.prompts import turn
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import cast_parameters
from selfreg_gym.utils.files import set_default_modes

__all__ = ["DecisionHead", "save_decision"]

_PROBES = ("Room 1: table.\nYou can: Done!", "Room 2 has: a cup on a table.\n\nThe human said: bring me the cup.")
_TOLERANCE = {torch.float32: 1e-3}  # of a logit (ours are rounded to four decimals); two bytes a number: 0.1


@dataclass(frozen=True, slots=True)
class DecisionHead:
    """Scores of R options, linear in the trunk's last hidden state.

    Attributes:
        weight: ``(R, H)``.
        bias: ``(R,)``.
        options: per question type the names of the options, in the rows' order.
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
    """Make the model, compare its answers with ours, and only then write the repository.

    Args:
        folder: where to.
        model: the model whose trunk is taken.
        tokenizer: its tokenizer.
        head: what is read off the trunk.
        tail: what our prompt puts behind the observation.
        instructed: instructions that begin so take the place of the tail's last line (the helper's budget).
        expected: ``expected(texts) -> (N, R)``, our own log-odds of the options over the first one.

    Raises:
        InvalidArgumentError: this transformers has no decision models.
        CheckpointError: the numbers would not be ours: this family computes something between trunk and scores, or
            its tokenizer reads a prompt with its first token written out in another way.
    """
    try:
        from transformers import JevConfig, JevForDecision
        from transformers.decision import DecisionConfig
    except ImportError as error:
        raise InvalidArgumentError(
            f"the export needs a transformers with decision models (5.23 or later), and this one has none: {error}."
        ) from None
    trunk = getattr(model, model.base_model_prefix)
    rows, hidden = head.weight.shape
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    config = JevConfig(
        text_config=trunk.config.to_dict(),
        hidden_size=hidden,
        num_verbalizers=rows,
        offsets=dict.fromkeys(("noul", "choice", "score"), 0),
        softcap=softcap if "lm_head" in dict(model.named_children()) else None,
        dtype=str(model.dtype).removeprefix("torch."),
    )
    decision = cast_parameters(JevForDecision(config), model.dtype)
    decision.model.load_state_dict(trunk.state_dict())
    with torch.no_grad():
        decision.proj.weight.copy_(head.weight)
        decision.proj.bias.copy_(head.bias)
    decision.decision_config = DecisionConfig(
        labels={kind: list(options) for kind, options in head.options.items()},
        chat_template=_template(tokenizer, head, tail=tail, instructed=instructed),
        noul_options=["false", "true"],
        sanitize_control_tokens=True,  # as in our prompts
    )
    gap = _difference(decision.eval().to(model.device), tokenizer, head, expected)
    if not gap <= _TOLERANCE.get(model.dtype, 0.1):
        raise CheckpointError(
            f"a decision repository of this {type(model).__name__} would answer differently (by {gap:.2g} in a logit): "
            "its family computes something between the trunk and the scores that the format cannot carry. Serve it "
            "from Python instead."
        )
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    decision.save_pretrained(out)
    set_default_modes(*out.glob("*.safetensors"))


def _difference(decision: Any, tokenizer: Any, head: DecisionHead, expected: Any) -> float:
    """The largest distance of transformers' answers from ours over the probes, in a logit (beyond 15 all are alike)."""
    from transformers.pipelines import DecisionPipeline

    pipe = DecisionPipeline(
        model=decision, tokenizer=copy.deepcopy(tokenizer)
    )  # it adds its two marks to its tokenizer
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
    """Our prompt as a Jinja template that ends in the mark."""
    hole = "\u2603STATE\u2603"
    before, after = turn(hole, tokenizer).split(hole)
    trims = bool(before) and turn(f" {hole} ", tokenizer) == turn(hole, tokenizer)
    begin = "".join(tokenizer.convert_ids_to_tokens(PromptEncoder(tokenizer).prompt("")))
    begin = "" if before.startswith(begin) else begin  # a chat template that writes it already
    lines = [
        "{%- if " + f'question.type == "{kind}" and question.options != {json.dumps(list(options))}' + " -%}"
        "{{- raise_exception(" + _quoted(f"a {kind} question here has the options {', '.join(options)}") + ") -}}"
        "{%- endif -%}"
        for kind, options in head.options.items()
        if kind == "choice"
    ]
    lines += [
        "{%- if " + f'question.type == "{kind}"' + " -%}"
        "{{- raise_exception(" + _quoted(f"this model answers no {kind} question") + ") -}}{%- endif -%}"
        for kind in ("noul", "choice", "score")
        if kind not in head.options
    ]
    last = tail.split("\n")[-1]
    text, closing = tail[: len(tail) - len(last)], _quoted(last)
    if instructed is not None:
        asked = "question.instructions"
        closing = f"({asked} if {asked} is string and {asked}.startswith({_quoted(instructed)}) else {closing})"
    state = "(state if state is string else state|tojson)" + ("|trim" if trims else "")
    lines.append(
        f"{{{{- {_quoted(begin + before)} ~ {state} ~ {_quoted(after + text)} ~ {closing} ~ " + '"<|mark|>" -}}'
    )
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A Jinja string literal."""
    return json.dumps(text, ensure_ascii=False)
