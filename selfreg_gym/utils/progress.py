"""Progress bars in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["new_progress", "progress_bar"]


def new_progress(*, elapsed: bool = False, transient: bool = False, console: Console | None = None) -> Progress:
    """Return a rich ``Progress``: description, bar, count, the task's field ``note``, (time elapsed,) time left."""
    from rich import progress as rich

    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[note]}", markup=False),
        *([rich.TimeElapsedColumn(), rich.TextColumn("left")] if elapsed else []),
        rich.TimeRemainingColumn(),
        transient=transient,
        console=console,
    )


@contextmanager
def progress_bar(
    description: str, total: int, *, done: int = 0, shown: bool = True, transient: bool = True
) -> Iterator[Callable[..., None]]:
    """Draw a bar of ``total`` steps while the block runs, and yield ``update(done, note="")``.

    ``shown=False`` draws nothing; ``transient`` removes the bar at the end.
    """
    if not shown:
        yield lambda done, note="": None
        return
    with new_progress(transient=transient) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)
