"""Speed of storing and reading episodes, compared with Parquet.

    python benchmarks/storage.py [--transitions 100000] [--length 1000]

Transitions resemble the household task: observations of about 1,000 characters of which 40 % are repetitions, lists of
15 admissible actions, short keys. One core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from selfreg_gym.store.rollouts import Rollouts
from selfreg_gym.types import Episode, Transition


def make_episodes(transitions: int, length: int, rng: np.random.Generator) -> Iterator[Episode]:
    """Yield episodes of 5 to 35 steps with observations of ``length`` characters."""
    words = [f"word{i}" for i in range(3000)]
    recent: list[str] = []
    done = episode = 0
    offers = [tuple(f"go to place {rng.integers(60)}" for _ in range(15)) for _ in range(500)]
    while done < transitions:
        size = int(rng.integers(5, 36))
        steps = []
        for t in range(size):
            if recent and rng.random() < 0.4:
                text = recent[int(rng.integers(len(recent)))]
            else:
                text = " ".join(words[i] for i in rng.integers(3000, size=length // 8))
                recent = [*recent[-20000:], text] if len(recent) < 20000 else recent
            action = int(rng.random() < 0.5)
            steps.append(
                Transition(
                    t, text, offers[int(rng.integers(500))], f"task {episode % 50} state {rng.integers(100)}",
                    f"state {rng.integers(100)}", size - t, action, f"go to place {rng.integers(60)}",
                    float(action), float(t == size - 1), t == size - 1, False, False,
                )
            )  # fmt: skip
        cost = float(sum(step.action for step in steps))
        yield Episode(episode % 50, episode, f"task {episode % 50}", "pnp", 0.5, True, (cost,), tuple(steps))
        done += size
        episode += 1


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its time in seconds."""
    began = time.perf_counter()
    value = function()
    return value, time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=1000, help="characters per observation")
    options = parser.parse_args()
    episodes = list(make_episodes(options.transitions, options.length, np.random.default_rng(0)))
    count = sum(len(e) for e in episodes)
    table = Table("what", "seconds", "transitions/s", title=f"{count} transitions of {options.length} characters")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rollouts.sqlite"
        rollouts = Rollouts.create(path, spec={})

        def measure(what: str, function: Callable[[], Any]) -> None:
            _, seconds = timed(function)
            table.add_row(what, f"{seconds:.2f}", f"{count / seconds:,.0f}")

        measure("store (one transaction per episode)", lambda: rollouts.add(episodes))
        measure("store again (no change)", lambda: rollouts.add(episodes))
        episodes.clear()  # a reader has no episodes in memory
        measure("open with the full check", lambda: Rollouts.open(path))
        measure("iterate", lambda: sum(len(e) for e in rollouts.episodes()))
        measure("columns: keys and numbers", lambda: rollouts.columns("state_key", "action", "success"))
        measure("columns: observations", lambda: rollouts.columns("observation"))
        measure("export to Parquet", lambda: rollouts.to_parquet(Path(folder) / "rollouts.parquet"))
        rollouts.checkpoint()
        size = path.stat().st_size / 1e6
        packed = (Path(folder) / "rollouts.parquet").stat().st_size / 1e6
    console = Console()
    console.print(table)
    console.print(f"{size:.0f} MB as SQLite, {packed:.0f} MB as Parquet")


if __name__ == "__main__":
    main()
