"""``helper.json``, the record beside the weights of a trained helper: its fields and their checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.errors import CheckpointError
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.json_text import read_object

__all__ = ["FILE", "FORMAT", "check_answers", "read_helper"]

FILE = "helper.json"
FORMAT = "selfreg-helper-2"
_OLDER = "selfreg-helper-1"  # without costs


def read_helper(folder: Path) -> dict[str, Any]:
    """Return ``answers, budget, offset, costs, info`` of the helper in ``folder``; costs are None in the older format.

    Raises:
        CheckpointError: there is no record, it is cut off, has another format, or an entry of another type.
    """
    file = folder / FILE
    if not file.is_file():
        raise CheckpointError(
            f"a helper is a directory with {FILE} (as save_pretrained writes it), "
            f"received {str(folder)!r}, which has none."
        )
    record = read_object(
        file, what="the record of a helper", keys=("format",), remedy="copy the directory again, or train again"
    )
    form = record["format"]
    if form not in (FORMAT, _OLDER):
        raise CheckpointError(
            f"{str(file)!r} has the format {form!r}, this version reads {_OLDER!r} and {FORMAT!r}: train again."
        )
    if form == _OLDER:
        record["costs"] = None
    names = ("answers", "budget", "offset", "costs", "info")
    if missing := [name for name in names if name not in record]:
        raise CheckpointError(f"{str(file)!r} cannot be read: {missing[0]!r} is missing. Train again.")
    known: dict[str, Any] = {name: record[name] for name in names}
    answers, costs = known["answers"], known["costs"]
    sound = {
        "at least 2 different token ids": isinstance(answers, list)
        and all(type(token) is int and token >= 0 for token in answers)
        and len(set(answers)) == len(answers) > 1,
        "a number of at least 0": is_number(known["budget"]) and known["budget"] >= 0,
        "a number": is_number(known["offset"]),
        "null, or a number for each help answer": costs is None
        or (isinstance(costs, list) and len(costs) == len(answers or ()) - 1 and all(map(is_number, costs))),
        "an object": isinstance(known["info"], dict),
    }
    for (name, value), (rule, holds) in zip(known.items(), sound.items(), strict=True):
        if not holds:
            raise CheckpointError(f"{name!r} in {str(file)!r} must be {rule}, received {value!r}: train again.")
    return known


def check_answers(folder: Path, answers: list[int], model: Any) -> None:
    """Refuse answers that the model's output layer does not have.

    Raises:
        CheckpointError: a token id is beyond it.
    """
    rows = model.get_output_embeddings().weight.shape[0]
    if max(answers) >= rows:
        raise CheckpointError(
            f"'answers' in {str(folder / FILE)!r} must be below {rows}, the rows of the model's output layer, received "
            f"{answers!r}: the record belongs to another model."
        )
