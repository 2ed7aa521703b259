"""What the trunk of a trained helper reads: a linear probe of its frozen features for the feature key of new tasks.

    python benchmarks/probe.py runs/demo                       # the helper of a run
    python benchmarks/probe.py runs/demo --without-facts       # the same helper with prompts that lack the facts

A logistic regression from the text features of the helper (the last layer at the last token, and its two means) to
the feature key is fitted to decisions of the collected tasks, and measured on decisions of tasks in the validation
splits of SIF. The episodes are played with random help at probabilities 0, 0.5 and 1. Keys that the fit has not seen
count as errors. For comparison, the accuracy of always answering the most frequent key is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from selfreg_gym import EpisodeSpec, LMHelper, run_episodes
from selfreg_gym.agents.helpers._lm_reader import DecisionReader
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.inputs import DecisionTable

HELP = (0.0, 0.5, 1.0)
SPLITS = ("val-seen", "val-unseen")


def decisions(env: dict[str, Any], tasks: int, limit: int, seed: int) -> DecisionTable:
    """At most ``limit`` decisions of one episode per task and help probability, drawn at random."""
    specs = [EpisodeSpec(task, seed + task, p) for task in range(tasks) for p in HELP]
    table = DecisionTable.from_rollouts(list(run_episodes(make_env(env, 32), specs)))
    rows = np.random.default_rng(seed).permutation(len(table))[:limit]
    return table.take(np.sort(rows))


def keys_of(table: DecisionTable) -> np.ndarray:
    """The feature key of each decision."""
    return np.array([table.feature_key.values[code] for code in table.feature_key.codes])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the accuracy on each split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory with helper/, or the folder of a helper")
    parser.add_argument("--without-facts", action="store_true", help="leave the facts out of the prompts")
    parser.add_argument("--actor", default="tiny")
    parser.add_argument("--tasks", type=int, default=168, help="tasks of each split")
    parser.add_argument("--limit", type=int, default=4000, help="decisions of each split")
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args(arguments)
    folder = given.run / "helper" if (given.run / "helper").is_dir() else given.run
    helper = LMHelper.from_pretrained(folder)
    facts = helper.facts and not given.without_facts
    reader = DecisionReader(helper.trunk, helper.tokenizer, None, facts=facts, memo=0)

    def table_of(split: str) -> DecisionTable:
        task = {"task": "selfreg/SIF-v0", "task_kwargs": {"kind": "mixed", "split": split}}
        return decisions(
            {**task, "actor": given.actor, "interventions": ["expert"]}, given.tasks, given.limit, given.seed
        )

    fitted = table_of("train")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300))
    probe.fit(reader.encode(fitted), keys_of(fitted))
    names, counts = np.unique(keys_of(fitted), return_counts=True)
    for split in SPLITS:
        table = table_of(split)
        keys = keys_of(table)
        found = {
            "split": split,
            "facts in the prompt": facts,
            "decisions": len(table),
            "accuracy": round(float(np.mean(probe.predict(reader.encode(table)) == keys)), 4),
            "most frequent key": round(float(np.mean(keys == names[counts.argmax()])), 4),
            "keys new to the probe": round(float(np.mean(~np.isin(keys, names))), 4),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main()
