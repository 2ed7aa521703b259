"""Compare two actors on the same episodes of SIF: without help, and after help.

    python examples/compare_actors.py agents/checkpoints/sif/tiny runs/actor --episodes 84

For instance a shipped actor before and after `train_actor.py --from-rollouts`. On each split (the collected tasks, and
new tasks from index 1000 on in seen and in unseen houses) both play the same episodes. Differences are paired; the
intervals are 95 % bootstrap intervals over tasks.

- success: without help, ranking the admissible actions;
- invalid: without help, writing the action; the share of episodes that an invalid action ends;
- failed after help: with random help of the expert, ranking; the share of episodes with help that end without success
  within 3 steps after their last help;
- invalid after help: the same in writing, by an invalid action.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfreg_gym import EpisodeSpec, InterventionVectorEnv, run_episodes
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.after_help import pooled
from selfreg_gym.types import Episode
from selfreg_gym.utils.random_streams import EVALUATION_EPISODES, seed_sequence

SPLITS = {
    "collected": ("train", 0), "seen": ("test-seen", 1000), "unseen": ("test-unseen", 1000),
    "val-seen": ("val-seen", 0), "val-unseen": ("val-unseen", 0),
}  # fmt: skip
"""Name -> split of SIF and its first task. Settings of a training are chosen on the last two."""

HELP = 0.3
"""Probability of help at a step."""

WITHIN = 3
MEASURES = ("success", "invalid", "failed after help", "invalid after help")


def episodes_of(path: Path, mode: str, split: str, first: int, count: int, help_probability: float) -> list[Episode]:
    """Play ``count`` tasks once, in the order of the tasks."""
    env = InterventionVectorEnv(
        16, "selfreg/SIF-v0", LM(path, mode=mode), ["expert"], task_kwargs={"split": split}, autoreset_mode="Disabled"
    )
    specs = []
    for task in range(first, first + count):
        seed = int(seed_sequence(EVALUATION_EPISODES, 11, task, 0).generate_state(1)[0])
        specs.append(EpisodeSpec(task, seed, help_probability))
    return sorted(run_episodes(env, specs), key=lambda one: one.task_index)


def after_help(episode: Episode, *, invalid: bool) -> float:
    """1 if the episode fails (by an invalid action) within 3 steps after its last help, else 0; NaN without help."""
    helped = [step.t for step in episode.steps if step.action]
    if not helped:
        return math.nan
    near = len(episode.steps) - 1 - helped[-1] <= WITHIN
    return float(near and (episode.steps[-1].invalid if invalid else not episode.success))


def measured(path: Path, split: str, first: int, count: int) -> list[dict[str, Any]]:
    """The four measures of an actor in each task."""
    played = {
        (mode, p): episodes_of(path, mode, split, first, count, p) for mode in ("rank", "generate") for p in (0.0, HELP)
    }
    return [
        {
            "task": alone.task_id, "kind": alone.kind, "seed": 0, "success": float(alone.success),
            "invalid": float(written.steps[-1].invalid),
            "failed after help": after_help(ranked_helped, invalid=False),
            "invalid after help": after_help(written_helped, invalid=True),
        }
        for alone, written, ranked_helped, written_helped in zip(
            played["rank", 0.0], played["generate", 0.0], played["rank", HELP], played["generate", HELP], strict=True
        )
    ]  # fmt: skip


def compare(before: Path, after: Path, episodes: int, splits: Sequence[str] = tuple(SPLITS)[:3]) -> dict[str, Any]:
    """Split -> measure -> the estimates ``before``, ``after`` and ``difference``."""
    found: dict[str, Any] = {}
    for name in splits:
        split, first = SPLITS[name]
        one, two = (measured(path, split, first, episodes) for path in (before, after))
        found[name] = {}
        for measure in MEASURES:
            both = [
                {**a, "difference": b[measure] - a[measure], "before": a[measure], "after": b[measure]}
                for a, b in zip(one, two, strict=True)
            ]
            found[name][measure] = {key: pooled(both, key) for key in ("before", "after", "difference")}
    return found


def main() -> None:
    """Parse the command line and print a row per split and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkpoint")
    parser.add_argument("after", type=Path, help="another checkpoint")
    parser.add_argument("--episodes", type=int, default=84, help="tasks per split")
    parser.add_argument("--splits", nargs="+", choices=tuple(SPLITS), default=tuple(SPLITS)[:3])
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers to a file")
    arguments = parser.parse_args()
    found = compare(arguments.before, arguments.after, arguments.episodes, arguments.splits)
    for split, measures in found.items():
        for measure, row in measures.items():
            shown = "  ".join(f"{name} {_percent(value)}" for name, value in row.items())
            print(f"{split:10} {measure:19} {shown}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found) + "\n", encoding="utf-8")


def _percent(value: Estimate) -> str:
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


if __name__ == "__main__":
    main()
