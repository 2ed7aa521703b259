"""Held-out likelihood: the choice of keys and of shrinkage."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.transitions.held_out import held_out_likelihood


def test_held_out_likelihood_prefers_the_key_that_predicts(step, episode):
    """Two tasks with different outcomes: features do not distinguish them, a key per episode does not generalise."""
    rng = np.random.default_rng(6)
    data, lost = [], []
    for i in range(300):
        task, action = i % 2, int(rng.random() < 0.5)
        success = rng.random() < (0.9 if task else 0.1)
        data.append(episode([step(0, f"task-{task}", action, feature="f")], success, number=task))
        lost.append(episode([step(0, f"task-{task}-{i}", action, feature="f")], success, number=task))
    state, feature = held_out_likelihood(data), held_out_likelihood(data, key="feature")
    assert state > feature + 0.2
    assert abs(held_out_likelihood(lost) - feature) < 0.02
    assert held_out_likelihood(lost, backoff=None) < state - 0.2


def test_rows_of_feature_keys_have_the_weights_of_the_fit(step, episode):
    """Easy tasks are visited often, hard ones once each, with equal feature keys: a new hard one probably fails."""
    easy = [episode([step(0, "easy", i % 2, feature="f")], True, number=0) for i in range(200)]
    hard = [episode([step(0, f"hard-{i}", i % 2, feature="f")], False, number=i + 1) for i in range(200)]
    # 98 % of what is known for sure, and 2 % of the overall frequencies, about a half
    known = np.log(0.98 + 0.02 / 2)
    # a row of 75 failures and 3 shared successes, for each action
    likely = np.log(0.98 * 75 / 78 + 0.02 / 2)
    assert held_out_likelihood(easy + hard, prior=0.0) == pytest.approx((known + likely) / 2, abs=2e-3)


def test_likelihoods_with_and_without_time_predict_the_same_outcomes(step, episode) -> None:
    """With one key, the next key depends on nothing but time: time in the nodes predicts it."""
    episodes = []
    for i in range(200):
        action = np.random.default_rng(i).integers(2, size=4)
        steps = [step(t, "ab"[t > 1], int(action[t]), feature="xy"[t == 2], left=4 - t, done=t == 3) for t in range(4)]
        episodes.append(episode(steps, bool(i % 2), number=i))
    without, time = (held_out_likelihood(episodes, key="feature", backoff=None, time_buckets=b) for b in (None, 4))
    assert time > without + 0.2
