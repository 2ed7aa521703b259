"""The backbone of the input ``embedding``: the checkpoint of an actor or of a process reward model, or a new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, shown
from selfreg_gym.lm.backbone import AUTO, checkpoint_of_spec, find_backbone, opened_backbone, task_of_spec

__all__ = ["backbone_folder", "embedding_backbone"]


def backbone_folder(backbone: str | Path, *, spec: Any = None, prm: Any = None) -> Path:
    """Return the checkpoint folder of the backbone of the input ``embedding``.

    Args:
        backbone: ``"actor"`` (the backbone of the rollouts' actor), ``"prm"`` (that of the process reward model), the
            id of an actor with a checkpoint, or a folder.
        spec: the spec of the rollouts, for ``"actor"``.
        prm: the process reward model or its folder, for ``"prm"``.

    Raises:
        InvalidArgumentError: the actor has no checkpoint, or the process reward model was not loaded from a folder.
        UnknownNameError: another text that is neither an actor nor a folder.
    """
    if str(backbone) == "actor":
        found = checkpoint_of_spec(spec)
        if found is None:
            raise InvalidArgumentError(
                'backbone="actor" needs rollouts of an actor with a checkpoint, and these have none: choose "prm", the '
                "id of an actor, or a folder."
            )
        return found
    if str(backbone) == "prm":
        folder = prm if isinstance(prm, str | Path) else getattr(prm, "source", None)
        if folder is None:
            raise InvalidArgumentError(
                'backbone="prm" needs a process reward model that was loaded from a folder (from_pretrained), received '
                f"prm={shown(prm)}."
            )
        return Path(folder)
    return find_backbone(backbone, what="backbone", task=task_of_spec(spec))


@contextmanager
def embedding_backbone(
    backbone: str | Path, texts: Sequence[str], *, spec: Any = None, prm: Any = None
) -> Iterator[Path]:
    """Yield the checkpoint folder of the backbone of the input ``embedding``; load it within the block.

    Args:
        backbone: ``"auto"`` is the checkpoint of the rollouts' actor or of the default actor, if it can read the texts,
            otherwise a small Llama with random weights and the vocabulary of the texts, in a temporary folder
            (:func:`selfreg_gym.lm.backbone.opened_backbone`). For other values see :func:`backbone_folder`.
        texts: the texts that the backbone must read.
        spec, prm: as for :func:`backbone_folder`.
    """
    if str(backbone) != AUTO:
        yield backbone_folder(backbone, spec=spec, prm=prm)
        return
    with opened_backbone(AUTO, texts, actor=checkpoint_of_spec(spec), task=task_of_spec(spec)) as found:
        yield found.path
