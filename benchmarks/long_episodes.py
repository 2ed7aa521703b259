"""Episodes of 100 steps with 100 actions: time, size in a store, time to rank the actions, with and without history.

    python benchmarks/long_episodes.py [--episodes 22]

The task is that of the tests. Sizes are compared with those of the same texts without compression. One core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from selfreg_gym import Decision, History, Rollouts, collect
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.lm.small_llama import build_small_llama
from selfreg_gym.testing.reference_actors import RandomActor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from long_tasks import LongTask

VARIANTS: dict[str, dict[str, Any] | None] = {
    "one observation": None,
    "8 turns": {"turns": 8},
    "2,000 words": {"tokens": 2000},
    "all turns": {},
}


def make(options: dict[str, Any] | None) -> Any:
    """The task, in a history unless ``options`` is None."""
    return LongTask() if options is None else History(LongTask(), **options)


def stored(path: Path, options: dict[str, Any] | None, episodes: int) -> tuple[float, float, float, list[str]]:
    """CPU seconds to collect and to read an episode, its kilobytes in the store, and the observations."""
    env = {"task": lambda: make(options), "actor": RandomActor(), "interventions": ["expert"]}
    begun = time.process_time()
    collect(env, store=path, tasks=range(2), episodes=episodes // 2, progress=False).close()
    collected = time.process_time()
    with Rollouts.open(path) as rollouts:
        texts = rollouts.columns("observation")["observation"].values
        assert sum(len(one.steps) for one in rollouts.episodes()) == 100 * episodes
    read = time.process_time()
    return (collected - begun) / episodes, (read - collected) / episodes, path.stat().st_size / episodes / 1e3, texts


def ranking(folder: Path, texts: list[str]) -> tuple[int, float]:
    """Tokens of the longest prompt, and CPU milliseconds of a decision of a small Llama among 100 actions."""
    task = LongTask()
    offered = task.reset(seed=0, options={"episode": 0})[1]["admissible_actions"]
    actor = LM(build_small_llama([*texts[:400], *offered], folder))
    prompts = sorted(texts, key=len)[-8:]
    decisions = [Decision(text, offered, None, (1, i)) for i, text in enumerate(prompts)]
    tokens = max(len(actor.scorer.encoder.prompt(text)) for text in prompts)
    begun = time.process_time()
    actor.act(decisions)
    return tokens, (time.process_time() - begun) / len(decisions) * 1e3


def main(episodes: int) -> None:
    """Measure all variants and print a table."""
    import torch

    torch.set_num_threads(1)
    columns = "collect, ms/episode|read, ms/episode|kB/episode|uncompressed|tokens|ms/decision"
    table = Table("observation", *columns.split("|"))
    for name, options in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            collected, read, size, texts = stored(Path(folder) / "r.sqlite", options, episodes)
            tokens, decision = ranking(Path(folder) / "model", texts)
        plain = size + sum(len(text) for text in texts if len(text) >= 2000) / episodes / 1e3
        row = (1e3 * collected, 1e3 * read, size, plain, tokens, decision)
        table.add_row(name, *(f"{value:,.0f}" for value in row))
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=22)
    np.seterr(all="raise", under="ignore")
    main(parser.parse_args().episodes)
