"""A run: its directory, config and manifest.

Artifacts are written under ``.partial/`` and moved to their place when they are complete.
:mod:`selfreg_gym.pipeline.execution` runs the stages in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.manifest import Manifest
from selfreg_gym.utils.files import remove, set_default_modes

__all__ = ["Run"]


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory with its config.

    Attributes:
        path: the directory.
        config: the config.
        manifest: the record of finished stages.
        progress: whether stages draw progress bars.
        say: called with each line of output.
        update: whether a changed rollout store is accepted, which otherwise is an error because it cannot be made
            again without loss.
    """

    path: Path
    config: RunConfig
    manifest: Manifest
    progress: bool = True
    say: Callable[[str], None] = print
    update: bool = False

    @classmethod
    def open(cls, path: str | Path, config: RunConfig | None = None, *, update: bool = False, **more: Any) -> Run:
        """Begin a run, or continue the one in ``path``. ``config=None`` takes the config of the existing run.

        Raises:
            RunDirectoryError: the directory holds another run; or it holds none and ``config`` is None.
        """
        manifest = Manifest.load(path) if config is None else Manifest.open(path, config, update=update)
        return cls(Path(path), manifest.config, manifest, update=update, **more)

    def env_kwargs(self, split: str | None = None) -> dict[str, Any]:
        """Return keyword arguments of ``selfreg/Intervention-v0`` for a split; None: the collected split.

        ``split`` can be an evaluated split or a validation split.
        """
        task, actor, interventions = self.config.task, self.config.actor, self.config.interventions
        splits = {**self.config.select.splits, **task.splits}
        split = task.collected if split is None else split
        return {
            "task": task.id,
            "actor": actor.id,
            "interventions": list(interventions.ids),
            "task_kwargs": {**task.arguments, **splits[split]},
            **({"actor_kwargs": dict(actor.kwargs)} if actor.kwargs else {}),
            **({"intervention_kwargs": dict(interventions.kwargs)} if interventions.kwargs else {}),
            **({"abort": True} if interventions.abort else {}),
            **({} if interventions.call_timeout is None else {"call_timeout": interventions.call_timeout}),
        }

    def partial(self, stage: str) -> Path:
        """Return the folder for the unfinished work of a stage, which is kept after an interruption."""
        folder = self.path / ".partial" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def writing(self, stage: str, name: str) -> Iterator[Path]:
        """Yield a path; the file or folder written there becomes the artifact ``name`` when the block ends."""
        temporary = self.partial(stage) / name
        remove(temporary)
        yield temporary
        set_default_modes(temporary)
        final = self.path / name
        if final.is_dir():  # a folder cannot be replaced in one step; the manifest does not list the old one any more
            remove(final)
        temporary.replace(final)
