"""Backbones: the checkpoints from which training starts, and the test that one can read the task.

A backbone is a directory, the id of an actor with a checkpoint, or ``"auto"``: the first of the following checkpoints
that can read the collected texts, or else a small Llama built from these texts.

1. that of the actor, if the actor is a language model;
2. that of the registered actor with ``default_backbone`` (:class:`selfreg_gym.optional_members.OptionalActorMembers`),
   with its checkpoint for the task.

A checkpoint can read the texts if its tokenizer knows at least 95 % of their tokens, and if unknown tokens make at most
5 % of the texts equal to others. A named backbone that cannot read them is an error before training. This module
imports torch only when it opens a checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, SelfRegError, UnknownNameError
from selfreg_gym.intervention_env.interventions import for_task
from selfreg_gym.lm.vocabulary import MAX_UNKNOWN, UnknownTokens, distinct, unknown_tokens
from selfreg_gym.types import optional_member

__all__ = [
    "AUTO",
    "BUILT",
    "Backbone",
    "backbone_path",
    "candidates",
    "checkpoint_of",
    "checkpoint_of_spec",
    "default_actor",
    "find_backbone",
    "opened_backbone",
    "task_of_spec",
    "weights_hash",
]

AUTO = "auto"
BUILT = "a small Llama built from the texts"
_KINDS = "'auto', the id of an actor with a checkpoint, or a directory with a checkpoint"
_SHOWN = 12  # largest number of words listed in an error or a model card


@dataclass(frozen=True, slots=True)
class Backbone:
    """A checkpoint from which training starts.

    Attributes:
        path: its directory. That of a built backbone exists only inside the block of :func:`opened_backbone`.
        name: its name in a model card.
        built: whether it was built from the texts, with random weights.
        unknown: the unknown tokens of the texts.
        rejected: for ``"auto"``, the checkpoints that cannot read the texts, with their shares of unknown tokens.
    """

    path: Path
    name: str
    built: bool
    unknown: UnknownTokens
    rejected: Mapping[str, float]

    def record(self) -> dict[str, Any]:
        """Return the entries about the backbone in a model's ``info``, as plain values."""
        words = list(self.unknown.words[:_SHOWN])
        return {
            "backbone": self.name,
            "backbone_sha256": weights_hash(self.path),
            "backbone_built": self.built,
            "unknown_tokens": round(self.unknown.share, 6),
            **({"unknown_words": words} if words else {}),
            **({"backbones_passed_over": dict(self.rejected)} if self.rejected else {}),
        }


def backbone_path(backbone: str | Path, *, task: str | None = None) -> Path:
    """Return the checkpoint directory of a backbone, as :func:`find_backbone`, and check that it contains a checkpoint.

    Args:
        backbone, task: as for :func:`find_backbone`.

    Raises:
        UnknownNameError, InvalidArgumentError: as :func:`find_backbone`.
        CheckpointError: the directory contains no checkpoint.
    """
    from selfreg_gym.lm.loading import check_checkpoint

    return check_checkpoint(find_backbone(backbone, task=task))


def find_backbone(backbone: str | Path, *, what: str = "backbone", task: str | None = None) -> Path:
    """Return the directory of a backbone without checking its contents.

    Args:
        backbone: the id of an actor with a ``checkpoint_dir``, or a directory. An actor takes precedence over a
            directory of the same name.
        what: name of the setting, for the error message.
        task: the id of the task, for an actor whose checkpoint depends on it (``with_task``).

    Raises:
        UnknownNameError: ``backbone`` is neither an actor nor a directory.
        InvalidArgumentError: the actor has no checkpoint, or none without arguments.
    """
    name = str(backbone)
    if name in registry.names("actors"):
        folder = _checkpoint_without_arguments(name, task)
        if folder is None:
            raise InvalidArgumentError(
                f"{what} must be {_KINDS}, received the actor {name!r}, which has no checkpoint, or none without "
                f"arguments. Actors with one: "
                f"{', '.join(_actors_with_checkpoint(task)) or 'none'}."
            )
        return folder
    if Path(backbone).is_dir():
        return Path(backbone)
    raise UnknownNameError(f"{what} ({_KINDS})", name, [AUTO, *_actors_with_checkpoint(task)])


def _checkpoint_without_arguments(name: str, task: str | None) -> Path | None:
    """The checkpoint directory of a registered actor without arguments; None if it has none or needs arguments."""
    try:
        actor = registry.load("actors", name)()
    except (InvalidArgumentError, TypeError):
        return None
    return checkpoint_of(actor, task)


def _actors_with_checkpoint(task: str | None) -> list[str]:
    """The ids of the registered actors that have a checkpoint."""
    found = []
    for name in registry.names("actors"):
        with contextlib.suppress(SelfRegError):  # an actor that cannot be imported or loaded cannot be chosen either
            if _checkpoint_without_arguments(name, task) is not None:
                found.append(name)
    return found


def checkpoint_of(actor: Any, task: str | None = None) -> Path | None:
    """The checkpoint directory of an actor, or None for an actor without one.

    Args:
        actor: the actor.
        task: the id of the task; an actor without a checkpoint for it has the one that it has without a task.
    """
    if task is not None:
        with contextlib.suppress(CheckpointError):
            actor = for_task(actor, task)
    folder = optional_member(actor, "checkpoint_dir")
    return Path(folder) if isinstance(folder, str | Path) else None


def default_actor() -> str | None:
    """Return the id of the actor whose class declares ``default_backbone``, or None if there is none."""
    return next(iter(registry.names("actors", flag="default_backbone")), None)


def checkpoint_of_spec(spec: Any) -> Path | None:
    """Return the checkpoint of the actor in a store's ``spec``, or None if it is not available."""
    env = spec.get("env") if isinstance(spec, Mapping) else None
    actor = env.get("actor") if isinstance(env, Mapping) else None
    if not isinstance(env, Mapping) or not isinstance(actor, str) or actor not in registry.names("actors"):
        return None
    try:
        return checkpoint_of(registry.load("actors", actor)(**dict(env.get("actor_kwargs") or {})), task_of_spec(spec))
    except (SelfRegError, TypeError):  # the actor cannot be created on this machine, and training does not need it
        return None


def task_of_spec(spec: Any) -> str | None:
    """Return the id of the task in a store's ``spec``, or None if it has none."""
    env = spec.get("env") if isinstance(spec, Mapping) else None
    task = env.get("task") if isinstance(env, Mapping) else None
    return task if isinstance(task, str) else None


def candidates(actor: str | Path | None = None, task: str | None = None) -> dict[str, Path]:
    """Return the checkpoints that ``"auto"`` tries, by name and in order: that of the actor, the default one.

    Args:
        actor: the checkpoint of the actor.
        task: the id of the task, for the default checkpoint.
    """
    from selfreg_gym.lm.loading import check_checkpoint

    found: dict[str, Path] = {}
    default = None if (name := default_actor()) is None else backbone_path(name, task=task)
    if actor is not None and (default is None or Path(actor).resolve() != default.resolve()):
        found[Path(actor).name] = check_checkpoint(actor)
    if default is not None:
        found[default.name if default.name not in found else f"selfreg_gym's {default.name}"] = default
    return found


@contextlib.contextmanager
def opened_backbone(
    backbone: str | Path,
    texts: Sequence[str],
    *,
    prompts: Sequence[str] = (),
    actor: str | Path | None = None,
    task: str | None = None,
    seed: int = 0,
) -> Iterator[Backbone]:
    """Open a backbone that can read the texts; for ``"auto"``, build one if no checkpoint can.

    Args:
        backbone: ``"auto"``, a directory, or the id of an actor.
        texts: the observations of the training data.
        prompts: the texts that follow an observation (the question at each budget), which must stay distinct as tokens.
        actor: for ``"auto"``, the checkpoint of the actor.
        task: the id of the task, for actors whose checkpoint depends on it.
        seed: seed of the weights of a built backbone.

    Yields:
        The backbone. The directory of a built one is removed at the end of the block.

    Raises:
        InvalidArgumentError: the named backbone cannot read the texts, or there are no texts.
        UnknownNameError, CheckpointError: as :func:`backbone_path`.
    """
    texts = distinct(texts)
    if not texts:
        raise InvalidArgumentError("a backbone is chosen by the texts to read, received no texts.")
    if str(backbone) != AUTO:
        path = backbone_path(backbone, task=task)
        unknown = _unknown(path, texts, prompts)
        if not unknown.readable:
            raise InvalidArgumentError(_unreadable(str(backbone), unknown))
        yield Backbone(path, path.name, False, unknown, {})
        return
    rejected: dict[str, float] = {}
    for name, path in candidates(actor, task).items():
        unknown = _unknown(path, texts, prompts)
        if unknown.readable:
            yield Backbone(path, name, False, unknown, rejected)
            return
        rejected[name] = round(unknown.share, 6)
    from selfreg_gym.lm.small_llama import build_small_llama
    from selfreg_gym.lm.tokenizer import words

    with tempfile.TemporaryDirectory(prefix="selfreg-backbone-") as folder:
        prompt_words = sorted({word for prompt in prompts for word in words(prompt) if word.isalpha()})
        path = build_small_llama(texts, folder, words=prompt_words, seed=seed)
        yield Backbone(path, BUILT, True, _unknown(path, texts, prompts), rejected)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's ``*.safetensors`` files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _unknown(path: Path, texts: Sequence[str], prompts: Sequence[str]) -> UnknownTokens:
    """Return the unknown tokens of the texts with the first prompt, or of the prompts if these are merged."""
    from selfreg_gym.lm.loading import load_tokenizer

    tokenizer = load_tokenizer(path)
    of_prompts = unknown_tokens(tokenizer, prompts)
    if of_prompts.merged:
        return of_prompts
    tail = prompts[0] if prompts else ""
    return unknown_tokens(tokenizer, [text + tail for text in texts])


def _unreadable(name: str, unknown: UnknownTokens) -> str:
    """Return the error message for a backbone that cannot read the texts."""
    shown = ", ".join(repr(word) for word in unknown.words[:_SHOWN])
    more = f" and {len(unknown.words) - _SHOWN} more" if len(unknown.words) > _SHOWN else ""
    merged = f", and {unknown.merged:.0%} of the texts are equal to others because of them" if unknown.merged else ""
    return (
        f"at most {MAX_UNKNOWN:.0%} of a task's tokens may be unknown to the backbone, received {name!r}, to which "
        f"{unknown.share:.1%} are unknown{merged}. Unknown words: {shown}{more}. A model cannot learn from words that "
        'it cannot read: choose backbone="auto", which builds a vocabulary from the collected texts if necessary, or a '
        "checkpoint whose tokenizer has these words (byte-level tokenizers read every text)."
    )
