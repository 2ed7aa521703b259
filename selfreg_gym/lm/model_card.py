"""Model cards: the README.md beside saved weights, which says what they are, what they were made from and how good.

The YAML head is what the hubs of models read (``huggingface_hub`` writes it; nothing is sent anywhere); the text below
is for people. A card is made from what training recorded, and holds no number that was not measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfreg_gym.utils.json_text import dumps

__all__ = ["Figure", "write_card"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: the metric ("auc").
        value: what was measured.
        on: on what, in words.
    """

    name: str
    value: float
    on: str


def write_card(
    folder: Path,
    *,
    title: str,
    what: str,
    tags: Sequence[str],
    info: Mapping[str, Any],
    usage: str,
    figures: Sequence[Figure] = (),
) -> None:
    """Write ``folder/README.md``.

    Args:
        title: the heading.
        what: a paragraph on what the model does.
        tags: for the YAML head, beside "selfreg-gym".
        info: the training record; every entry but long lists becomes a row of a table.
        usage: Python that loads the model.
        figures: measured numbers; they stand in the YAML head too.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    known = {**(info.get("data") or {}), **(info.get("run") or {})}
    task = str(known.get("task", "selfreg_gym rollouts"))
    # the data that a card's head knows nothing of stands under a key of our own
    extra = {"selfreg": json.loads(dumps(dict(info), default=str))}
    head = ModelCardData(
        library_name="transformers",
        tags=["selfreg-gym", *tags],
        base_model=None if info.get("backbone_built") else str(info.get("backbone", "unknown")),
        model_name=title if figures else None,
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=task,
                dataset_name=one.on,
                metric_type=one.name,
                metric_value=float(one.value),
            )
            for one in figures
        ]
        or None,
        **extra,
    )
    text = [f"# {title}", what]
    if figures:
        rows = [f"| {one.name} | {one.value:.4g} | {one.on} |" for one in figures]
        text.append("\n".join(["## Measured", "", "| | | on |", "|---|---|---|", *rows]))
    rows = [f"| {name} | {_cell(value)} |" for name, value in info.items() if name != "held_out"]
    text.append("\n".join(["## How it was made", "", "| | |", "|---|---|", *rows]))
    text.append(f"## How to load it\n\n```python\n{usage.strip()}\n```")
    text.append(
        "Weights are safetensors; no code is part of this checkpoint (`trust_remote_code` is never needed). It knows "
        "the task, actor and interventions it was trained with; elsewhere its numbers mean nothing until measured."
    )
    ModelCard(f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(text) + "\n").save(folder / "README.md")


def _cell(value: Any) -> str:
    """A value in a table: long lists by their length."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 12:
        return f"{len(value)} entries"
    text = value if isinstance(value, str) else dumps(value, default=str, ensure_ascii=False)
    return f"`{text[:400]}`".replace("|", "\\|").replace("\n", " ")
