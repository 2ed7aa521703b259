"""Held-out likelihood: which key predicts, and how much to shrink."""

from __future__ import annotations

import numpy as np

from selfreg_gym.transitions.held_out import held_out_likelihood


def test_held_out_likelihood_prefers_the_key_that_predicts(step, episode):
    """Two tasks whose outcomes differ: features cannot tell them apart, and a key per episode cannot generalise."""
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
