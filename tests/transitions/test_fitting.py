"""Fitting: counts, steps left, back-off, shrinkage, missing data, convergence."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError
from selfreg_gym.solver import evaluate_policy, solve, solve_budget, solve_frontier
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode


def test_rows_are_counts_shrunk_towards_the_pool(step, episode):
    goes_on = [episode([step(0, "a", 0), step(1, "b", 1)], True) for _ in range(3)]
    ends = [episode([step(0, "a", 0)], False)] + [episode([step(0, "a", 1)], True) for _ in range(4)]
    plain = TransitionModel.fit(goes_on + ends, prior=0.0)
    a, b = plain.locate("a"), plain.locate("b")
    assert plain.P[0].toarray()[a, b] == 0.75
    assert plain.success[:, a].tolist() == [0.0, 1.0]
    assert plain.counts[:, a].tolist() == [4, 4]
    assert plain.start[a] == 1.0
    pulled = TransitionModel.fit(goes_on + ends, prior=4.0)
    assert pulled.P[0].toarray()[a, b] == pytest.approx((3 + 4 * 3 / 8) / 8)
    assert pulled.success[1, a] == pytest.approx((4 + 4 * 4 / 8) / 8)
    assert pulled.success[0, a] == pytest.approx((0 + 4 * 4 / 8) / 8)


def test_untried_help_is_not_available_and_untried_nohelp_is_average(step, episode):
    """Help was never tried in b, nohelp never in c."""
    data = [episode([step(0, "a", 0), step(1, "b", 0)], i % 2 == 0) for i in range(10)]
    data += [episode([step(0, "a", 1), step(1, "c", 1)], True) for _ in range(10)]
    model = TransitionModel.fit(data, prior=10.0)
    a, b, c = (model.locate(key) for key in "abc")
    assert model.available[:, b].tolist() == [True, False]
    solution = solve(model, help_cost=0.0)
    assert solution.policy[b] == 0
    nohelp = model.P[0].toarray()
    np.testing.assert_allclose(nohelp[c, b], 10 / 20)  # of 20 nohelp decisions 10 went to b, 5 ended well
    assert model.success[0, c] == pytest.approx(5 / 20)
    assert solution.success[c] < 1.0 or solution.policy[c] == 1
    assert solution.policy[a] == 1


def test_episodes_with_errors_are_excluded_and_truncation_is_failure(step, episode):
    data = [episode([step(0, "a", 0, truncated=True)], False), episode([step(0, "a", 0, done=True)], True)]
    data += [episode([step(0, "z", 1)], True, error="the actor timed out")]
    model = TransitionModel.fit(data, prior=0.0)
    assert model.keys == ("a",)
    assert model.success[0, 0] == 0.5
    assert model.P[0].nnz == 0
    with pytest.raises(InvalidArgumentError, match="received none"):
        TransitionModel.fit(data[2:])


def test_the_time_limit_does_not_add_failures_to_the_rows(step, episode):
    """Nohelp stays in "a"; episodes are truncated after 4 steps. Help leads from "a" to "b" to the end."""
    rng = np.random.default_rng(0)
    data = []
    for _ in range(400):
        steps, where, success = [], "a", False
        for t in range(4):
            action = int(rng.random() < 0.5)
            done = where == "b" and action == 1
            success = done
            steps.append(step(t, where, action, left=4 - t, done=done, truncated=t == 3 and not done))
            if done:
                break
            where = "b" if action or where == "b" else "a"
        data.append(episode(steps, success))
    model = TransitionModel.fit(data, prior=0.0)
    assert model.levels == 4
    a = model.locate("a", None, 4)
    assert model.P[0].toarray()[a, model.locate("a", None, 3)] == pytest.approx(1.0)
    solution = solve(model, help_cost=0.1)
    assert solution.success[a] == pytest.approx(1.0, abs=0.02)
    assert solution.success[model.locate("a", None, 1)] < 0.02
    assert solution.success[model.locate("b", None, 1)] == pytest.approx(1.0, abs=0.05)
    assert solution.policy[model.locate("a", None, 2)] == 1
    without = TransitionModel.fit(data, prior=0.0, horizon=None)
    assert without.levels == 1
    assert without.success[0].max() == 0
    assert without.P[0].toarray().sum(axis=1).min() < 1  # the cut is a failure there


def test_a_step_may_keep_steps_left(step, episode):
    """Three steps keep steps_left, and the next one succeeds."""
    data = []
    for i in range(30):
        steps = [step(t, "follow", t % 2 if i % 2 else 0, left=2) for t in range(4)]
        data.append(episode([*steps, step(4, "there", i % 2, left=2, done=True)], True))
    model = TransitionModel.fit(data, prior=0.0)
    follow = model.locate("follow", None, 2)
    assert model.P[0].toarray()[follow, follow] == pytest.approx(0.7, abs=0.15)
    assert solve(model, help_cost=0.1).success[follow] > 0.9


def test_a_horizon_sets_steps_left_for_tasks_without_them(play, truth):
    data = play(truth(1), 200, np.random.default_rng(2))
    short = [Episode(0, 0, "t", "", 0.5, e.success and len(e) <= 4, e.usage, e.steps[:4]) for e in data]
    model = TransitionModel.fit(short, horizon=4)
    assert model.levels == 4
    assert model.start.reshape(4, -1)[-1].sum() == pytest.approx(1)
    assert TransitionModel.fit(short).levels == 1  # nobody counts, so there is no clock
    values = solve(model, help_cost=0.05).value.reshape(4, -1)
    assert (values[3] >= values[1] - 0.05).all()


def test_rare_and_new_states_are_located_at_their_feature_key(step, episode):
    data = []
    for i in range(40):
        feature = "near" if i % 2 else "far"
        data.append(episode([step(0, f"rare-{i}", i % 3 == 0, feature=feature)], i % 2 == 1))
    data += [episode([step(0, "common", i % 2, feature="far")], i % 2 == 1) for i in range(20)]
    model = TransitionModel.fit(data, prior=0.0)
    assert set(model.keys) == {"common", "near", "far"}
    assert model.locate("rare-1", "near") == model.locate("new", "near") == model.keys.index("near")
    assert model.locate("common", "far") == model.keys.index("common")
    assert model.locate("new", "never seen") == -1
    assert model.success[0, model.locate("new", "near")] == 1.0
    assert model.counts[0, model.locate("new", "far")] == pytest.approx(13 + 3)  # "common" lends three visits
    coverage = model.coverage()
    assert coverage["backoff_share"] == pytest.approx(40 / 60)
    assert coverage["good_turing_states"] == pytest.approx(40 / 60)
    assert coverage["recurrence"] == pytest.approx(20 / 60)
    assert coverage["unseen_start_mass"] == pytest.approx(40 / 60)
    alone = TransitionModel.fit(data, prior=0.0, backoff=None)
    assert alone.locate("new", "near") == -1
    assert len(alone.keys) == 41
    features = TransitionModel.fit(data, prior=0.0, key="feature")
    assert features.locate("anything", "far") >= 0


def test_costs_and_interventions_are_estimated(step, episode):
    data = [episode([step(0, "a", i % 3, cost=(0.0, 1.0, 2.5)[i % 3])], i % 3 > 0) for i in range(60)]
    data = [Episode(**{**{f: getattr(e, f) for f in e.__dataclass_fields__}, "usage": (0.0, 0.0)}) for e in data]
    model = TransitionModel.fit(data, prior=0.0)
    assert model.actions == 3
    np.testing.assert_allclose(model.cost[:, 0], [0, 1, 2.5])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "stat"}, UnknownNameError, "Did you mean 'state'"),
        ({"key": "feature"}, InvalidArgumentError, "reports none"),
        ({"backoff": "features"}, UnknownNameError, "Did you mean 'feature'"),
        ({"prior": "automatic"}, UnknownNameError, "Did you mean 'auto'"),
        ({"prior": -1.0}, InvalidArgumentError, "prior"),
        ({"min_visits": 0}, InvalidArgumentError, "min_visits"),
        ({"horizon": 0}, InvalidArgumentError, "horizon"),
    ],
)
def test_invalid_arguments_raise(arguments, error, message, step, episode):
    with pytest.raises(error, match=message):
        TransitionModel.fit([episode([step(0, "a", 0)])], **arguments)


def test_the_fitted_frontier_converges_to_the_true_one(play, truth):
    model = truth(0)
    exact = solve_frontier(model, gap=1e-4)
    budgets = np.linspace(0.1, 0.9, 5) * exact.usage[-1]
    errors = []
    for count in (150, 1500, 6000):
        fitted = TransitionModel.fit(play(model, count, np.random.default_rng(1)), horizon=None, backoff=None)
        errors.append(np.abs(solve_frontier(fitted).success_at(budgets) - exact.success_at(budgets)).max())
    assert errors[2] < 0.02
    assert errors[2] < errors[0] / 2


def test_shrinkage_reduces_the_bias_of_in_sample_values(play, truth):
    model = truth(3, 40)
    price, planned, gained = 0.05, {}, {}
    for prior in (0.0, 10.0):
        plans, worth = [], []
        for seed in range(4):
            data = play(model, 250, np.random.default_rng(seed))
            fitted = TransitionModel.fit(data, horizon=None, backoff=None, prior=prior)
            solution = solve(fitted, help_cost=price)
            policy = np.array([solution.action(fitted.locate(f"s{i}")) for i in range(40)])
            value = evaluate_policy(model, policy)
            plans.append(solution.expected_success - value.expected_success)
            worth.append(value.expected_success - price * value.expected_usage)
        planned[prior], gained[prior] = np.mean(plans), np.mean(worth)
    assert planned[0.0] > 0.02  # the plain counts promise too much
    assert planned[10.0] < planned[0.0] / 2
    assert gained[10.0] > gained[0.0] - 0.02  # at little loss; here every row of help differs from nohelp at random


def test_back_off_is_not_biased_by_easy_tasks(step, episode):
    """Easy tasks are visited often, hard ones once each, with equal feature keys."""
    easy = [episode([step(0, "easy", i % 2, feature="f")], True, number=0) for i in range(100)]
    hard = [episode([step(0, f"hard-{i}", i % 2, feature="f")], i % 10 == 0, number=i + 1) for i in range(100)]
    model = TransitionModel.fit(easy + hard, prior=0.0)
    assert model.success[0, model.locate("easy", "f")] == 1.0
    assert model.success[0, model.locate("hard-3", "f")] < 0.3
    never = evaluate_policy(model, np.zeros(model.n, int))
    assert never.expected_success == pytest.approx(0.5 + 0.5 * 0.2, abs=0.05)  # 10 of the 50 without help succeed


def test_time_in_the_nodes_separates_what_one_key_hides(step, episode) -> None:
    """The only key is the same throughout; help succeeds only with one step left, nohelp never."""
    episodes = []
    for i in range(300):
        p, steps, success = (i % 11) / 10, [], False
        rng = np.random.default_rng(i)
        for t in range(3):
            action = int(rng.random() < p)
            success = t == 2 and action == 1
            steps.append(step(t, "s", action, feature="f", left=3 - t, done=t == 2))
        episodes.append(episode(steps, success, number=i))
    pooled = TransitionModel.fit(episodes, key="feature", backoff=None, horizon=None, prior=0.0)
    timed = TransitionModel.fit(episodes, key="feature", backoff=None, prior=0.0, time_buckets=3)
    assert (pooled.n, timed.n, timed.levels) == (1, 3, 1)
    assert solve_budget(timed, budget=1.0).expected_success == pytest.approx(1.0)
    assert solve_budget(pooled, budget=1.0).expected_success < 0.9
    policy = solve_budget(timed, budget=1.0).policies[0]
    assert [policy.action(timed.locate(None, "f", left)) for left in (3, 2, 1)] == [0, 0, 1]
    assert timed.locate(None, "f", 99) == timed.locate(None, "f") == timed.locate(None, "f", 3) >= 0
    assert timed.locate(None, "g", 1) == -1


def test_few_buckets_have_about_equally_many_decisions_and_survive_saving(play, truth, tmp_path) -> None:
    episodes = play(truth(1), 600, np.random.default_rng(0), horizon=12)
    model = TransitionModel.fit(episodes, time_buckets=3, prior=1.0)
    edges = model.fitted.settings["time_edges"]
    left = np.array([s.steps_left for e in episodes for s in e])
    assert len(edges) == 2
    assert (np.bincount(np.searchsorted(edges, left)) > len(left) / 6).all()
    model.save(tmp_path / "m.npz")
    again = TransitionModel.load(tmp_path / "m.npz")
    keys = [(s.state_key, s.feature_key, s.steps_left) for e in episodes[:50] for s in e]
    found = model.locate_many(*zip(*keys, strict=True))
    assert (found >= 0).all()
    assert np.array_equal(found, again.locate_many(*zip(*keys, strict=True)))


def test_time_in_the_nodes_needs_steps_left(play, truth) -> None:
    episodes = play(truth(0), 50, np.random.default_rng(0))
    with pytest.raises(InvalidArgumentError, match="time_buckets needs steps left"):
        TransitionModel.fit(episodes, time_buckets=4)
    with pytest.raises(InvalidArgumentError, match="time_buckets must be at least 2"):
        TransitionModel.fit(play(truth(0), 50, np.random.default_rng(0), horizon=9), time_buckets=1)
