"""What the backbone of a trained helper reads: a linear probe of its frozen features for the feature key of new tasks.

    python benchmarks/probe.py runs/demo                       # the helper of a run
    python benchmarks/probe.py runs/demo --without-facts       # the same helper with prompts that lack the facts
    python benchmarks/probe.py runs/demo --helper PATH         # another helper, on the rollouts of the run

A logistic regression from the text features of the helper (the last layer at the last token, and its two means) to
the feature key is fitted to stored decisions of the collected tasks, and measured on decisions of tasks in the
validation splits of SIF. The episodes there are played with random help at probabilities 0, 0.5 and 1. Keys that the
fit has not seen count as errors. For comparison, the accuracy of always answering the most frequent key is printed.
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

from selfreg_gym import EpisodeSpec, LMHelper, Rollouts, run_episodes
from selfreg_gym.agents.helpers._lm_reader import DecisionReader
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.inputs import DecisionTable

HELP = (0.0, 0.5, 1.0)
SPLITS = ("val-seen", "val-unseen")
ENV = ("task", "task_kwargs", "actor", "actor_kwargs", "interventions", "intervention_kwargs")


def sample(table: DecisionTable, limit: int, seed: int) -> DecisionTable:
    """At most ``limit`` decisions, drawn at random."""
    return table.take(np.sort(np.random.default_rng(seed).permutation(len(table))[:limit]))


def keys_of(table: DecisionTable) -> np.ndarray:
    """The feature key of each decision."""
    return np.array([table.feature_key.values[code] for code in table.feature_key.codes])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the accuracy on each split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory with rollouts.sqlite and helper/")
    parser.add_argument("--helper", type=Path, help="folder of a helper; default: that of the run")
    parser.add_argument("--without-facts", action="store_true", help="leave the facts out of the prompts")
    parser.add_argument("--tasks", type=int, default=60, help="tasks of each validation split")
    parser.add_argument("--limit", type=int, default=8000, help="stored decisions that the probe is fitted to")
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args(arguments)
    helper = LMHelper.from_pretrained(given.helper or given.run / "helper")
    facts = helper.facts and not given.without_facts
    reader = DecisionReader(helper.backbone, helper.tokenizer, None, facts=facts, memo=0)
    with Rollouts.open(given.run / "rollouts.sqlite") as rollouts:
        fitted = sample(DecisionTable.from_rollouts(rollouts), given.limit, given.seed)
        env: dict[str, Any] = {name: value for name, value in rollouts.spec["env"].items() if name in ENV}
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=100, tol=1e-3))
    probe.fit(reader.encode(fitted), keys_of(fitted))
    names, counts = np.unique(keys_of(fitted), return_counts=True)
    specs = [EpisodeSpec(task, given.seed + task, p) for task in range(given.tasks) for p in HELP]
    for split in SPLITS:
        env["task_kwargs"] = {**env["task_kwargs"], "split": split}
        table = DecisionTable.from_rollouts(list(run_episodes(make_env(env, 32), specs)))
        keys = keys_of(table)
        found = {
            "split": split,
            "facts in the prompt": facts,
            "decisions": len(table),
            "accuracy": round(float(np.mean(probe.predict(reader.encode(table)) == keys)), 4),
            "most frequent key": round(float(np.mean(keys == names[counts.argmax()])), 4),
            "keys new to the probe": round(float(np.mean(~np.isin(keys, names))), 4),
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
