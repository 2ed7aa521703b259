"""Coverage, compared with counts by hand."""

from __future__ import annotations

import pytest

from selfreg_gym.transitions import TransitionModel


def test_coverage_equals_counts_by_hand(step, episode):
    """ "a" with nohelp twice and help once, "b" with nohelp once; one episode begins in "b"."""
    data = [
        episode([step(0, "a", 0, feature="f"), step(1, "b", 0, feature="f")], True),
        episode([step(0, "a", 1, feature="f")], True),
        episode([step(0, "a", 0, feature="f")], False),
        episode([step(0, "c", 1, feature="f")], False),
    ]
    coverage = TransitionModel.fit(data, prior=0.0, min_visits=1).coverage()
    expected = {
        "episodes": 4, "decisions": 5, "states": 3, "state_nodes": 1, "feature_nodes": 1, "visits_per_pair": 5 / 4,
        "recurrence": 3 / 5, "backoff_share": 2 / 5, "unseen_start_mass": 1 / 4, "good_turing_states": 2 / 5,
        "good_turing_pairs": 3 / 5,
    }  # fmt: skip
    assert {name: coverage[name] for name in expected} == pytest.approx(expected)
