"""Which checkpoint a process reward model or a helper starts from: a directory, or the trunk of a registered actor."""

from __future__ import annotations

import hashlib
from pathlib import Path

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.lm.loading import check_checkpoint

__all__ = ["backbone_path", "weights_hash"]


def backbone_path(backbone: str | Path) -> Path:
    """Return the checkpoint directory that ``backbone`` means.

    Args:
        backbone: a directory that holds a checkpoint, or the id of an actor that has a ``checkpoint_dir`` ("tiny").

    Raises:
        UnknownNameError: it is neither.
        InvalidArgumentError: the actor is no language model of ours.
        CheckpointError: the directory holds no checkpoint.
    """
    if Path(backbone).is_dir():
        return check_checkpoint(backbone)
    names = registry.names("actors")
    if str(backbone) not in names:
        raise UnknownNameError("backbone (an actor's id, or a directory with a checkpoint)", str(backbone), names)
    actor = registry.load("actors", str(backbone))()
    folder = getattr(actor, "checkpoint_dir", None)
    if folder is None:
        raise InvalidArgumentError(
            f"a backbone must be a language model with a checkpoint_dir, received the actor {str(backbone)!r}."
        )
    return check_checkpoint(folder)


def weights_hash(folder: Path) -> str:
    """SHA-256 over a checkpoint's ``*.safetensors`` files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
