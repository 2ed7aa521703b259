"""The helpers `fitted` and `actor-signals` on coins whose actor sometimes knows the answer and says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfreg_gym import InterventionEnv, InterventionVectorEnv, Rollouts, collect, run_episodes
from selfreg_gym.agents.helpers.actor_signals import ActorSignals
from selfreg_gym.agents.helpers.averagers import Averagers
from selfreg_gym.agents.helpers.fitted import Fitted
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.fitted import FittedFrontier, solve_fitted
from selfreg_gym.fitted.student import Student
from selfreg_gym.inputs import DecisionTable
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import check_helper
from selfreg_gym.types import Act, Decision, Episode, Intervention

SMALL = {"prices": 6, "folds": 2, "members": 1, "hidden": 32, "rounds": 6, "batch": 128}


class Sometimes:
    """Knows the coin in half of the decisions, and is then sure of it; otherwise it says "heads" and is unsure."""

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        found = []
        for decision in decisions:
            coin, knows = decision.task.get_wrapper_attr("expert_action")(), decision.rng.random() < 0.5
            text = coin if knows else "heads"
            p = np.where([one == text for one in ("heads", "tails")], *((0.98, 0.02) if knows else (0.55, 0.45)))
            found.append(Act(text, tuple(np.log(p).tolist())))
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Sometimes:
        return self


ENV = {"task": "selfreg/Coin-v0", "actor": Sometimes(), "interventions": ["expert"]}


def vector(n: int, **more: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(n, **{**ENV, **more}, autoreset_mode="Disabled")


def play(helper: Any, *, episodes: int = 150, n: int = 16) -> list[Episode]:
    specs = [EpisodeSpec(100 + i % 50, 7000 + i) for i in range(episodes)]
    return list(run_episodes(vector(n), specs, helper, ask_actor_always=True))


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Rollouts:
    store = tmp_path_factory.mktemp("values") / "rollouts.sqlite"
    return collect(vector(32), store=store, tasks=range(60), episodes=22, ask_actor_always=True, progress=False)


@pytest.fixture(scope="module")
def teacher(rollouts: Rollouts) -> FittedFrontier:
    inputs = ("features", "steps_left", "actor", "state")
    return solve_fitted(rollouts, inputs=inputs, action_kinds=rollouts.action_kinds, progress=False, **SMALL)


@pytest.fixture(scope="module")
def own(rollouts: Rollouts) -> FittedFrontier:
    return solve_fitted(rollouts, inputs=("features", "steps_left"), progress=False, **SMALL)


@pytest.fixture(scope="module")
def signals(rollouts: Rollouts, teacher: FittedFrontier) -> ActorSignals:
    return ActorSignals.train(rollouts, teacher, costs=[1.0], progress=False, batch=64)


def test_a_helper_of_the_teachers_inputs_follows_the_teacher(rollouts: Rollouts, own: FittedFrontier) -> None:
    helper = Fitted.train(rollouts, own, costs=[1.0], progress=False)
    assert helper.values is own
    check_helper(helper)
    x = own.encoder.encode(DecisionTable.from_rollouts(rollouts))
    low = own.action(x, float(own.prices[0]))
    at_lowest = helper.with_price(float(own.prices[0]))
    np.testing.assert_array_equal(at_lowest.predict(x, episode_start=np.ones(len(x), bool))[0], low)


def test_the_state_key_is_for_teachers_only(rollouts: Rollouts, teacher: FittedFrontier) -> None:
    helper = Fitted.train(rollouts, teacher, costs=[1.0], progress=False, epochs=1)
    assert isinstance(helper.values, Student)
    assert helper.values.encoder is not None
    assert helper.values.encoder.names == ("features", "steps_left", "actor")
    with pytest.raises(InvalidArgumentError, match="must not read state"):
        Fitted.train(rollouts, teacher, inputs=("state",), costs=[1.0])


def test_a_student_asks_where_the_actor_is_unsure(signals: ActorSignals) -> None:
    assert signals.info["inputs"] == ["actor", "steps_left"]
    assert min(signals.info["r2"]) > 0.5
    episodes = play(signals.with_price(0.2))
    steps = [step for episode in episodes for step in episode.steps]
    sure = np.array([max(step.actor_logprobs or ()) > np.log(0.9) for step in steps])
    asked = np.array([step.action == 1 for step in steps])
    assert (asked == ~sure).mean() > 0.95
    assert np.mean([episode.success for episode in episodes]) > 0.95


def test_usage_and_success_of_a_student_are_expected(signals: ActorSignals) -> None:
    played, expected = [], []
    for position in np.arange(1, 6.5, 0.5):  # between the prices too, where usage jumps
        at = signals.with_knob(position)
        episodes = play(at, episodes=150)
        played.append([np.mean([episode.cost for episode in episodes]), np.mean([e.success for e in episodes])])
        expected.append([at.expected_usage, at.expected_success])
    assert np.abs(np.array(played) - np.array(expected)).mean() < 0.2
    assert np.corrcoef(np.array(played)[:, 0], np.array(expected)[:, 0])[0, 1] > 0.9


def test_the_ends_of_the_knob_are_never_and_always(signals: ActorSignals) -> None:
    low, high = signals.knob_bounds
    assert sum(episode.cost for episode in play(signals.with_knob(low), episodes=20)) == 0
    assert all(step.action == 1 for episode in play(signals.with_knob(high), episodes=20) for step in episode.steps)


def test_usage_is_expected_and_rises_with_the_budget(rollouts: Rollouts, own: FittedFrontier) -> None:
    helper = Fitted.train(rollouts, own, costs=[1.0], progress=False)
    assert set(helper.for_budgets([0.5, 1.0])) == {0.5, 1.0}
    played, expected = [], []
    for position in np.arange(0, 7.5, 0.5):
        at = helper.with_knob(position)
        episodes = play(at, episodes=150)
        played.append([np.mean([episode.cost for episode in episodes]), np.mean([e.success for e in episodes])])
        expected.append([at.expected_usage, at.expected_success])
    errors = np.abs(np.array(played) - np.array(expected))
    assert errors[[0, -1]].max() < 0.2
    assert errors[:, 0].mean() < 0.3
    assert errors[:, 1].mean() < 0.1
    assert (np.diff(played, axis=0) > -0.05).all()
    assert helper.with_budget(0.9).expected_usage == pytest.approx(0.9)
    assert helper.with_budget(99).knob == helper.knob_bounds[1]


def test_a_curve_has_positions_between_the_prices(own: FittedFrontier) -> None:
    curve = [[0, 0, 0.4], [1, 0.5, 0.5], [5.5, 1.0, 0.7], [6, 3.0, 0.8], [7, 4.0, 0.8]]
    helper = Fitted(own, costs=[1.0], curve=curve)
    assert helper.with_budget(2.0).knob == pytest.approx(5.75)
    assert helper.with_knob(5.75).expected_success == pytest.approx(0.75)
    pairs = Fitted(own, costs=[1.0], curve=[[i, i / 10] for i in range(8)])  # as in older versions
    assert pairs.with_budget(2.5).knob == pytest.approx(2.5)
    assert pairs.with_knob(2.5).expected_success == pytest.approx(0.25)
    for wrong in ([[0, 0, 0], [7, 1, 1], [6, 2, 1]], [[0, 0], [1, 1]], [[1, 0, 0], [7, 1, 1]], "text"):
        with pytest.raises(InvalidArgumentError, match=r"positions rise from 0 to P \+ 1 = 7"):
            Fitted(own, costs=[1.0], curve=wrong)


def test_a_hard_cap_is_kept(rollouts: Rollouts, tmp_path: Path) -> None:
    capped = solve_fitted(rollouts, inputs=("features", "steps_left"), cap=2, progress=False, **SMALL)
    with pytest.raises(InvalidArgumentError, match="a student learns from values without a hard cap"):
        ActorSignals.train(rollouts, capped, costs=[1.0], progress=False)
    helper = Fitted.train(rollouts, capped, costs=[1.0], progress=False)
    check_helper(helper)
    success = []
    for cap in (1, 2):
        one = Fitted.train(rollouts, capped, costs=[1.0], cap=cap, progress=False).with_knob(len(capped.prices))
        one.save_pretrained(tmp_path / str(cap))
        one = Fitted.from_pretrained(tmp_path / str(cap))
        assert one.cap == cap
        episodes = play(one)
        calls = np.array([sum(step.action > 0 for step in episode.steps) for episode in episodes])
        assert calls.max() == cap
        assert calls.mean() == pytest.approx(one.expected_usage, abs=0.2)
        success.append(np.mean([episode.success for episode in episodes]))
        assert success[-1] == pytest.approx(one.expected_success, abs=0.12)
        alone = play(one, episodes=20, n=1)
        assert [e.steps for e in sorted(alone, key=_key)] == [e.steps for e in sorted(play(one, episodes=20), key=_key)]
    assert success[1] > success[0] + 0.05
    always = play(helper.with_knob(helper.knob_bounds[1]), episodes=20)
    assert max(sum(step.action > 0 for step in episode.steps) for episode in always) == 2
    with pytest.raises(InvalidArgumentError, match="cap"):
        Fitted(capped, costs=[1.0], cap=3)


def _key(episode: Episode) -> tuple[int, int]:
    return episode.task_index, episode.seed


def test_the_batch_does_not_matter(signals: ActorSignals) -> None:
    helper = signals.with_knob(0.4)  # a coin per episode
    runs = []
    for n in (1, 5):
        episodes = play(helper, episodes=20, n=n)
        runs.append({(e.task_index, e.seed): [step.action for step in e.steps] for e in episodes})
    assert runs[0] == runs[1]
    assert len({tuple(actions) for actions in runs[0].values()}) > 2


def test_saved_helpers_are_the_same(
    signals: ActorSignals, rollouts: Rollouts, own: FittedFrontier, tmp_path: Path
) -> None:
    signals.with_budget(1.0).save_pretrained(tmp_path / "values" / "actor-signals")
    assert ActorSignals.made_in(tmp_path)
    assert not Fitted.made_in(tmp_path)
    again = ActorSignals.from_run(tmp_path, budget=1.0, seed=3)
    assert again.knob == signals.with_budget(1.0).knob
    assert again.seed == 3
    assert "actor, steps_left" in (tmp_path / "values" / "actor-signals" / "README.md").read_text()
    Fitted.train(rollouts, own, costs=[1.0], progress=False).save_pretrained(tmp_path / "values" / "fitted")
    fitted = Fitted.from_run(tmp_path, budget=0.9)
    assert fitted.expected_usage == pytest.approx(0.9)
    before, after = (play(one, episodes=20) for one in (signals.with_budget(1.0), again.with_seed(0)))
    assert [e.steps for e in before] == [e.steps for e in after]


def test_averagers_follow_the_nearest_decisions(rollouts: Rollouts, own: FittedFrontier, tmp_path: Path) -> None:
    helper = Averagers.train(rollouts, own, costs=[1.0], neighbours=(10, 30), progress=False)
    check_helper(helper)
    assert helper.info["neighbours"] in (10, 30)
    errors = []
    for position in np.linspace(1, len(helper.prices), 4).round():  # grid prices: usage jumps between them
        at = helper.with_knob(position)
        episodes = play(at)
        played = np.array([np.mean([e.cost for e in episodes]), np.mean([e.success for e in episodes])])
        errors.append(np.abs(played - [at.expected_usage, at.expected_success]))
    assert (np.mean(errors, axis=0) < [0.25, 0.08]).all()
    at = helper.with_budget(0.9)
    at.save_pretrained(tmp_path / "values" / "averagers")
    again = Averagers.from_run(tmp_path, budget=0.9)
    assert [e.steps for e in play(again, episodes=20)] == [e.steps for e in play(at, episodes=20)]


def test_averagers_need_a_representation(rollouts: Rollouts, own: FittedFrontier) -> None:
    with pytest.raises(InvalidArgumentError, match="a teacher, or names of inputs, and not both"):
        Averagers.train(rollouts, costs=[1.0])
    with pytest.raises(InvalidArgumentError, match="a teacher, or names of inputs, and not both"):
        Averagers.train(rollouts, own, inputs=("steps_left",), costs=[1.0])
    with pytest.raises(UnknownNameError, match="unknown representation: received 'layers'"):
        Averagers.train(rollouts, own, representation="layers", costs=[1.0])


def test_damaged_and_foreign_folders_are_refused(signals: ActorSignals, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has none"):
        ActorSignals.from_pretrained(tmp_path)
    signals.save_pretrained(tmp_path)
    record = tmp_path / "helper.json"
    record.write_text(record.read_text().replace('"student"', '"frontier"'))
    with pytest.raises(CheckpointError):
        ActorSignals.from_pretrained(tmp_path)


def test_other_envs_are_refused(signals: ActorSignals, rollouts: Rollouts, own: FittedFrontier) -> None:
    two = InterventionEnv(**{**ENV, "interventions": ["expert", Intervention(Sometimes(), name="other")]})
    with pytest.raises(InvalidArgumentError, match="was trained for 1 intervention"):
        signals.for_interventions(two.interventions)
    with pytest.raises(InvalidArgumentError, match=r"use it on wrap\(env\)"):
        signals.predict(["a text"])
    silent = signals.wrap(InterventionEnv(**{**ENV, "actor": "scripted"}))
    with pytest.raises(InvalidArgumentError, match="gives log-probabilities"):
        silent.reset(seed=0)
    values = Student.train(np.eye(4, dtype=np.float32), (np.ones((4, 4, 1)),) * 2, range(4), tasks=range(4), epochs=1)
    with pytest.raises(InvalidArgumentError, match="fitted to arrays"):
        Fitted(values, costs=[1.0])
    with pytest.raises(InvalidArgumentError, match="K = 1 interventions"):
        Fitted(own, costs=[1.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="K = 1 interventions"):
        Fitted.train(rollouts, own, costs=[1.0, 2.0])
