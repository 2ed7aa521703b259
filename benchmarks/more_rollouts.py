"""Fitted values of the rollouts of several seeds together, against those of one seed: do more rollouts help?

    python benchmarks/more_rollouts.py --cache runs/experiments [--seeds 3] [--budget 1.0]

It uses the runs of the experiment `headline` in the cache, and makes those that are missing. The collected tasks are
the same for all seeds. Both helpers are calibrated to the budget and play the episodes of the experiment; printed are
the share of the gap of each one, and the paired difference in success at equal usage. After `selfreg experiment
headline` it takes about 20 CPU-minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.experiments.packing import unpack
from selfreg_gym.experiments.running import config_of
from selfreg_gym.experiments.studies.headline import Headline
from selfreg_gym.experiments.trial import Trial, of_seed
from selfreg_gym.experiments.values import fit_helper, values_of
from selfreg_gym.helper import HelperKey

ONE, ALL = "one seed", "all seeds"


def main() -> None:
    """Fit, calibrate, play, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="the cache of the experiments")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=1.0, help="cost units per episode")
    parser.add_argument("--quick", action="store_true", help="the sizes of a quick experiment")
    options = parser.parse_args()
    config = config_of(Headline(), quick=options.quick)
    trials = [
        Trial(s, of_seed(config, s), options.cache, base=config, seeds=options.seeds) for s in range(options.seeds)
    ]
    episodes = []
    for trial in trials:
        with trial.rollouts() as rollouts:
            episodes.append(list(rollouts.episodes()))
    first = trials[0]
    values = values_of(first)
    helpers = {
        HelperKey(ONE, options.budget, 0): fit_helper(first, episodes[0], values),
        HelperKey(ALL, options.budget, 0): fit_helper(first, [one for part in episodes for one in part], values),
    }
    splits = list(config.task.splits)
    played = first.played(first.calibrated(helpers), splits=splits)
    ends = first.compare(["never", "always"], splits=splits, seeded=False)
    found = Evaluation.merge(*(unpack(one["evaluation"]) for one in (played, ends)))
    for split in splits:
        for name in (ONE, ALL):
            share = found.recovery(name, budget=options.budget, split=split).share
            print(f"{split}: {name}: {share} of the gap at a usage of {options.budget:g}")
        difference = found.at_equal_usage(ALL, budget=options.budget, other=ONE, split=split).difference
        print(f"{split}: {ALL} minus {ONE}, success at equal usage: {difference}")


if __name__ == "__main__":
    main()
