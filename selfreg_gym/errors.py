"""Every error that selfreg_gym raises on purpose.

All of them are :class:`SelfRegError`. Each also is the built-in exception a caller would expect
(``ValueError``, ``LookupError``, ``RuntimeError``), so that code which knows nothing of this package still
catches the right thing. A message says the rule, what was received and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CheckpointError",
    "ConfigError",
    "EndpointError",
    "EpisodeOverError",
    "FailedEpisodesError",
    "InvalidArgumentError",
    "MissingPackageError",
    "ModelError",
    "NotResetError",
    "PluginImportError",
    "RegistryError",
    "RunDirectoryError",
    "SelfRegError",
    "SetupError",
    "StoreDamagedError",
    "StoreError",
    "StoreVersionError",
    "TaskContractError",
    "UnknownNameError",
    "WorkerError",
    "did_you_mean",
    "shown",
]

_LONGEST_SHOWN = 120  # characters of a received value in a message


class SelfRegError(Exception):
    """Base of all errors raised by selfreg_gym."""


class InvalidArgumentError(SelfRegError, ValueError):
    """An argument outside its range, of the wrong type, or in conflict with another."""


class SetupError(InvalidArgumentError):
    """A misconfiguration that would make every call fail: a key that is not set, a model that is not named.

    Unlike other errors of an actor it is not taken for a failed episode, which would be played again in vain.
    """


class UnknownNameError(SelfRegError, LookupError):
    """A name (task, actor, kind, split, helper, ...) that does not exist."""

    def __init__(self, what: str, received: object, choices: Iterable[str]) -> None:
        """Say which ``what`` was asked for, the closest existing name, and all names there are."""
        names = sorted(choices)
        super().__init__(
            f"unknown {what}: received {shown(received)}.{did_you_mean(received, names)} "
            f"Known: {', '.join(names) or 'none'}."
        )
        self.what, self.received, self.choices = what, received, names

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, list[str]]]:
        return type(self), (self.what, self.received, self.choices)


class RegistryError(SelfRegError, RuntimeError):
    """A plugin that cannot be used: a name taken twice, or a module without its one class."""


class PluginImportError(RegistryError, ModuleNotFoundError):
    """A plugin whose module cannot be imported."""


class NotResetError(SelfRegError, RuntimeError):
    """``step``, ``snapshot`` or ``render`` was called before the first ``reset``."""


class EpisodeOverError(SelfRegError, RuntimeError):
    """``step`` was called on an episode that has ended."""


class TaskContractError(SelfRegError, RuntimeError):
    """A task, actor, intervention or helper that breaks its protocol."""


class MissingPackageError(SelfRegError, ImportError):
    """An optional package that this call needs is not installed."""


class ModelError(SelfRegError, ValueError):
    """A transition model that is no model: rows over 1, negative or NaN entries, wrong shapes."""


class StoreError(SelfRegError, RuntimeError):
    """A rollout store that cannot be used."""


class StoreVersionError(StoreError):
    """A rollout store written in another format version."""


class StoreDamagedError(StoreError):
    """A rollout store that SQLite cannot read, or whose tables are missing."""


class CheckpointError(SelfRegError, ValueError):
    """A directory that is not the checkpoint it should be."""


class ConfigError(SelfRegError, ValueError):
    """A run configuration with an unknown key or a bad value."""


class FailedEpisodesError(SelfRegError, RuntimeError):
    """Episodes ended in errors and not in success or failure; what the others say would be biased."""


class EndpointError(SelfRegError, RuntimeError):
    """A server that did not answer, or sent an invalid answer.

    Attributes:
        status: the HTTP status, or None when there was no answer.
        transient: whether the same request may be answered later.
        reached: whether the server answered at all (a refusal or nonsense is an answer, a timeout is not).
        retry_after: seconds that the server asked us to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        transient: bool = False,
        reached: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.transient, self.reached, self.retry_after = status, transient, reached, retry_after


class RunDirectoryError(SelfRegError, RuntimeError):
    """A run directory that holds another run."""


class WorkerError(SelfRegError, RuntimeError):
    """A worker process that died, or whose exception could not be sent as it is."""


def did_you_mean(received: object, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest of ``choices``, or the empty string if none is close."""
    word, names = str(received), list(choices)
    if len(word) > _LONGEST_SHOWN:  # comparing a text of a megabyte with every name takes seconds
        return ""
    # difflib finds little in a short word with two letters swapped: 0.5 of "tyni" in "tiny", as in any jumble of it.
    close = [name for name in names if _swapped(word, name)] or get_close_matches(word, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """The ``repr`` of a received value for a message, shortened if it is long."""
    try:
        text = repr(value[:_LONGEST_SHOWN] if isinstance(value, str | bytes) else value)
    except Exception as error:  # a broken __repr__ must not hide the message
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    length = len(value) if isinstance(value, str | bytes) else len(text)
    return text if length <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({length} characters)"


def _swapped(word: str, name: str) -> bool:
    """Whether the two differ by two letters that changed places, side by side or across one letter."""
    if len(word) != len(name):
        return False
    differ = [i for i in range(len(word)) if word[i] != name[i]]
    if len(differ) != 2 or differ[1] - differ[0] > 2:
        return False
    i, j = differ
    return word[i] == name[j] and word[j] == name[i]
