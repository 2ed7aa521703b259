"""Calibration on the Coin task: knobs whose usage is smooth, stepped, out of reach, or noisy."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from selfreg_gym.calibration import CoinMixture, calibrate, calibrate_many, load_calibrations, search
from selfreg_gym.errors import CheckpointError, FailedEpisodesError, InvalidArgumentError
from selfreg_gym.evaluation.planning import evaluation_plan
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.types import HelperPolicy, Intervention

TASKS = range(40)
ALWAYS = 3.5  # mean number of coins


class Expert:
    def act(self, decisions):
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]


class Rate(HelperPolicy):
    """Asks with probability ``knob``, drawn in batch order from its seed."""

    knob_bounds = (0.0, 1.0)

    def __init__(self, knob: float = 0.5, seed: int = 0) -> None:
        self.knob, self.seed = knob, seed

    def with_knob(self, x):
        return Rate(x, self.seed)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        rng = np.random.default_rng(self.seed) if state is None else state
        return (rng.random(len(observation)) < self.knob).astype(int), rng


class LastCoins(HelperPolicy):
    """Asks while fewer than ``knob`` coins are left: a step function of the knob with five wide plateaus."""

    knob_bounds = (0.0, 10.0)

    def __init__(self, knob: float = 5.0) -> None:
        self.knob = knob

    def with_knob(self, x):
        return LastCoins(x)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        left = np.array([int(o.split()[3]) - int(o.split()[1]) + 1 if o[0] == "C" else 99 for o in observation])
        return (left <= self.knob).astype(int), None


class Offset(LastCoins):
    """The same on an offset scale with distant bounds, as for a logit."""

    knob_bounds = (-20.0, 20.0)
    knob_step = 0.5

    def __init__(self, knob: float = 0.0) -> None:
        super().__init__(knob)

    def with_knob(self, x):
        return Offset(x)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        left = np.array([int(o.split()[3]) - int(o.split()[1]) + 1 if o[0] == "C" else 99 for o in observation])
        noise = np.array([(zlib.crc32(o.encode()) % 1000) / 1000 for o in observation])  # the same in every process
        return (3 * self.knob + noise > left - 2).astype(int), None


class Memory(HelperPolicy):
    """Counts its own steps; asks from the start of an episode for ``n`` steps."""

    def __init__(self, n: int) -> None:
        self.n = n

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        step = np.where(episode_start, 0, 0 if state is None else state) + 1
        return (step <= self.n).astype(int), step


@pytest.fixture(scope="module")
def env():
    kwargs = {
        "task": "selfreg/Coin-v0",
        "actor": lambda observation: "heads",
        "interventions": [Intervention(Expert(), name="see")],
    }
    return make_env(kwargs, 32)


def new_usage(helper, env, episodes=40, seed=99):
    specs = evaluation_plan(TASKS, episodes, seed=seed)
    return float(np.mean([episode.cost for episode in run_episodes(env, specs, helper, record_steps=False)]))


@pytest.mark.parametrize("helper", [Rate(), LastCoins(), Offset()])
@pytest.mark.parametrize("budget", [0.3, 1.0, 2.0])
def test_new_usage_meets_the_budget(env, helper, budget):
    found = calibrate(helper, env, budget=budget, episodes=400, tasks=TASKS, seed=1)
    assert found.calibration["met"]
    assert new_usage(found, env) == pytest.approx(budget, abs=0.12)
    assert len(found.calibration["probes"]) <= 12


def test_inside_a_jump_the_two_sides_are_mixed(env):
    found = calibrate(LastCoins(), env, budget=1.3, episodes=400, tasks=TASKS)
    assert isinstance(found, CoinMixture)
    assert 0 < found.weight < 1
    low, high = found.calibration["knobs"]
    assert np.floor(high) - np.floor(low) == 1  # neighbouring plateaus, found by bisection


def test_probes_play_the_same_episodes_and_only_training_tasks(env, monkeypatch):
    seen = []

    def spying(env, specs, helper, **more):
        seen.append([(spec.task_index, spec.seed) for spec in specs])
        return run_episodes(env, specs, helper, **more)

    monkeypatch.setattr(search, "run_episodes", spying)
    calibrate(Rate(0.9), env, budget=1.0, episodes=60, max_episodes=60, tasks=TASKS, seed=5)
    assert len(seen) > 1
    assert all(block == seen[0] for block in seen)
    assert len(set(seen[0])) == 60
    assert {task for task, _ in seen[0]} == set(TASKS)
    tested = {(spec.task_index, spec.seed) for spec in evaluation_plan(TASKS, 50, seed=5)}
    assert not tested & set(seen[0])  # the same seed gives fresh episodes here


def test_budgets_of_one_helper_share_their_probes(env):
    budgets = {"a": 0.5, "b": 1.0, "c": 1.5, "d": 2.0}
    helper = Rate()
    few = {"episodes": 200, "max_episodes": 200, "tasks": TASKS}
    many = calibrate_many({k: (helper, c) for k, c in budgets.items()}, env, **few)
    apart = [calibrate(helper, env, budget=c, **few) for c in budgets.values()]
    assert len(many["d"].calibration["probes"]) < sum(len(one.calibration["probes"]) for one in apart)
    knobs = [many[key].calibration.get("knob", many[key].calibration.get("knobs")) for key in budgets]
    copies = {k: (Rate(0.1 + c / 5), c) for k, c in budgets.items()}  # apart in their knob alone: the same policy
    equal = calibrate_many(copies, env, **few)
    assert len(equal["d"].calibration["probes"]) < sum(len(one.calibration["probes"]) for one in apart)
    flat = [float(np.mean(knob)) for knob in knobs]
    assert flat == sorted(flat)
    assert all(many[key].calibration["met"] for key in budgets)


def test_helpers_can_have_limits_of_their_own(env):
    wanted = {"long": (Rate(), 1.0), "short": (LastCoins(), 1.0)}
    found = calibrate_many(wanted, env, episodes=40, max_episodes={"long": 400, "short": 40}, tasks=TASKS)
    assert found["short"].calibration["episodes"] == 40
    assert found["long"].calibration["episodes"] > 200


def test_a_probe_far_from_the_budget_ends_early(env):
    found = calibrate(LastCoins(10.0), env, budget=0.3, episodes=2000, max_episodes=2000, tasks=TASKS)
    first = found.calibration["probes"][0]
    assert first["usage"] > 3
    assert first["episodes"] <= 200


def test_a_budget_above_the_highest_usage_gives_the_upper_bound(env):
    found = calibrate(Rate(), env, budget=9.0, episodes=100, tasks=TASKS)
    assert found.knob == 1.0
    assert found.calibration["usage"] == pytest.approx(ALWAYS, abs=0.2)
    assert not found.calibration["met"]


def test_budget_0_never_asks(env):
    found = calibrate(LastCoins(), env, budget=0.0, episodes=100, tasks=TASKS)
    assert new_usage(found, env, episodes=3) == 0.0


def test_the_same_seed_gives_the_same_helper(env):
    first, second = (calibrate(Rate(), env, budget=1.2, episodes=120, tasks=TASKS, seed=7) for _ in range(2))
    assert first.calibration == second.calibration


def test_a_mixture_keeps_its_coin_and_its_memories_for_the_whole_episode(env):
    mixture = CoinMixture(Memory(0), Memory(99), weight=0.3, seed=1)
    episodes = list(run_episodes(env, evaluation_plan(TASKS, 10, seed=2), mixture))
    shares = np.array([np.mean([step.action for step in episode.steps]) for episode in episodes])
    assert set(shares) == {0.0, 1.0}
    assert np.mean(shares) == pytest.approx(0.3, abs=0.07)
    twice = [
        [e.cost for e in run_episodes(env, evaluation_plan(TASKS, 2, seed=3), mixture.with_seed(4))] for _ in range(2)
    ]  # fmt: skip
    assert twice[0] == twice[1]


def test_a_mixture_answers_a_single_text_with_one_action():
    class Never(HelperPolicy):
        last_unseen = np.array([True])

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return 0, state

    mixture = CoinMixture(Never(), Never(), weight=1.0)
    action, state = mixture.predict("hello")
    assert action == 0
    assert isinstance(action, int)
    assert mixture.last_unseen.tolist() == [True]
    assert mixture.predict("hello", state)[0] == 0


def test_a_frontier_is_calibrated_as_the_policy_that_follows_it(env):
    from selfreg_gym.playing.plan import EpisodeSpec
    from selfreg_gym.solver import solve_frontier
    from selfreg_gym.transitions import TransitionModel

    specs = [EpisodeSpec(task, 10_000 + 50 * task + i, i / 10) for task in TASKS for i in range(11)]
    frontier = solve_frontier(TransitionModel.fit(list(run_episodes(env, specs))))
    found = calibrate(frontier, env, budget=1.0, episodes=400, max_episodes=400, tasks=TASKS)
    assert found.calibration["met"]
    assert found.frontier is frontier
    assert new_usage(found, env) == pytest.approx(1.0, abs=0.12)
    assert 0.5 < found.policy.expected_usage < 1.5


def test_invalid_arguments_are_errors(env):
    with pytest.raises(InvalidArgumentError, match="only a helper with a knob"):
        calibrate(Memory(1), env, budget=1.0, tasks=TASKS)
    with pytest.raises(InvalidArgumentError, match="at least 0"):
        calibrate(Rate(), env, budget=-1.0, tasks=TASKS)
    with pytest.raises(InvalidArgumentError, match="training tasks"):
        calibrate(Rate(), env, budget=1.0)
    with pytest.raises(InvalidArgumentError, match="at least one episode"):
        calibrate(Rate(), env, budget=1.0, tasks=TASKS, episodes=0)
    with pytest.raises(InvalidArgumentError, match="weight of a mixture"):
        CoinMixture(Rate(), Rate(), weight=1.5)
    with pytest.raises(InvalidArgumentError, match="several processes each build the env"):
        calibrate_many({"a": (Rate(), 1.0)}, env, tasks=TASKS, workers=2)


class Down:
    """An actor that never answers."""

    def act(self, decisions):
        raise ConnectionError("connection lost")


def test_an_episode_in_error_stops_a_calibration():
    """The episodes without a failure are those that asked at every step, a biased sample."""
    source = {"task": "selfreg/Coin-v0", "actor": Down(), "interventions": [Intervention(Expert(), name="see")]}
    with pytest.raises(FailedEpisodesError, match=r"ended in an error at every attempt.*connection lost"):
        calibrate(Rate(), make_env(source, 32), budget=1.0, tasks=TASKS, episodes=80)


@pytest.mark.parametrize("budget", ["1", True, float("nan"), float("inf"), -0.1, None, [1.0]])
def test_a_budget_is_a_number_of_cost_units(env, budget):
    with pytest.raises(InvalidArgumentError, match=r"budget C \(cost units per episode\) must be a finite number"):
        calibrate(Rate(), env, budget=budget, tasks=TASKS)


def test_the_usage_of_the_accepted_knob_is_known_to_five_percent(env):
    record = calibrate(LastCoins(), env, budget=1.5, episodes=100, tasks=TASKS).calibration
    assert record["met"]
    assert record["precise"]
    assert record["reason"] is None
    assert record["half_width"] <= 0.05 * 1.5
    assert record["usage_ci"] == pytest.approx([1.5 - record["half_width"], 1.5 + record["half_width"]])
    assert record["episodes"] > 100
    assert min(probe["episodes"] for probe in record["probes"]) <= 100


def test_a_missed_budget_has_a_reason(env):
    record = calibrate(Rate(), env, budget=9.0, episodes=50, max_episodes=50, tasks=TASKS).calibration
    assert not record["met"]
    assert record["reason"].startswith("under budget: ")
    assert "highest knob" in record["reason"]
    few = calibrate(LastCoins(), env, budget=1.0, episodes=20, max_episodes=20, tasks=TASKS).calibration
    assert not few["precise"]
    assert "calibrate.max_episodes" in few["reason"]


def test_the_correction_by_a_longer_probe_is_unbiased(env):
    """The corrected usage is unbiased; for correlated probes its error is that of the difference."""
    from selfreg_gym.calibration.probes import Probe, estimate

    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(300):
        base = rng.gamma(1.0, 1.0, 2000)
        probe = Probe(1.0, list(base[:100] + 0.1 + 0.1 * rng.standard_normal(100)))
        used = estimate(probe, [Probe(0.0, list(base))])
        gaps.append((used.mean - 1.1) / used.error)
        assert used.error < 0.4 * probe.error
    assert abs(np.mean(gaps)) < 0.2
    assert 0.85 < np.std(gaps) < 1.15


@pytest.mark.parametrize(
    "text", ["", '{"a"', "[]", '{"a": 1}', '{"a": {"knob": null, "usage": 1}}', '{"a": {"knob": 1, "usage": NaN}}', 
             '{"a": {"knob": 1, "usage": 1' + "0" * 310 + "}}",
             '{"a": {"knobs": [1], "weight": 0.5, "usage": 1}}', "[" * 100_000]
)  # fmt: skip
def test_a_damaged_calibration_file_is_named(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"calibration\.json.*selfreg evaluate --redo"):
        load_calibrations(path)


def test_calibration_files_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text('{"a@1": {"budget": 1, "knob": 0.5, "usage": 1.0, "success": null, "met": true, "episodes": 420}}')
    assert load_calibrations(path)["a@1"]["knob"] == 0.5


def test_a_budget_is_met_even_from_very_short_samples(env):
    for seed in range(6):
        specs = {"episodes": 32, "max_episodes": 96, "tasks": range(8), "seed": seed}
        assert calibrate(Offset(), env, budget=1.0, **specs).calibration["met"]
