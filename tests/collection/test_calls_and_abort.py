"""Collections with calls of several steps and with random aborts: propensities, identity of the store, continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import Corridor, Hasty, exact, optimum, played
from hypothesis import given
from hypothesis import strategies as st

from selfreg_gym import Intervention, collect
from selfreg_gym.errors import InvalidArgumentError, StoreError
from selfreg_gym.fitted.solve import logged_decisions
from selfreg_gym.off_policy.logged import Logged
from selfreg_gym.off_policy.replay import replayed_actions
from selfreg_gym.playing.random_help import RandomHelp
from selfreg_gym.solver import solve
from selfreg_gym.testing import ExpertActor
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.transitions.calls import with_abort


def arguments(duration: Any = 2, cost_per: Any = "call", **more: Any) -> dict[str, Any]:
    expert = Intervention(ExpertActor(), name="expert", duration=duration, cost_per=cost_per)
    return {"task": Corridor, "actor": Hasty(), "interventions": [expert], **more}


def collected(path: Path, env: dict[str, Any], **more: Any) -> Any:
    settings = {"tasks": range(3), "episodes": 12, "help_probabilities": (0.2, 0.6), "progress": False}
    return collect(env, store=path, **{**settings, **more})


def test_continuations_are_stored_with_the_only_possible_action(tmp_path: Path) -> None:
    with collected(tmp_path / "a.sqlite", arguments()) as rollouts:
        steps = [step for episode in rollouts for step in episode.steps]
        assert any(step.continuation for step in steps)
        for step in steps:
            assert step.propensities is not None
            expected = (0.0, 1.0) if step.continuation else None
            assert expected is None or step.propensities == expected
        decisions = [d for episode in rollouts for d in episode.decisions]
        assert {d.propensities for d in decisions} == {
            tuple(np.array([1 - p, p], np.float32).tolist()) for p in (0.2, 0.6)
        }


def test_a_store_is_continued_with_the_same_durations_only(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    collected(path, arguments(2)).close()
    collected(path, arguments(2)).close()
    for other in (arguments(3), arguments(1), arguments(2, "step"), arguments("end")):
        with pytest.raises(StoreError, match="durations"):
            collected(path, other)
    with pytest.raises(StoreError, match="abort"):
        collected(path, arguments(2, abort=True))
    plain = tmp_path / "b.sqlite"
    with collected(plain, arguments(1)) as rollouts:
        assert "durations" not in rollouts.spec["env"]["identity"]  # as in stores of earlier versions


def test_aborts_are_drawn_with_their_probability_and_change_no_earlier_step(tmp_path: Path) -> None:
    env = arguments(2, abort=True)
    with collected(tmp_path / "a.sqlite", env, episodes=60) as plain:
        whole = {(e.task_index, e.seed): e for e in plain}
        assert not any(e.aborted for e in whole.values())
    with collected(tmp_path / "b.sqlite", env, episodes=60, abort_probability=0.15) as rollouts:
        episodes = list(rollouts)
    decisions = [d for e in episodes for d in e.decisions]
    share = np.mean([d.action == 2 for d in decisions])
    assert share == pytest.approx(0.15, abs=0.05)
    for e in episodes:
        other = whole[e.task_index, e.seed]
        kept = len(e.steps) - e.aborted
        assert [s.observation for s in e.steps[:kept]] == [s.observation for s in other.steps[:kept]]
        assert e.aborted or e.success == other.success
        assert all(s.propensities is not None and sum(s.propensities) == pytest.approx(1) for s in e.steps)
        assert not e.aborted or not (e.success or e.steps[-1].cost)
    with pytest.raises(StoreError, match="abort_probability"):
        collected(tmp_path / "b.sqlite", env, episodes=60)


def test_an_abort_needs_the_action() -> None:
    with pytest.raises(InvalidArgumentError, match="0 without abort=True"):
        collected(Path("unused.sqlite"), arguments(), abort_probability=0.1)
    with pytest.raises(InvalidArgumentError, match="below 1"):
        collected(Path("unused.sqlite"), arguments(abort=True), abort_probability=1.0)


@given(p=st.floats(0, 1), q=st.floats(0, 0.9), u=st.tuples(*[st.floats(0, 0.999)] * 3))
def test_the_drawn_action_has_a_positive_propensity(p: float, q: float, u: tuple[float, float, float]) -> None:
    help = RandomHelp(2, abort=True, abort_probability=q)
    chances = help.propensities(p)
    assert sum(chances) == pytest.approx(1, abs=1e-6)
    assert chances[3] == pytest.approx(q, abs=1e-6)
    assert chances[0] == pytest.approx((1 - q) * (1 - p), abs=1e-6)
    action = help.draw(p, u[0], u[1], None, u[2])
    assert chances[action] > 0 or min(abs(u[0] - p), abs(u[2] - q)) < 1e-6
    assert help.draw(p, u[0], u[1], [False, True, False, False], u[2]) == 1


def test_models_fitted_to_aborted_episodes_are_not_biased() -> None:
    # Without aborts, half of the episodes that were aborted would have gone on to the goal.
    episodes = played(1, "call", 4000, abort_probability=0.12)
    assert np.mean([e.aborted for e in episodes]) > 0.3
    found = solve(TransitionModel.fit(episodes, prior=0.0, backoff=None), help_cost=0.05)
    success, usage = optimum(0.05, 1)
    assert found.expected_success - 0.05 * found.expected_usage == pytest.approx(success - 0.05 * usage, abs=0.03)


def test_the_optimum_does_not_abort() -> None:
    model = exact()
    aborting = with_abort(model)
    assert aborting.actions == 3
    for price in (0.0, 0.05, 0.2, 1.0):
        one, other = solve(model, help_cost=price), solve(aborting, help_cost=price)
        assert other.value.tolist() == pytest.approx(one.value.tolist(), abs=1e-12)
        assert other.policy.max() < 2
    assert other.success_by_action[2].tolist() == [0.0] * model.n
    assert other.usage_by_action[2].tolist() == [0.0] * model.n


def test_logged_aborts_are_an_action_of_off_policy_evaluation_and_no_data_of_fitted_values() -> None:
    episodes = played("subgoal", "call", 80, abort_probability=0.2)
    logged = Logged.of(episodes)
    assert (logged.interventions, logged.abort) == (2, True)
    assert logged.outcome[logged.action == 2].sum() == 0
    answers = replayed_actions(episodes, lambda text: 2 if "cell 3" in text else 0)
    texts = [d.observation for e in episodes for d in e.decisions]
    assert answers.tolist() == [2 if "cell 3" in text else 0 for text in texts]
    data = logged_decisions(episodes, np.zeros((len(texts), 1), np.float32) + np.arange(len(texts))[:, None])
    assert data.actions == 2
    assert data.aborted is not None
    assert data.aborted.sum() == sum(e.aborted for e in episodes) == data.cut.sum()
