"""The exceptions of selfreg_gym.

All derive from :class:`SelfRegError` and from the fitting built-in exception (``ValueError``, ``LookupError``,
``RuntimeError``), so that code without knowledge of this package can catch them. A message states the rule, the value
received and what to do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CheckpointError", "ConfigError", "EndpointError", "EpisodeOverError", "FailedEpisodesError",
    "InvalidArgumentError", "MissingPackageError", "ModelError", "NotResetError", "PluginImportError",
    "RegistryError", "RunDirectoryError", "SelfRegError", "SetupError", "StoreDamagedError", "StoreError",
    "StoreVersionError", "TaskContractError", "TaskResetError", "UnknownNameError", "WorkerError", "cause_of",
    "did_you_mean", "is_failure", "message_of", "shown",
]  # fmt: skip

_LONGEST_SHOWN = 120  # characters of a received value in a message


class SelfRegError(Exception):
    """Base class of all exceptions of selfreg_gym."""


class InvalidArgumentError(SelfRegError, ValueError):
    """An argument out of range, of the wrong type, or in conflict with another."""


class SetupError(InvalidArgumentError):
    """A misconfiguration that would make every call fail: a missing API key, a missing model name.

    Unlike other errors of an actor it ends the run, because playing the episode again would fail too.
    """


_MOST_NAMES = 40
"""Most existing names in the message of an unknown name. If there are more, a similar one is shown alone."""


class UnknownNameError(SelfRegError, LookupError):
    """A name (task, actor, kind, split, helper, ...) that does not exist."""

    def __init__(self, what: str, received: object, choices: Iterable[str]) -> None:
        """Build the message from ``what`` (a noun), the name received and the existing names."""
        names = sorted(choices)
        nearest = did_you_mean(received, names)
        more = len(names) - _MOST_NAMES
        known = f"Known: {', '.join(names[:_MOST_NAMES]) or 'none'}{f', and {more} more' if more > 0 else ''}."
        if nearest and more > 0:
            known = f"{len(names)} names are known."
        super().__init__(f"unknown {what}: received {shown(received)}.{nearest} {known}")
        self.what, self.received, self.choices = what, received, names

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, object, list[str]]]:
        return type(self), (self.what, self.received, self.choices)


class RegistryError(SelfRegError, RuntimeError):
    """An invalid plug-in: a name that exists already, or a module that does not export exactly one class."""


class PluginImportError(RegistryError, ModuleNotFoundError):
    """A plug-in whose module cannot be imported."""


class NotResetError(SelfRegError, RuntimeError):
    """``step``, ``snapshot`` or ``render`` was called before the first ``reset``."""


class EpisodeOverError(SelfRegError, RuntimeError):
    """``step`` was called on an episode that has ended."""


class TaskContractError(SelfRegError, RuntimeError):
    """A task, actor, intervention or helper that violates its protocol."""


class TaskResetError(TaskContractError):
    """A task that raised in ``reset``, or did not return an observation and an info."""


class MissingPackageError(SelfRegError, ImportError):
    """A missing optional package that the call needs."""


class ModelError(SelfRegError, ValueError):
    """An invalid transition model: rows that sum to more than 1, negative or NaN entries, wrong shapes."""


class StoreError(SelfRegError, RuntimeError):
    """A rollout store that cannot be used."""


class StoreVersionError(StoreError):
    """A rollout store written in another format version."""


class StoreDamagedError(StoreError):
    """A rollout store that SQLite cannot read, or that lacks tables."""


class CheckpointError(SelfRegError, ValueError):
    """A missing, damaged or unsuitable checkpoint."""


class ConfigError(SelfRegError, ValueError):
    """A run config with an unknown key or an invalid value."""


class FailedEpisodesError(SelfRegError, RuntimeError):
    """Episodes that ended in errors; statistics of the other episodes would be biased."""


class EndpointError(SelfRegError, RuntimeError):
    """A server that did not answer, or sent an invalid answer.

    Attributes:
        status: the HTTP status, or None when there was no answer.
        transient: whether the same request may succeed later.
        reached: whether the server answered at all (a refusal or an invalid answer counts, a timeout does not).
        retry_after: seconds to wait, as requested by the server, or None.
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
    """A run directory that holds another run, or lacks files, or is in use."""


class WorkerError(SelfRegError, RuntimeError):
    """A worker process that died, or raised an exception that cannot be pickled."""


def cause_of(error: BaseException) -> BaseException:
    """Return the exception, for ``raise ... from`` in a context manager.

    ``contextlib`` takes a ``RuntimeError`` that a ``StopIteration`` has caused for the ``StopIteration`` itself, so
    this is replaced.
    """
    return RuntimeError("StopIteration") if isinstance(error, StopIteration) else error


def did_you_mean(received: object, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest of ``choices``, or an empty string if none is close."""
    word, names = str(received), list(choices)
    if len(word) > _LONGEST_SHOWN:  # comparing a long text with every name takes seconds
        return ""
    # difflib gives "tyni" and "tiny" a similarity of only 0.5, as it does to any permutation of the letters.
    close = [name for name in names if _swapped(word, name)] or get_close_matches(word, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def is_failure(error: BaseException) -> bool:
    """Whether an exception of a plug-in is a failure, and no request to end the program or a call (Ctrl-C, an exit).

    Failures are all of ``Exception``, and ``asyncio.CancelledError``, which does not inherit from it.
    """
    asyncio = sys.modules.get("asyncio")
    return isinstance(error, Exception) or (asyncio is not None and isinstance(error, asyncio.CancelledError))


def message_of(error: BaseException) -> str:
    """Return the message of an exception, also of one whose ``__str__`` raises."""
    try:
        return str(error)
    except Exception as fault:  # a broken __str__ must not hide which object raised
        return f"<{type(error).__name__} whose str raised {type(fault).__name__}>"


def shown(value: object) -> str:
    """Return the ``repr`` of a received value for a message, shortened if it is long."""
    try:
        text = repr(value[:_LONGEST_SHOWN] if isinstance(value, str | bytes) else value)
    except Exception as error:  # a broken __repr__ must not hide the message
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    length = len(value) if isinstance(value, str | bytes) else len(text)
    return text if length <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({length} characters)"


def _swapped(word: str, name: str) -> bool:
    """Whether the words differ by two swapped letters that are at most two positions apart."""
    if len(word) != len(name):
        return False
    differ = [i for i in range(len(word)) if word[i] != name[i]]
    if len(differ) != 2 or differ[1] - differ[0] > 2:
        return False
    i, j = differ
    return word[i] == name[j] and word[j] == name[i]
