"""as_helper: functions and SB3 models as helpers; never, always, random."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from old_helpers import BarePredict, OldInterface, OldTrained

from selfreg_gym import FeatureObservation, Intervention, InterventionVectorEnv, StateKeyObservation, as_helper, to_sb3
from selfreg_gym.adapters import FunctionHelper, ModelHelper, as_helper_class
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.helpers.never import Never
from selfreg_gym.agents.helpers.random import Random
from selfreg_gym.calibration import calibrate
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.evaluation import evaluate
from selfreg_gym.helper import Helper, HelperDescription, HelperKey, batch_size
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import ExpertActor, RandomActor, check_helper


def make_env(num_envs: int, mode: str = "Disabled") -> InterventionVectorEnv:
    expert = Intervention(ExpertActor(), name="expert")
    return InterventionVectorEnv(num_envs, "selfreg/Coin-v0", RandomActor(), [expert], autoreset_mode=mode)


def test_a_function_answers_one_text_and_many() -> None:
    helper = as_helper(lambda text: len(text))
    assert helper.predict("ab", state="kept") == (2, "kept")
    actions, _ = helper.predict(("", "a", "abc"))
    assert (actions.dtype, actions.tolist()) == (np.int64, [0, 1, 3])


def test_a_function_reads_features_one_observation_at_a_time() -> None:
    helper = as_helper(lambda features: int(features["scalars"][1] < 2), wrap=FeatureObservation)
    specs = [EpisodeSpec(3, seed) for seed in range(12)]
    for env in (
        make_env(4),
        gym.make(
            "selfreg/Intervention-v0",
            task="selfreg/Coin-v0",
            actor=RandomActor(),
            interventions=[Intervention(ExpertActor(), name="expert")],
        ),
    ):
        for episode in run_episodes(env, specs, helper):
            assert [step.action for step in episode] == [1, 1] + [0] * (len(episode) - 2)


def test_a_helper_is_returned_and_what_cannot_be_adapted_is_refused() -> None:
    never = Never()
    assert as_helper(never) is never
    assert isinstance(as_helper(never, wrap=StateKeyObservation), ModelHelper)
    assert isinstance(as_helper(len), FunctionHelper)
    with pytest.raises(InvalidArgumentError, match="a helper must be an object with predict"):
        as_helper(3)
    with pytest.raises(InvalidArgumentError, match="wrap must be"):
        as_helper(len, wrap=3)  # type: ignore[arg-type]


def test_batch_sizes() -> None:
    assert batch_size("text") is None
    assert batch_size(("a", "b")) == 2
    assert batch_size(np.array(["a"], dtype=object)) == 1
    start = np.ones(3, dtype=bool)
    assert batch_size(np.zeros((3, 4)), start) == 3
    assert batch_size(np.zeros(4), start) is None
    assert batch_size({"x": np.zeros((3, 2)), "y": np.zeros((3,))}, start) == 3
    assert batch_size({"x": np.zeros(2)}, np.ones(1, dtype=bool)) is None


def test_an_sb3_model_decides_single_and_batched_alike() -> None:
    from stable_baselines3 import DQN

    model = DQN("MultiInputPolicy", to_sb3(FeatureObservation(make_env(2, "SameStep"))), seed=0, learning_starts=10)
    model.learn(200)
    helper = as_helper(model, wrap=FeatureObservation)
    specs = [EpisodeSpec(i % 4, i) for i in range(12)]
    runs = [sorted(run_episodes(make_env(n), specs, helper), key=lambda episode: episode.seed) for n in (1, 5)]
    assert runs[0] == runs[1]


def test_a_recurrent_sb3_model_keeps_and_loses_its_memory() -> None:
    RecurrentPPO = pytest.importorskip("sb3_contrib").RecurrentPPO

    env = to_sb3(FeatureObservation(make_env(2, "SameStep")))
    model = RecurrentPPO("MultiInputLstmPolicy", env, n_steps=16, batch_size=16, seed=0)
    model.learn(64)
    states: list[Any] = []
    predict = model.predict

    def spy(observation: Any, state: Any = None, **kwargs: Any) -> Any:
        states.append((state, kwargs["episode_start"].copy()))
        return predict(observation, state=state, **kwargs)

    model.predict = spy  # type: ignore[method-assign]
    specs = [EpisodeSpec(i % 4, i) for i in range(9)]
    batched = sorted(run_episodes(make_env(3), specs, as_helper(model, wrap=FeatureObservation)), key=lambda e: e.seed)
    assert states[0][0] is None
    assert states[0][1].all()
    assert all(state is not None for state, _ in states[1:])
    assert sum(start.sum() for _, start in states) == len(specs)
    single = sorted(run_episodes(make_env(1), specs, as_helper(model, wrap=FeatureObservation)), key=lambda e: e.seed)
    assert single == batched


@pytest.mark.parametrize(("helper", "action"), [(Never(), 0), (Always(), 1), (Always(intervention=2), 2)])
def test_never_and_always(helper: Any, action: int) -> None:
    assert helper.predict("text")[0] == action
    assert helper.predict(("a", "b", "c"))[0].tolist() == [action] * 3
    assert type(helper).from_run(Path("anywhere"), budget=1.0, seed=3).predict("text")[0] in (0, 1)
    with pytest.raises(InvalidArgumentError, match="must be a number from 1"):
        Always(intervention=0)


def test_random_asks_with_its_probability_and_repeats_itself() -> None:
    helper = Random(0.3, seed=5)
    actions, state = helper.predict(("x",) * 10_000)
    assert actions.mean() == pytest.approx(0.3, abs=0.015)
    assert (helper.predict(("x",) * 10_000)[0] == actions).all()
    assert (helper.predict(("x",) * 10_000, state=state)[0] != actions).any()
    assert (Random(0.3, seed=6).predict(("x",) * 10_000)[0] != actions).any()
    deterministic = helper.predict(("x",) * 10_000, deterministic=True)[0]
    assert (deterministic == actions).all()


def test_randoms_knob_keeps_the_draws() -> None:
    low = Random(0.3)
    high = low.with_knob(0.6)
    assert (low.knob, high.knob, Random.knob_bounds) == (0.3, 0.6, (0.0, 1.0))
    assert (high.predict(("x",) * 500)[0] >= low.predict(("x",) * 500)[0]).all()
    assert Random(1.0, intervention=2).predict(("x",) * 3)[0].tolist() == [2, 2, 2]
    assert Random(0.0).predict("x")[0] == 0
    with pytest.raises(InvalidArgumentError, match="probability"):
        Random(1.1)
    with pytest.raises(InvalidArgumentError, match="from 1"):
        Random(0.1, intervention=0)
    assert Random.from_run(Path("anywhere"), budget=2.0, seed=9).seed == 9


def test_the_former_name_of_the_argument_still_works() -> None:
    for helper in (Always, Random):
        with pytest.warns(DeprecationWarning, match="intervention="):
            assert helper(k=2).intervention == 2
        with pytest.raises(InvalidArgumentError, match="one of them"):
            helper(k=2, intervention=1)


# --- helpers without the base class -----------------------------------------------------------------------------------

ENV = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}


def test_functions_bare_objects_and_the_former_interface_are_evaluated() -> None:
    helpers: dict[str, Any] = {
        "function": lambda text: int(len(text) % 2 == 0),
        "bare": BarePredict(),
        "old@1": OldInterface(1.0),
        "never": Never(),
    }
    evaluation = evaluate(ENV, helpers, tasks=range(4), episodes=2, progress=False, warn=False)
    usage = {row["helper"]: row["usage"] for row in evaluation.rows if row["kind"] == "all"}
    assert usage["function"] == usage["bare"] > 0
    assert usage["old"] > usage["never"] == 0
    records = evaluation.meta["seen"]["helpers"]
    assert records["never"]["role"] == "baseline"
    assert records["old"] == asdict(HelperDescription())


def test_the_former_interface_is_calibrated_and_the_rest_has_no_knob() -> None:
    found = calibrate(OldInterface(), ENV, budget=0.5, tasks=range(4), episodes=100, max_episodes=100)
    assert found.calibration is not None
    assert found.calibration["met"]
    for helper in (BarePredict(), len, Never()):
        with pytest.raises(InvalidArgumentError, match="only a helper with a knob"):
            calibrate(helper, ENV, budget=0.5, tasks=range(4), episodes=4)


def test_an_adapted_class_keeps_what_it_declares() -> None:
    adapted = as_helper_class(OldInterface)
    assert as_helper_class(Never) is Never
    assert issubclass(adapted, ModelHelper)
    assert (adapted.has_knob, adapted.takes_budget, adapted.asks_one) == (True, False, False)
    assert adapted.overrides("from_run")
    assert not as_helper_class(BarePredict).overrides("from_run")
    assert str(inspect.signature(adapted)) == str(inspect.signature(OldInterface))
    helper = adapted(0.7)
    assert (helper.knob, helper.with_knob(0.2).knob, helper.type_name) == (0.7, 0.2, "OldInterface")
    assert pickle.loads(pickle.dumps(helper)).knob == 0.7
    assert helper.with_seed(5).model.seed == 5  # type: ignore[attr-defined]


def test_an_adapted_class_can_be_trained_and_saved(tmp_path: Path) -> None:
    adapted: Any = as_helper_class(OldTrained)
    assert (adapted.of_values, adapted.takes_cap, adapted.learns) == (True, True, "gains")
    (tmp_path / "values").mkdir()
    assert not adapted.made_in(tmp_path)
    helper = adapted.train([], SimpleNamespace(prices=[0.1] * 4), costs=[1.0], seed=0, progress=False)
    assert isinstance(helper, ModelHelper)
    assert helper.info == {"knob": 0.25}
    helper.save_pretrained(tmp_path / "values" / "trained")
    assert adapted.made_in(tmp_path)
    assert adapted.from_run(tmp_path).knob == 0.25
    assert not hasattr(as_helper_class(OldInterface), "train")
    assert not hasattr(ModelHelper(OldInterface()), "info")


def test_an_adapter_has_every_declared_member() -> None:
    """A member that is added to the base class is copied, unless the adapter has its own value of it."""
    for name in Helper.__annotations__:
        value = object()
        copied = getattr(ModelHelper(type("Odd", (BarePredict,), {name: value})()), name) is value
        assert copied is (name not in ("seed", "calibration", "last_unseen", "has_knob")), name


def test_the_key_of_a_helper_survives_its_text() -> None:
    for key in (HelperKey("lm"), HelperKey("lm", 1.0), HelperKey("every-k:expert", 1 / 3, 2), HelperKey("a", 1e-7)):
        assert HelperKey.parse(str(key)) == key
    assert str(HelperKey("lm", 1.0, 3)) == "lm@1#3"
    assert HelperKey("every-k:expert", 1.0).helper_id == "every-k"
    for text in ("lm@one", "lm@nan", "lm@1@2", b"lm"):
        with pytest.raises(InvalidArgumentError, match=r"NAME\[@BUDGET"):
            HelperKey.parse(text)
    for name, budget in (("a@b", None), ("a#b", 1.0), ("a", float("inf"))):
        with pytest.raises(InvalidArgumentError, match="received"):
            HelperKey(name, budget)


@pytest.mark.parametrize("answer", [None, np.ones(2, int), (np.ones(2, int), None, 3)])
def test_decide_must_return_actions_and_a_state(answer: Any) -> None:
    class Wrong(Helper):
        def decide(self, observations: Any, state: Any, start: Any) -> Any:
            return answer

    with pytest.raises(TaskContractError, match=r"decide must return \(actions, state\); Wrong returned"):
        Wrong().predict(("a", "b"))


@pytest.mark.parametrize("declared", [{"role": "wizard"}, {"label": 3}, {"colour": ["teal"]}, {"marker": 5}])
def test_what_a_helper_declares_is_checked(declared: dict[str, Any]) -> None:
    helper = type("Odd", (Always,), declared)()
    with pytest.raises(TaskContractError, match=rf"{next(iter(declared))} of Odd is .*see selfreg_gym.Helper"):
        check_helper(helper)


class Knobless(Helper):
    """``with_knob`` without ``knob``."""

    def with_knob(self, knob: float, /) -> Any:
        return self

    def decide(self, observations: Any, state: Any, start: Any) -> Any:
        return np.zeros(len(start), dtype=int), state


class Forgetful(Knobless):
    """``with_knob`` returns nothing."""

    knob = 0.5

    def with_knob(self, knob: float, /) -> Any:
        return None


class Reversed(Knobless):
    knob, knob_bounds = 0.5, (1.0, 0.0)


@pytest.mark.parametrize("helper", [Knobless(), Forgetful(), Reversed()])
def test_an_incomplete_knob_is_reported_before_an_episode_is_played(helper: Helper) -> None:
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    with pytest.raises(InvalidArgumentError, match=f"knob.*{type(helper).__name__}"):
        calibrate(helper, env, budget=1.0, tasks=range(2))
    with pytest.raises(TaskContractError, match="knob"):
        check_helper(helper)
