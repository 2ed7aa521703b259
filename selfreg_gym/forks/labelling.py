"""``fork_labels``: a training set for a helper from the measured values of help, without a table or fitted values."""

from __future__ import annotations

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.forks.result import Forks
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.labels import Labels
from selfreg_gym.labels.labelling import FLOOR, QUANTILE
from selfreg_gym.store.rollouts import Coded
from selfreg_gym.utils.arguments import check_number

__all__ = ["fork_labels"]


def fork_labels(forks: Forks, *, price: float, budget: float) -> Labels:
    """Label each forked state with the action of the largest measured S - price * M.

    The labels are one step of policy improvement (Sutton and Barto 2018, section 4.2): they are greedy with respect to
    the values of the policy that the forks follow. They need neither keys nor a fit, and their noise depends only on
    the number of repetitions. A label has the weight of :mod:`selfreg_gym.labels.labelling`, which grows with the
    difference between the best help and nohelp.

    Args:
        forks: with the first actions 0 and one or more of 1, ..., K, each alone.
        price: r, success per cost unit.
        budget: C, cost units per episode, the name of the labels in the training of a helper.

    Returns:
        One label per state with a valid repetition of nohelp and of help.

    Raises:
        InvalidArgumentError: the forks lack nohelp or help, or no state has valid repetitions.
    """
    price, budget = check_number("price (success per cost unit)", price), check_budget(budget)
    helps = [first[0] for first in forks.first_actions if len(first) == 1 and first[0] > 0]
    if (0,) not in forks.first_actions or not helps:
        raise InvalidArgumentError(
            f"labels need forks with the first actions 0 and at least one help, received {forks.first_actions}."
        )
    found = [forks.differences(k, 0) for k in helps]
    gain = np.stack([one.success - price * one.cost for one in found], axis=1)
    known = np.asarray(np.isfinite(gain).any(axis=1))
    if not known.any():
        raise InvalidArgumentError("no state has valid repetitions of both nohelp and help, so there are no labels.")
    states = [state for state, kept in zip(forks.states, known.tolist(), strict=True) if kept]
    gain = np.where(np.isfinite(gain[known]), gain[known], -np.inf)
    best = gain.argmax(axis=1)
    advantage = gain[np.arange(len(best)), best]
    size = np.abs(advantage)
    top = float(np.quantile(size, QUANTILE))
    episodes = Coded.of([f"{state.task_index} {state.seed}" for state in states])
    return Labels(
        observation=Coded.of([state.observation for state in states]),
        budget=np.full(len(states), budget),
        action=np.where(advantage > 0, np.array(helps, np.int64)[best], 0),
        weight=FLOOR + (1 - FLOOR) * np.minimum(1.0, size / top if top > 0 else np.zeros_like(size)),
        advantage=advantage,
        plan_index=episodes.codes,
        task_id=Coded.of([state.task_id for state in states]),
        info={
            "source": "forks", "scope": "all", "budgets": [budget], "transitions": len(forks),
            "unlabelled": int((~known).sum()), "scale": {f"{budget:g}": top}, "merged": False,
        },
    )  # fmt: skip
