"""Reinforcement learners as helpers: they learn when help pays, turn with their knob, and are saved without pickles."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

from selfreg_gym import registry
from selfreg_gym.calibration import calibrate
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.evaluation.planning import evaluation_plan
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.inputs import DecisionTable, InputEncoder
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.testing import check_helper
from selfreg_gym.types import Intervention

NAMES = ("ppo", "dqn", "maskable-ppo", "recurrent-ppo")
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "dqn": {"learning_starts": 200},
    "maskable-ppo": {"cap": 2.0},
    "recurrent-ppo": {"n_steps": 32},
}


class Expert:
    def act(self, decisions):
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]


def heads(observation: str) -> str:
    return "heads"


def env() -> dict[str, Any]:
    return {"task": "selfreg/Coin-v0", "actor": heads, "interventions": [Intervention(Expert(), name="see")]}


def usage(helper: Any) -> float:
    return float(
        np.mean([e.cost for e in run_episodes(make_env(env(), 8), evaluation_plan(range(16), 4, seed=3), helper)])
    )


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> Any:
    learner = registry.load("helpers", request.param)
    few = {"steps": 4096, "num_envs": 8, "seed": 1, "progress": False}
    return learner.train(env(), tasks=range(8), help_cost=0.05, **few, **SETTINGS[request.param])


def test_it_learns_that_help_pays_and_its_knob_goes_from_never_to_always(trained: Any) -> None:
    low, high = trained.knob_bounds
    assert usage(trained.with_knob(low)) == 0.0
    most = usage(trained.with_knob(high))
    assert most == (2.0 if trained.cap else pytest.approx(3.5, abs=0.2))
    # "heads" is right half of the time and help, at 0.05 a call, always: a learner that learned anything asks often
    assert usage(trained) > 0.6 * most


def test_it_is_calibrated_to_a_budget(trained: Any) -> None:
    found = calibrate(trained, make_env(env(), 8), budget=1.0, episodes=96, tasks=range(16))
    assert found.calibration["met"]
    assert usage(found) == pytest.approx(1.0, abs=0.3)


def test_it_keeps_the_contract_of_helpers(trained: Any) -> None:
    check_helper(trained)
    with pytest.raises(InvalidArgumentError, match="reads features"):
        trained.predict(("a text",))


def test_saved_and_loaded_it_decides_the_same_and_no_file_is_a_pickle(trained: Any, tmp_path: Path) -> None:
    name = type(trained)._name()
    folder = tmp_path / "rl" / name
    trained.with_knob(0.25).save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["policy.safetensors", "rl.json"]
    assert type(trained).made_in(tmp_path)
    loaded = type(trained).from_run(tmp_path)
    assert (loaded.knob, loaded.cap, loaded.info["help_cost"]) == (0.25, trained.cap, 0.05)
    plan = evaluation_plan(range(8), 2, seed=5)
    played = [
        sorted((e.seed, [s.action for s in e.steps]) for e in run_episodes(make_env(env(), 4), plan, helper))
        for helper in (trained.with_knob(0.25), loaded)
    ]
    assert played[0] == played[1]
    record = json.loads((folder / "rl.json").read_text())
    (folder / "rl.json").write_text(json.dumps({**record, "algorithm": "A2C"}))
    with pytest.raises(CheckpointError, match="A2C"):
        type(trained).from_pretrained(folder)
    (folder / "rl.json").write_text(json.dumps(record))
    (folder / "policy.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        type(trained).from_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"rl\.algorithms"):
        type(trained).from_pretrained(tmp_path)


def test_a_memory_is_forgotten_where_an_episode_begins() -> None:
    learner = registry.load("helpers", "recurrent-ppo")
    helper = learner.train(env(), tasks=range(8), steps=256, num_envs=4, n_steps=32, progress=False)
    wrapped = helper.wrap(make_env(env(), 3))
    observation, _ = wrapped.reset(seed=0)
    _, memory = helper.predict(observation, None, np.ones(3, bool))
    _, kept = helper.predict(observation, memory, np.array([False, True, False]))
    _, fresh = helper.predict(observation, None, np.ones(3, bool))
    np.testing.assert_allclose(kept[0][:, 1], fresh[0][:, 1], atol=1e-6)  # begun again
    assert np.abs(kept[0][:, 0] - fresh[0][:, 0]).max() > 1e-4  # gone on


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_from_the_inputs_of_an_encoder(name: str, tmp_path: Path) -> None:
    """The same inputs as fitted values have; with the rest of the budget under a hard cap."""
    live = make_env(env(), 8)
    live.reset(seed=0, options={"episode": np.arange(8)})
    encoder = InputEncoder.fit(DecisionTable.from_slots(live.slots), ["features", "steps_left"])
    few = {"steps": 512, "num_envs": 8, "seed": 1, "progress": False, **SETTINGS[name]}
    helper = registry.load("helpers", name).train(env(), tasks=range(8), encoder=encoder, **few)
    check_helper(helper)
    low, high = helper.knob_bounds
    assert usage(helper.with_knob(low)) == 0.0
    assert usage(helper.with_knob(high)) == (2.0 if helper.cap else pytest.approx(3.5, abs=0.2))
    helper.save_pretrained(tmp_path)
    loaded = type(helper).from_pretrained(tmp_path)
    plan = evaluation_plan(range(8), 1, seed=5)
    played = [
        sorted((e.seed, [s.action for s in e.steps]) for e in run_episodes(make_env(env(), 4), plan, one))
        for one in (helper, loaded)
    ]
    assert played[0] == played[1]


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_training_stops_when_its_interventions_are_spent(name: str) -> None:
    learner = registry.load("helpers", name)
    few = {"num_envs": 4, "seed": 0, "progress": False, **({"n_steps": 8, "batch_size": 32} if name == "ppo" else {})}
    helper = learner.train(env(), tasks=range(8), steps=2000, spend=60.0, **few)
    assert 60.0 <= helper.info["spent"] < 60.0 + 4, "at most one step of every env more"
    assert helper.info["steps"] < 2000
    with pytest.raises(InvalidArgumentError, match=r"spend \(cost units\) must be a positive number"):
        learner.train(env(), tasks=range(8), steps=16, spend=0.0, **few)


def test_training_is_seeded_and_restores_the_global_generators() -> None:
    learner = registry.load("helpers", "ppo")
    few = {"tasks": range(4), "steps": 1024, "num_envs": 4, "n_steps": 64, "progress": False}
    random.seed(1)
    expected = random.Random(1).random()
    first, second = (learner.train(env(), seed=3, **few) for _ in range(2))
    assert random.random() == expected
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_an_episode_without_a_task_index_draws_a_training_task() -> None:
    from selfreg_gym.agents.helpers._sb3_env import DrawnTasks
    from selfreg_gym.intervention_env.building import build_task

    task = DrawnTasks(build_task("selfreg/Coin-v0"), [3, 5])
    drawn = {task.reset(seed=seed)[1]["task_id"] for seed in range(20)}
    chosen = {task.reset(seed=0, options={"episode": i})[1]["task_id"] for i in (3, 5)}
    assert drawn == chosen
    assert task.reset(seed=0, options={"episode": 1})[1]["task_id"] not in chosen


def test_their_env_passes_the_checker_of_stable_baselines(recwarn: pytest.WarningsRecorder) -> None:
    from selfreg_gym.agents.helpers._sb3_env import wrapped

    for cap in (None, 2.0):
        check_env(wrapped(InterventionEnv(**env()), cap))
    assert not [w for w in recwarn if "selfreg" in str(w.message) or issubclass(w.category, UserWarning)]


def test_training_without_steps_or_tasks_is_refused() -> None:
    learner = registry.load("helpers", "ppo")
    for arguments in ({"steps": 0}, {"tasks": []}):
        with pytest.raises(InvalidArgumentError, match="needs steps and tasks"):
            learner.train(env(), progress=False, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"costs": None}, "'costs' .* at least 2 numbers"),
        ({"offset": "0"}, "'offset' .* a number"),
        ({"settings": {"net_arhc": [4]}}, "'settings' .* must be arguments of"),
        ({"settings": []}, "'settings' .* an object"),
        ({"info": None}, "'info' .* an object"),
        ({"cap": "2"}, "'cap' .* a number or null"),
    ],
)
def test_a_damaged_record_is_named(trained: Any, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    trained.save_pretrained(tmp_path)
    file = tmp_path / "rl.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        type(trained).from_pretrained(tmp_path)


def test_a_record_without_infinity_and_weights_without_nan(trained: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = trained.with_knob(trained.knob)
    other.info = {"seconds": float("nan")}
    other.save_pretrained(tmp_path)
    assert type(trained).from_pretrained(tmp_path).info == {"seconds": None}
    weights = load_file(tmp_path / "policy.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] * float("nan")
    save_file(weights, tmp_path / "policy.safetensors")
    with pytest.raises(CheckpointError, match="must be finite"):
        type(trained).from_pretrained(tmp_path)
    (tmp_path / "rl.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="nested too deep"):
        type(trained).from_pretrained(tmp_path)
