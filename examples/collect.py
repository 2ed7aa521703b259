"""Collect rollouts with random help, print statistics, and measure how often states recur.

    python examples/collect.py rollouts.sqlite --tasks 20 --episodes 44 --workers 2

After Ctrl-C the same command continues the collection. While it runs, in another terminal:

    sqlite3 rollouts.sqlite "SELECT t, who, action_text, success FROM steps LIMIT 20"
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

import selfreg_gym
from selfreg_gym.collection.recurrence import recurrence


def main() -> None:
    """Collect and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="the store to create or to continue")
    parser.add_argument("--task", default="selfreg/SIF-v0")
    parser.add_argument("--actor", default="scripted")
    parser.add_argument("--intervention", default="expert")
    parser.add_argument("--tasks", type=int, default=20, help="number of tasks")
    parser.add_argument("--episodes", type=int, default=44, help="episodes per task")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    env = {"task": options.task, "actor": options.actor, "interventions": [options.intervention]}
    rollouts = selfreg_gym.collect(
        env, store=options.store, tasks=range(options.tasks), episodes=options.episodes, workers=options.workers
    )
    console = Console()
    table = Table("help probability", "episodes", "success", "usage", "steps", title="rollouts")
    for row in rollouts.summary().by_help_probability:
        figures = f"{row.success:.0%}", f"{row.usage:.2f}", f"{row.length:.1f}"
        table.add_row(f"{row.help_probability:g}", str(row.episodes), *figures)
    console.print(table)
    table = Table("states by", "distinct", "visits per (state, action)", "seen once", "known", title="recurrence")
    for kind, found in recurrence(rollouts).items():
        shares = f"{found.once_seen_share:.0%}", f"{found.known_share:.0%}"
        table.add_row(kind, f"{found.states:,}", f"{found.visits_per_pair:.1f}", *shares)
    console.print(table)


if __name__ == "__main__":
    main()
