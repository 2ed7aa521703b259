"""No decision of a helper depends on the batch size or on the number of processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loopback import Loopback

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper
from selfreg_gym.agents.helpers._choice import best_action
from selfreg_gym.calibration import CoinMixture, calibrate_many
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation import evaluate
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.prm import BagOfWords
from selfreg_gym.solver import solve_frontier
from selfreg_gym.testing.reference_actors import ExpertActor, RandomActor
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Intervention
from selfreg_gym.wrappers import FeatureObservation

COSTS = (0.3, 1.0)
FEW = {"steps": 128, "num_envs": 4, "seed": 1, "progress": False, "help_cost": 0.05}
CHECKPOINT = Path(__file__).parents[2] / "agents" / "checkpoints" / "sif" / "tiny"


def kwargs() -> dict[str, Any]:
    people = [Intervention(RandomActor(), name="cheap", cost=COSTS[0]), Intervention(ExpertActor(), name="expert")]
    return {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": people}


def _lm_sft() -> Any:
    from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
    from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
    from selfreg_gym.lm.loading import load_causal, load_tokenizer

    tokenizer = load_tokenizer(CHECKPOINT)
    return LMSFTHelper(load_causal(CHECKPOINT), tokenizer, answers=answer_tokens(tokenizer, 2), costs=COSTS)


def _lm(episodes: Sequence[Any]) -> Any:
    """Value heads with random weights, which read steps left and calls so far."""
    from selfreg_gym.agents.helpers.lm import LMHelper
    from selfreg_gym.inputs import DecisionTable, InputEncoder
    from selfreg_gym.lm.gain_model import TEXT_FEATURES, GainHead
    from selfreg_gym.lm.loading import load_causal, load_tokenizer

    backbone, prices = load_causal(CHECKPOINT), (0.5, 0.2, 0.05)
    encoder = InputEncoder.fit(DecisionTable.from_rollouts(episodes), ["steps_left", "calls_so_far"])
    head = GainHead(TEXT_FEATURES * backbone.config.hidden_size, encoder.width, prices, 2, seed=3)
    torch.nn.init.normal_(head.of_text[-1].weight, std=0.05, generator=torch.Generator().manual_seed(4))
    return LMHelper(backbone, load_tokenizer(CHECKPOINT), head, prices=prices, costs=COSTS, encoder=encoder, seed=2)


def _values(name: str, episodes: Sequence[Any]) -> Any:
    """A student with random gains, which reads steps left and calls so far."""
    from selfreg_gym.fitted.student import Student
    from selfreg_gym.inputs import DecisionTable, InputEncoder

    table = DecisionTable.from_rollouts(episodes)
    encoder = InputEncoder.fit(table, ["steps_left", "calls_so_far"])
    gains = np.random.default_rng(5).normal(size=(2, len(table), 3, 2))
    values = Student.train(
        encoder.encode(table), (gains[0], gains[1]), (0.5, 0.2, 0.05), tasks=np.arange(len(table)) % 8, encoder=encoder,
        hidden=(8,), epochs=1,
    )  # fmt: skip
    return registry.load("helpers", name)(values, costs=COSTS, seed=2)


def _learner(name: str, **more: Any) -> Any:
    return registry.load("helpers", name).train(kwargs(), tasks=range(8), **FEW, **more)


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    loopback = Loopback()
    yield loopback
    loopback.close()


@pytest.fixture(scope="module")
def helpers(server: Loopback) -> dict[str, Any]:
    """Every registered helper, a mixture and a sampling model."""
    specs = [EpisodeSpec(i % 8, i, (i % 5) / 4) for i in range(200)]
    episodes = list(run_episodes(make_env(kwargs(), 8), specs))
    prm = BagOfWords.train(episodes)
    scores = prm.score([step.observation for episode in episodes for step in episode.steps])
    middle = float(np.median(scores))
    load = registry.load
    found = {
        "actor-confidence": load("helpers", "actor-confidence")(0.9, intervention="cheap"),
        "actor-signals": _values("actor-signals", episodes),
        "always": load("helpers", "always")(intervention="expert"),
        "averagers": load("helpers", "averagers").train(
            episodes, inputs=["steps_left", "calls_so_far"], costs=COSTS, neighbours=[5], folds=2, progress=False
        ),
        "dp": load("helpers", "dp")(solve_frontier(TransitionModel.fit(episodes)), budget=0.7),
        "dp-features": load("helpers", "dp-features")(
            solve_frontier(TransitionModel.fit(episodes, key="feature", backoff=None)), budget=0.7
        ),
        "dqn": _learner("dqn", learning_starts=32),
        "endpoint": load("helpers", "endpoint")(server.url, model="rule", options=("no", "help", "help2")),
        "every-k": load("helpers", "every-k")(2, intervention=2),
        "fitted": _values("fitted", episodes),
        "lm": _lm(episodes),
        "lm-sft": _lm_sft(),
        "maskable-ppo": _learner("maskable-ppo", cap=1.0, n_steps=32, batch_size=32),
        "never": load("helpers", "never")(),
        "ppo": _learner("ppo", n_steps=32, batch_size=32),
        "prm-per-task": load("helpers", "prm-per-task")(prm, middle),
        "prm-threshold": load("helpers", "prm-threshold")(prm, middle, intervention=2),
        "quantile": load("helpers", "quantile")(prm, scores, rate=0.3),
        "random": load("helpers", "random")(0.4),
        "recurrent-ppo": _learner("recurrent-ppo", n_steps=16, batch_size=32),
        "wait-n": load("helpers", "wait-n")(1),
    }
    assert len(found["dp"].policy.policies) == 2, "a mixture with a coin per episode"
    found["mixture"] = CoinMixture(found["random"], found["wait-n"], weight=0.5)
    return found


def test_every_registered_helper_is_here(helpers: dict[str, Any]) -> None:
    ours = {entry.name for entry in registry.describe("helpers") if entry.module.startswith("selfreg_gym.")}
    assert ours <= helpers.keys()


def _evaluated(helpers: dict[str, Any], num_envs: int, workers: int = 1, deterministic: bool = True) -> str:
    plan: dict[str, Any] = {"tasks": range(8), "episodes": 3, "seed": 5, "traces": 2}
    found = evaluate(
        kwargs(),
        helpers,
        **plan,
        num_envs=num_envs,
        workers=workers,
        deterministic=deterministic,
        progress=False,
        warn=False,
    )
    return json.dumps([found.table().to_json(), found.rows, found.traces])


@pytest.fixture(scope="module")
def reference(helpers: dict[str, Any]) -> str:
    return _evaluated(helpers, 4)


@pytest.mark.parametrize(("num_envs", "workers"), [(1, 1), (16, 1), (1, 3)])
def test_evaluations_are_identical(helpers: dict[str, Any], reference: str, num_envs: int, workers: int) -> None:
    assert _evaluated(helpers, num_envs, workers) == reference


def test_calibrations_are_identical(helpers: dict[str, Any]) -> None:
    names = ("dp", "every-k", "lm", "lm-sft", "mixture", "ppo", "prm-threshold", "random")
    requests = {name: (helpers[name], 0.5) for name in names if helpers[name].has_knob}
    assert len(requests) == 7
    few: dict[str, Any] = {"tasks": range(8), "episodes": 32, "max_episodes": 96, "seed": 2}

    def found(num_envs: int, workers: int = 1, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
        asked = {name: request for name, request in requests.items() if name not in without}
        many = calibrate_many(asked, kwargs(), num_envs=num_envs, workers=workers, **few)
        return {name: helper.calibration for name, helper in many.items()}

    first = found(1)
    assert found(4) == first
    assert found(16) == first
    light = found(4, workers=3, without=("lm", "lm-sft", "ppo"))  # processes that need not load torch start much faster
    assert light == {name: first[name] for name in light}


def test_a_sampling_model_of_stable_baselines_draws_by_episode(helpers: dict[str, Any]) -> None:
    from stable_baselines3 import PPO

    from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv, to_sb3

    env = to_sb3(FeatureObservation(InterventionVectorEnv(2, **kwargs(), autoreset_mode="SameStep")))
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu")
    sampling = {"sampling": as_helper(model, wrap=FeatureObservation)}
    runs = [_evaluated(sampling, n, deterministic=False) for n in (1, 4, 16)]
    assert runs[0] == runs[1] == runs[2]
    assert _evaluated(sampling, 4) != runs[0]  # it does sample


def test_a_coin_differs_between_tasks_that_share_a_seed(helpers: dict[str, Any]) -> None:
    mixture = CoinMixture(helpers["never"], helpers["always"], weight=0.5, seed=3)
    played = list(run_episodes(make_env(kwargs(), 4), [EpisodeSpec(task, 0) for task in range(200)], mixture))
    assert 70 < sum(episode.cost > 0 for episode in played) < 130


def test_the_knob_of_every_trained_helper_reaches_every_budget(helpers: dict[str, Any]) -> None:
    """With one offset for all answers, the cheap intervention was asked at every budget."""
    for name in ("dqn", "lm", "lm-sft", "ppo", "recurrent-ppo"):
        helper = helpers[name]
        low, high = helper.knob_bounds
        specs = [EpisodeSpec(i % 8, i) for i in range(32)]
        usage = [
            np.mean([e.cost for e in run_episodes(make_env(kwargs(), 8), specs, helper.with_knob(x))])
            for x in (low, high)
        ]
        always = np.mean([e.cost for e in run_episodes(make_env(kwargs(), 8), specs, helpers["always"])])
        assert usage[0] == 0.0, name
        assert usage[1] == pytest.approx(always), name
    gain = np.array([[2.0, -1.0]])
    assert [int(best_action(gain, x, COSTS)[0]) for x in (-10.0, 0.0, 5.0)] == [0, 1, 2]


def test_a_helper_trained_for_other_interventions_is_refused(helpers: dict[str, Any]) -> None:
    people = kwargs()["interventions"]
    dearer = [Intervention(ExpertActor(), name="cheap", cost=0.5), people[1]]
    for name in ("lm-sft", "ppo"):
        for others, message in ((people[:1], "has 1: cheap"), (dearer, r"costs 0\.3, 1.*cheap \(cost 0\.5\)")):
            env = make_env({**kwargs(), "interventions": others}, 2)
            with pytest.raises(InvalidArgumentError, match=message):
                run_episodes(env, [EpisodeSpec(0, 0)], helpers[name])
    with pytest.raises(InvalidArgumentError, match="trained for 2 intervention"):
        run_episodes(make_env({**kwargs(), "interventions": people[:1]}, 2), [EpisodeSpec(0, 0)], helpers["dp"])


def test_saved_helpers_keep_their_costs_and_older_ones_their_single_offset(
    helpers: dict[str, Any], tmp_path: Path
) -> None:
    for name, file, older in (("lm-sft", "helper.json", "selfreg-helper-1"), ("ppo", "rl.json", "selfreg-rl-1")):
        helper = helpers[name].with_knob(0.7)
        helper.save_pretrained(tmp_path / name)
        loaded = type(helper).from_pretrained(tmp_path / name)
        assert (loaded.knob_bounds, loaded.knob_step) == (helper.knob_bounds, helper.knob_step)
        assert loaded.knob_bounds != type(helper).knob_bounds
        record = json.loads((tmp_path / name / file).read_text())
        record["format"] = older
        if name == "lm-sft":
            del record["costs"]
        (tmp_path / name / file).write_text(json.dumps(record))
        old = type(helper).from_pretrained(tmp_path / name)
        assert (old.knob_bounds, old.knob) == ((-20.0, 20.0), 0.7)
        old.save_pretrained(tmp_path / "again")
        assert type(helper).from_pretrained(tmp_path / "again").knob_bounds == (-20.0, 20.0)
        run_episodes(make_env(kwargs(), 2), [EpisodeSpec(0, 0)], old)
