"""Model cards: the README.md of a saved model.

The YAML header is the format of model hubs (``huggingface_hub`` writes it; nothing is uploaded). The text describes the
model, its training and its measured performance. A card contains recorded values only.
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
        value: its value.
        on: the data on which it was measured, in words.
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
        folder: directory of the saved weights.
        title: the heading.
        what: a paragraph that describes the model.
        tags: tags of the YAML header, besides "selfreg-gym".
        info: the training record; each entry becomes a row of a table, long lists by their length.
        usage: Python code that loads the model.
        figures: measured numbers, for the text and the YAML header.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    known = {**(info.get("data") or {}), **(info.get("run") or {})}
    task = str(known.get("task", "selfreg_gym rollouts"))
    header = ModelCardData(
        library_name="transformers",
        tags=["selfreg-gym", *tags],
        base_model=None if info.get("backbone_built") else str(info.get("backbone", "unknown")),
        model_name=title if figures else None,
        eval_results=[
            EvalResult("text-classification", task, one.on, metric_type=one.name, metric_value=float(one.value))
            for one in figures
        ]
        or None,
        selfreg=json.loads(dumps(dict(info), default=str)),  # no part of the header's format
    )
    text = [f"# {title}", what]
    if figures:
        rows = [f"| {one.name} | {one.value:.4g} | {one.on} |" for one in figures]
        text.append("\n".join(["## Measured", "", "| | | on |", "|---|---|---|", *rows]))
    rows = [f"| {name} | {_cell(value)} |" for name, value in info.items() if name != "held_out"]
    text.append("\n".join(["## How it was made", "", "| | |", "|---|---|", *rows]))
    text.append(f"## How to load it\n\n```python\n{usage.strip()}\n```")
    text.append(
        "Weights are safetensors, and the checkpoint contains no code (`trust_remote_code` is never needed). The model "
        "was trained for one task, actor and set of interventions. Elsewhere its outputs must be validated first."
    )
    ModelCard(f"---\n{header.to_yaml()}\n---\n\n" + "\n\n".join(text) + "\n").save(folder / "README.md")


def _cell(value: Any) -> str:
    """Return a value as the cell of a table; a long list by its length."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 12:
        return f"{len(value)} entries"
    text = value if isinstance(value, str) else dumps(value, default=str, ensure_ascii=False)
    return f"`{text[:400]}`".replace("|", "\\|").replace("\n", " ")
