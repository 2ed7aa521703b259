"""The record beside the weights of a saved model: a JSON file with a format name and checked fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from selfreg_gym.errors import CheckpointError, shown
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.json_text import dumps, read_object

__all__ = ["INFO", "NUMBER", "TRUTH", "ModelRecord", "Rule", "integer", "reading_arrays"]


class Rule(NamedTuple):
    """What a field must be: in words, and as a predicate of the value and of all fields."""

    words: str
    holds: Callable[[Any, Mapping[str, Any]], bool]


NUMBER = Rule("a number", lambda value, fields: is_number(value))
INFO = Rule("an object", lambda value, fields: isinstance(value, dict))
TRUTH = Rule("true or false", lambda value, fields: isinstance(value, bool))


def integer(low: int) -> Rule:
    """The rule of an integer that is at least ``low``."""
    return Rule(f"an integer >= {low}", lambda value, fields: type(value) is int and value >= low)


@contextmanager
def reading_arrays(what: str, path: Path, *, remedy: str) -> Iterator[None]:
    """Turn every error while arrays are read and checked into a CheckpointError that names the file.

    Args:
        what: what the file holds, with its article.
        path: the file.
        remedy: what to do, without a full stop.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # safetensors has its own exceptions, and damaged arrays raise any
        why = f"it lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {shown(str(error))}"
        raise CheckpointError(f"{what} in {str(path)!r} cannot be read ({why}): {remedy}.") from error


@dataclass(frozen=True)
class ModelRecord:
    """The record of one kind of model.

    Attributes:
        what: the kind of model, for messages.
        file: the file's name.
        format: the present format.
        rules: the fields and their rules.
        older: formats that can also be read, with the values of the fields that they lack.
        hint: what else to do if there is no record, a sentence.
    """

    what: str
    file: str
    format: str
    rules: Mapping[str, Rule]
    older: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hint: str = ""

    def begin(self, folder: str | Path) -> Path:
        """Create the folder and remove an old record: while weights are written, the folder counts as incomplete."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.file).unlink(missing_ok=True)
        return folder

    def write(self, folder: Path, *, format: str | None = None, **fields: Any) -> None:
        """Write the record; it comes last, so that a folder with a record is complete."""
        record = {"format": format or self.format, **fields}
        (folder / self.file).write_text(dumps(record, indent=1) + "\n", encoding="utf-8")

    def read(self, folder: str | Path) -> tuple[str, dict[str, Any]]:
        """The format and the fields of the record in ``folder``.

        Raises:
            CheckpointError: there is no record, it is cut off, has another format, or an invalid field.
        """
        file = Path(folder) / self.file
        if not file.is_file():
            raise CheckpointError(
                f"{self.what} must be a directory with {self.file}, which is written when it is saved; received "
                f"{str(folder)!r}, which has none.{self.hint}"
            )
        remedy = "copy the directory again, or train again"
        record = read_object(file, what=f"the record of {self.what}", keys=("format",), remedy=remedy)
        known = {self.format: {}, **self.older}
        if record["format"] not in known:
            raise CheckpointError(
                f"{str(file)!r} has the format {record['format']!r}, this version reads "
                f"{', '.join(map(repr, known))}: train again."
            )
        record = {**record, **known[record["format"]]}
        for name, rule in self.rules.items():
            if name not in record:
                raise CheckpointError(f"{str(file)!r} cannot be read: {name!r} is missing. Train again.")
            if not rule.holds(record[name], record):
                received = repr(record[name])[:200]
                raise CheckpointError(
                    f"{name!r} in {str(file)!r} must be {rule.words}, received {received}: train again."
                )
        return record["format"], {name: record[name] for name in self.rules}
