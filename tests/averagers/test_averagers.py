"""Deep averagers against counted tables and known optima."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from walk import Walk

from selfreg_gym.averagers import AveragerFrontier, HiddenLayers, LearnedValues, fit_averagers, solve_averagers
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.fitted.decisions import LoggedDecisions
from selfreg_gym.fitted.settings import Settings
from selfreg_gym.fitted.solve import fit_decisions
from selfreg_gym.solver import solve_frontier


@pytest.fixture(scope="module")
def walk() -> Walk:
    """The continuous task."""
    return Walk()


def random_table(episodes: int, *, states: int = 4, actions: int = 3, seed: int = 0) -> LoggedDecisions:
    """Episodes of random states, costs and ends; the representation is the one-hot state."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 6, size=episodes)
    last = np.zeros(length.sum(), bool)
    last[np.cumsum(length) - 1] = True
    action = rng.integers(actions, size=len(last))
    return LoggedDecisions(
        np.eye(states, dtype=np.float32)[rng.integers(states, size=len(last))], action,
        np.where(action > 0, action + rng.random(len(last)), 0.0), last, last & (rng.random(len(last)) < 0.4),
        np.arange(episodes) % 7, actions=actions,
    )  # fmt: skip


def test_with_one_hot_states_it_is_the_counted_table() -> None:
    data = random_table(60)
    model = fit_averagers(data, neighbours=len(data), same_episode=True, smoothing=1e-9, folds=1)
    found = model.transitions()
    state, n = data.x.argmax(axis=1), len(data)
    following = np.r_[state[1:], 0]
    for a in range(3):
        dense = found.P[a].toarray()[-n:, -2 * n : -n]  # from the level with most steps left to the next
        for s in range(4):
            same = (state == s) & (data.action == a)
            node = int(np.flatnonzero(state == s)[0])
            assert found.success[a, node] == pytest.approx(data.success[same].mean(), abs=1e-6)
            assert found.cost[a, node] == pytest.approx(data.cost[same].mean() if a else 0.0, abs=1e-5)
            for t in range(4):
                counted = (same & ~data.last & (following == t)).sum() / same.sum()
                assert dense[node, state == t].sum() == pytest.approx(counted, abs=1e-6)


def test_no_decision_leads_to_its_own_episode() -> None:
    data = random_table(40)
    model = fit_averagers(data, neighbours=10)
    near = model.neighbours_of(np.arange(len(data)))
    other = data.episode[np.maximum(near.index, 0)]
    assert ((other != data.episode[:, None, None]) | (near.index < 0)).all()
    fold = model.fold
    judged = model.neighbours_of(model.rows([0]), [1, 2, 3])
    assert set(fold[judged.index[judged.index >= 0]].tolist()) == {1, 2, 3}
    tasks = data.task[data.episode]
    assert not set(tasks[fold == 0].tolist()) & set(tasks[fold > 0].tolist())


def regret(frontier: AveragerFrontier, walk: Walk, *, episodes: int = 3000) -> float:
    """Mean over the prices of the optimal success at the played usage minus the played success."""
    exact, found = solve_frontier(walk.exact(), gap=1e-4), []
    for price in frontier.prices:
        success, usage = walk.play(lambda x, price=price: frontier.action(x, price), episodes, seed=99)
        found.append(float(exact.success_at(usage)) - success)
    return float(np.mean(found))


def test_regret_falls_with_episodes_to_a_continuous_optimum(walk: Walk) -> None:
    regrets = []
    for episodes in (60, 1200):
        model = fit_averagers(walk.collect(episodes, seed=0), neighbours=50, folds=2)
        frontier = solve_averagers(model, prices=4, neighbours=(5, 50))
        regrets.append(regret(frontier, walk))
    assert regrets[1] < 0.012
    assert regrets[0] > 0.03


def test_held_out_values_are_those_of_play_and_hindsight_promises_more(walk: Walk) -> None:
    data = walk.collect(1500, seed=3)
    honest = solve_averagers(fit_averagers(data, neighbours=30, folds=2), prices=[0.15, 0.2])
    near = fit_averagers(data, neighbours=7, smoothing=0.01, folds=2, same_episode=True)
    hindsight = solve_averagers(near, prices=[0.15, 0.2])
    for i, price in enumerate(honest.prices):
        success, usage = walk.play(lambda x, price=price: honest.action(x, price), 4000, seed=1)
        weights = np.eye(len(honest.estimates.usage))[i]
        low, high = honest.estimates.interval(weights, of="success")
        assert low - 0.02 < success < high + 0.02
        assert honest.estimates.usage[i] == pytest.approx(usage, abs=0.2)
        assert hindsight.planned[0, i] > success + 0.15  # it follows episodes whose outcome it knows
        assert hindsight.estimates.success[i] < hindsight.planned[0, i] - 0.1


def test_the_policy_of_a_budget_uses_the_budget(walk: Walk) -> None:
    frontier = solve_averagers(fit_averagers(walk.collect(1000, seed=5), folds=2), prices=8)
    policy = frontier.policy(2.0)
    assert policy.expected_usage == pytest.approx(2.0)
    played = [walk.play(lambda x, c=c: policy.action(x, c), 4000, seed=2) for c in range(len(policy.weights))]
    success, usage = policy.weights @ np.array(played)
    assert usage == pytest.approx(2.0, abs=0.15)
    assert success == pytest.approx(policy.expected_success, abs=0.05)
    assert frontier.rows()[0]["policy"] == "never"


def test_far_decisions_are_not_supported_and_may_cost(walk: Walk) -> None:
    data = walk.collect(300, seed=6)
    frontier = solve_averagers(fit_averagers(data, folds=2), prices=[0.1, 0.2])
    x = np.array([[0.5, 0.6], [9.0, 0.6]], np.float32)
    assert frontier.supported(x).tolist() == [True, False]
    costly = solve_averagers(fit_averagers(data, folds=2, distance_cost=0.05), prices=[0.1, 0.2])
    near, far = costly.values(x)[0]
    assert far.max() == 0.0 < near.min() < frontier.values(x)[0][0].min()


def test_an_action_that_was_never_taken_is_never_chosen() -> None:
    data = replace(random_table(80, actions=2), actions=3)
    frontier = solve_averagers(fit_averagers(data, neighbours=5, folds=2), prices=[0.0, 0.1])
    assert set(frontier.action(data.x, 0.0).tolist()) <= {0, 1}
    success, usage = frontier.values(data.x)
    assert (success[..., 2] == success[..., 0]).all()
    assert (usage[..., 2] > usage[..., 0]).all()


def test_equal_seeds_give_equal_results_and_batches_do_not_matter(walk: Walk) -> None:
    data = walk.collect(200, seed=7)
    first, second = (solve_averagers(fit_averagers(data, folds=2, seed=4), prices=5) for _ in range(2))
    x = data.x[:50]
    whole = first.values(x)
    assert all((a == b).all() for a, b in zip(whole, second.values(x), strict=True))
    alone = [first.values(x[i : i + 1]) for i in range(50)]
    for q in range(2):
        assert (np.concatenate([one[q] for one in alone]) == whole[q]).all()


def test_a_saved_frontier_gives_the_same_values(walk: Walk, tmp_path: Path) -> None:
    frontier = solve_averagers(fit_averagers(walk.collect(150, seed=8), dimensions=1, folds=2), prices=4)
    frontier.save(tmp_path / "saved")
    loaded = AveragerFrontier.load(tmp_path / "saved")
    x = np.random.default_rng(0).random((30, 2)).astype(np.float32)
    assert all((a == b).all() for a, b in zip(frontier.values(x), loaded.values(x), strict=True))
    assert repr(loaded) == repr(frontier)
    assert loaded.rows() == frontier.rows()
    assert loaded.limit == frontier.limit
    file = tmp_path / "saved" / "averagers.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="solve the averagers again"):
        AveragerFrontier.load(tmp_path / "saved")


@pytest.mark.parametrize("kind", [HiddenLayers, LearnedValues])
def test_a_learned_representation_is_saved_with_the_frontier(
    kind: type[HiddenLayers | LearnedValues], walk: Walk, tmp_path: Path
) -> None:
    data = walk.collect(60, seed=10)
    small = Settings(prices=4, folds=2, members=1, hidden=8, rounds=1, final_rounds=0, steps=4)
    learned = kind(fit_decisions(data, small))
    model = fit_averagers(replace(data, x=learned(data.x)), neighbours=10, folds=2)
    frontier = solve_averagers(model, prices=[0.1, 0.2]).with_inputs(learned)
    assert frontier.inputs == 2
    frontier.save(tmp_path / "saved")
    loaded = AveragerFrontier.load(tmp_path / "saved")
    assert type(loaded.representation) is kind
    assert all((a == b).all() for a, b in zip(frontier.values(data.x), loaded.values(data.x), strict=True))
    with pytest.raises(InvalidArgumentError, match="a representation can be saved if it is HiddenLayers"):
        frontier.with_inputs(Halved()).save(tmp_path / "other")


class Halved:
    """A representation of the caller."""

    inputs = 2

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x / 2


def test_bad_arguments_are_explained(walk: Walk) -> None:
    data = walk.collect(20, seed=9)
    with pytest.raises(InvalidArgumentError, match="neighbours"):
        fit_averagers(data, neighbours=0)
    with pytest.raises(InvalidArgumentError, match="smoothing"):
        fit_averagers(data, smoothing=0.0)
    with pytest.raises(InvalidArgumentError, match="held-out values need at least two folds"):
        solve_averagers(fit_averagers(data, folds=1))
    frontier = solve_averagers(fit_averagers(data, folds=2), prices=[0.1, 0.2])
    with pytest.raises(InvalidArgumentError, match=r"x must have shape \(n, 2\), received \(3, 5\)"):
        frontier.values(np.zeros((3, 5)))
