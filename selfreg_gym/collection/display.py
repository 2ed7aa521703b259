"""The live display of a collection: progress, speed, remaining time, and success by help probability."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode
from selfreg_gym.utils.progress import new_progress

__all__ = ["CollectionDisplay"]

_LOG_SECONDS = 30.0


class CollectionDisplay:
    """A context manager that draws on a terminal and otherwise prints a line every 30 seconds.

    Args:
        rollouts: the store, whose episodes are counted first.
        total: number of episodes of the plan.
        shown: False draws and prints nothing.
        console: the output; by default standard error.
    """

    def __init__(self, rollouts: Rollouts, *, total: int, shown: bool, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._shown = shown
        self._total = total
        self._by_p: dict[float | None, list[float]] = {}  # episodes, successes, cost
        for row in rollouts.summary().by_help_probability:
            n = row.episodes
            self._by_p[row.help_probability] = [n, n * row.success, n * row.usage]
        self._before = self._done = rollouts.count()
        self._errors = 0
        self._began = self._printed = time.monotonic()
        self._bar = new_progress(elapsed=True, console=self._console)
        self._task = self._bar.add_task("collecting", total=total, completed=self._done, note="")
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> CollectionDisplay:
        if self._shown and self._console.is_terminal:
            self._live.start()
        elif self._shown:
            self._console.print(f"collecting {self._total - self._done} of {self._total} episodes")
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
        if self._shown:
            self._console.print(self.line())

    def update(self, episode: Episode) -> None:
        """Count one more episode."""
        if episode.error is not None:
            self._errors += 1
        else:
            self._done += 1
            sums = self._by_p.setdefault(episode.help_probability, [0.0, 0.0, 0.0])
            for i, value in enumerate((1.0, float(episode.success), episode.cost)):
                sums[i] += value
        self._bar.update(self._task, completed=self._done, note=_shown_speed(self._speed()))
        now = time.monotonic()
        if self._shown and not self._live.is_started and now - self._printed > _LOG_SECONDS:
            self._printed = now
            self._console.print(self.line())

    def line(self) -> str:
        """The progress as one line of text."""
        left = self._total - self._done
        speed = self._speed()
        text = f"{self._done} of {self._total} episodes, {_shown_speed(speed)}"
        text += f", about {_shown_time(left / speed)} left" if left and speed else ""
        text += f", {self._errors} errors" if self._errors else ""
        order = sorted(self._by_p, key=_order)
        ends = [f"{_rate(self._by_p[p])} at p = {_p(p)}" for p in dict.fromkeys(order[:1] + order[-1:])]
        return text + (f"; success {', '.join(ends)}" if ends else "")

    def _speed(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._began, 1e-9)

    def _draw(self) -> Any:
        table = Table(box=None, padding=(0, 1), show_header=False)
        for _ in range(1 + len(self._by_p)):
            table.add_column(justify="right")
        rows = sorted(self._by_p.items(), key=lambda item: _order(item[0]))
        table.add_row("help p", *(_p(p) for p, _ in rows), style="dim")
        table.add_row("success", *(_rate(sums) for _, sums in rows))
        table.add_row("usage", *(f"{sums[2] / sums[0]:.1f}" for _, sums in rows))
        errors = [f"[red]{self._errors} episodes with an error; to be played again[/]"] if self._errors else []
        return Group(self._bar, table, *errors)


def _shown_speed(speed: float) -> str:
    """Episodes per second, or per minute or hour if they are few, as with a slow simulator or a model on a server."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if speed * seconds >= 1:
            return f"{speed * seconds:.1f} episodes/{unit}"
    return f"{speed * 3600:.1f} episodes/h"


def _shown_time(seconds: float) -> str:
    """Seconds, or minutes or hours if they are many."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _order(p: float | None) -> float:
    return -1.0 if p is None else p


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:g}"


def _rate(sums: list[float]) -> str:
    return f"{sums[1] / sums[0]:.0%}"
