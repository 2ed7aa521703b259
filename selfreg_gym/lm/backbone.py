"""Backbones: the checkpoints that training starts from, and the test whether one can read the task.

A backbone is named by a directory, by the id of an actor that has a checkpoint, or by ``"auto"``: the first of these
trunks that can read the collected texts, otherwise a small Llama that is built from them.

1. the actor's own trunk, where the actor is a language model with a checkpoint;
2. the trunk of the shipped actor ``tiny``.

A trunk can read the texts if at most 5 % of their tokens are unknown to its tokenizer, and no more than 5 % of the
texts become equal to another by unknown tokens. A named backbone that cannot read them is an error before training.
Torch is loaded only when a checkpoint is opened.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, UnknownNameError
from selfreg_gym.lm.vocabulary import MAX_UNKNOWN, UnknownTokens, distinct, unknown_tokens
from selfreg_gym.types import optional_member

__all__ = [
    "AUTO",
    "BUILT",
    "SHIPPED",
    "Backbone",
    "actor_trunk",
    "backbone_path",
    "candidates",
    "find_trunk",
    "opened_backbone",
    "trunk_of_spec",
    "weights_hash",
]

AUTO = "auto"
BUILT = "a small Llama built from the texts"
SHIPPED = "tiny"
"""The actor whose trunk comes with the package."""
_SHOWN = 12  # words that an error or a model card lists


@dataclass(frozen=True, slots=True)
class Backbone:
    """A checkpoint to train on.

    Attributes:
        path: its directory; a built one exists only inside the block of :func:`opened_backbone`.
        name: what a model card calls it.
        built: whether it was built from the texts and has random weights.
        unknown: the unknown tokens of the texts.
        passed_over: for ``"auto"``, the share of unknown tokens of each trunk that cannot read the texts.
    """

    path: Path
    name: str
    built: bool
    unknown: UnknownTokens
    passed_over: Mapping[str, float]

    def record(self) -> dict[str, Any]:
        """The entries about the backbone in a model's ``info``, as plain values."""
        words = list(self.unknown.words[:_SHOWN])
        return {
            "backbone": self.name,
            "backbone_sha256": weights_hash(self.path),
            "backbone_built": self.built,
            "unknown_tokens": round(self.unknown.share, 6),
            **({"unknown_words": words} if words else {}),
            **({"backbones_passed_over": dict(self.passed_over)} if self.passed_over else {}),
        }


def backbone_path(backbone: str | Path) -> Path:
    """Return the checkpoint directory that ``backbone`` means.

    Args:
        backbone: a directory that holds a checkpoint, or the id of an actor that has a ``checkpoint_dir`` ("tiny").

    Raises:
        UnknownNameError: it is neither.
        InvalidArgumentError: the actor is not a language model with a checkpoint.
        CheckpointError: the directory holds no checkpoint.
    """
    from selfreg_gym.lm.loading import check_checkpoint

    return check_checkpoint(find_trunk(backbone))


def find_trunk(backbone: str | Path, *, what: str = "backbone") -> Path:
    """Return the directory that ``backbone`` means, as :func:`backbone_path`, without looking into it.

    Args:
        backbone: a directory, or the id of an actor. An id comes first: a folder ``./tiny`` does not hide the actor.
        what: the setting that names it, for the message.

    Raises:
        UnknownNameError: it is neither.
        InvalidArgumentError: the actor has no checkpoint.
    """
    name, actors = str(backbone), registry.names("actors")
    if name not in actors:
        if Path(backbone).is_dir():
            return Path(backbone)
        raise UnknownNameError(
            f"{what} ('auto', an actor's id, or a directory with a checkpoint)", name, [AUTO, *actors]
        )
    folder = actor_trunk(registry.load("actors", name)())
    if folder is None:
        raise InvalidArgumentError(f"{what} must be an actor that has a checkpoint, received {name!r}, which has none.")
    return folder


def actor_trunk(actor: Any) -> Path | None:
    """The checkpoint directory of an actor, or None for an actor without one."""
    folder = optional_member(actor, "checkpoint_dir")
    return Path(folder) if isinstance(folder, str | Path) else None


def trunk_of_spec(spec: Any) -> Path | None:
    """The checkpoint of the actor that a store's ``spec`` names, or None if it is not available here."""
    env = spec.get("env") if isinstance(spec, Mapping) else None
    actor = env.get("actor") if isinstance(env, Mapping) else None
    if not isinstance(env, Mapping) or not isinstance(actor, str) or actor not in registry.names("actors"):
        return None
    try:
        return actor_trunk(registry.load("actors", actor)(**dict(env.get("actor_kwargs") or {})))
    except (SelfRegError, TypeError):  # an actor that cannot be made here; it is not needed for training
        return None


def candidates(actor: str | Path | None = None) -> dict[str, Path]:
    """The trunks that ``"auto"`` tries, by name and in order: that of the actor (its checkpoint), the shipped one."""
    from selfreg_gym.lm.loading import check_checkpoint

    found: dict[str, Path] = {}
    shipped = backbone_path(SHIPPED)
    if actor is not None and Path(actor).resolve() != shipped.resolve():
        found[Path(actor).name] = check_checkpoint(actor)
    found[shipped.name if shipped.name not in found else f"selfreg_gym's {shipped.name}"] = shipped
    return found


@contextmanager
def opened_backbone(
    backbone: str | Path,
    texts: Sequence[str],
    *,
    prompts: Sequence[str] = (),
    actor: str | Path | None = None,
    seed: int = 0,
) -> Iterator[Backbone]:
    """Find a checkpoint that can read the texts; for ``"auto"``, build one where no trunk can.

    Args:
        backbone: ``"auto"``, a directory, or an actor's id.
        texts: the observations to train on.
        prompts: the texts after an observation, such as the question with each budget; they must remain different.
        actor: for ``"auto"``, the checkpoint of the actor.
        seed: of the weights of a built backbone.

    Yields:
        The backbone. The directory of a built one is removed at the end of the block.

    Raises:
        InvalidArgumentError: the named backbone cannot read the texts, or there are none.
        UnknownNameError, CheckpointError: as :func:`backbone_path`.
    """
    texts = distinct(texts)
    if not texts:
        raise InvalidArgumentError("a backbone is chosen by the texts that it has to read, received none.")
    if str(backbone) != AUTO:
        path = backbone_path(backbone)
        unknown = _unknown(path, texts, prompts)
        if not unknown.readable:
            raise InvalidArgumentError(_unreadable(str(backbone), unknown))
        yield Backbone(path, path.name, False, unknown, {})
        return
    passed_over: dict[str, float] = {}
    for name, path in candidates(actor).items():
        unknown = _unknown(path, texts, prompts)
        if unknown.readable:
            yield Backbone(path, name, False, unknown, passed_over)
            return
        passed_over[name] = round(unknown.share, 6)
    from selfreg_gym.lm.small_llama import build_small_llama
    from selfreg_gym.lm.tokenizer import words

    with tempfile.TemporaryDirectory(prefix="selfreg-backbone-") as folder:
        asked = sorted({word for prompt in prompts for word in words(prompt) if word.isalpha()})
        path = build_small_llama(texts, folder, words=asked, seed=seed)
        yield Backbone(path, BUILT, True, _unknown(path, texts, prompts), passed_over)


def weights_hash(folder: Path) -> str:
    """SHA-256 over a checkpoint's ``*.safetensors`` files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _unknown(path: Path, texts: Sequence[str], prompts: Sequence[str]) -> UnknownTokens:
    """The unknown tokens of the texts, each with the first prompt; of the prompts alone where these are merged."""
    from selfreg_gym.lm.loading import load_tokenizer

    tokenizer = load_tokenizer(path)
    asked = unknown_tokens(tokenizer, prompts)
    if asked.merged:
        return asked
    tail = prompts[0] if prompts else ""
    return unknown_tokens(tokenizer, [text + tail for text in texts])


def _unreadable(name: str, unknown: UnknownTokens) -> str:
    """The error's text: the rule, what was received, what to do."""
    shown = ", ".join(repr(word) for word in unknown.words[:_SHOWN])
    more = f" and {len(unknown.words) - _SHOWN} more" if len(unknown.words) > _SHOWN else ""
    merged = f", and {unknown.merged:.0%} of the texts are equal to another one without them" if unknown.merged else ""
    return (
        f"at most {MAX_UNKNOWN:.0%} of a task's tokens may be unknown to the backbone, received {name!r}, to which "
        f"{unknown.share:.1%} are{merged}. Unknown words: {shown}{more}. A model cannot learn from words that it "
        'cannot read: choose backbone="auto", which builds a vocabulary from the collected texts where it is needed, '
        "or a checkpoint whose tokenizer has these words (tokenizers over bytes read every text)."
    )
