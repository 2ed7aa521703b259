"""The helper with value heads: it learns the gains of a teacher from text, facts and numbers, and is saved whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym.agents.helpers._lm_prompts import distinct_decisions, draw_decisions, prompts_of
from selfreg_gym.agents.helpers._teacher import table_gains, teacher_gains
from selfreg_gym.agents.helpers.lm import LMHelper
from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.inputs import DecisionTable, InputEncoder
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.solver import solve
from selfreg_gym.testing import check_helper
from selfreg_gym.testing.reference_actors import ExpertActor, RandomActor
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode, Intervention, Transition
from selfreg_gym.wrappers import EncodedObservation

THINGS = "cup hat book bowl plate shoe".split()
NEED = dict(zip(THINGS, (0.9, 0.5, 0.2, 0.1, 0.0, -0.2), strict=True))  # dS of help, by what is held
FACT = {"calm": 0.0, "urgent": 0.4}  # added to dS; only the feature key tells it
PRICES = (0.6, 0.3, 0.05)


def episodes(count: int, *, seed: int = 0, tasks: int = 20) -> list[Episode]:
    """Episodes of one step; the text tells what is held, the feature key tells how urgent it is."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        thing, fact = str(rng.choice(THINGS)), str(rng.choice(list(FACT)))
        rooms = [f"Room {j}: table with {rng.choice(THINGS)}." for j in range(1, 3)]
        text = "\n".join([*rooms, f"You are in Room {rng.integers(1, 3)} and hold a {thing}."])
        left = int(rng.integers(1, 6))
        step = Transition(
            t=0,
            observation=text,
            admissible_actions=None,
            state_key=f"{thing} {fact}",
            feature_key=f"{thing}|{fact}",
            steps_left=left,
            action=int(rng.integers(2)),
            action_text="Done!",
            cost=0.0,
            reward=0.0,
            terminated=True,
            truncated=False,
            invalid=False,
        )
        task = f"task-{i % tasks}"
        found.append(Episode(i % tasks, i, task, "", 0.5, False, (float(step.action),), (step,)))
    return found


class KnownTeacher:
    """A teacher that knows the gains: those of the thing, of the fact, and 0.1 more on the last step."""

    prices = PRICES

    def __init__(self, rollouts: list[Episode]) -> None:
        table = DecisionTable.from_rollouts(rollouts)
        self.encoder = InputEncoder.fit(table, ["features", "steps_left"])
        one_hot = self.encoder.encode(table)[:, self.encoder.blocks["features"]]
        names = {
            int(code): table.feature_key.values[key]
            for code, key in zip(one_hot.argmax(1), table.feature_key.codes, strict=True)
        }
        self.need = np.zeros(one_hot.shape[1])
        for code, name in names.items():
            thing, fact = name.split("|")
            self.need[code] = NEED[thing] + FACT[fact]

    def gains(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        success = x[:, self.encoder.blocks["features"]] @ self.need
        success = success + 0.1 * x[:, self.encoder.blocks["steps_left"]][:, 1]
        shape = (len(x), len(PRICES), 1)
        return np.broadcast_to(success[:, None, None], shape), np.ones(shape)


ROLLOUTS = episodes(600)
FAST: dict[str, Any] = {
    "inputs": ("steps_left",),
    "backbone": "tiny",
    "batch_size": 8,
    "epochs": 2.5,
    "progress": False,
}


@pytest.fixture(scope="module")
def teacher() -> KnownTeacher:
    return KnownTeacher(ROLLOUTS)


@pytest.fixture(scope="module")
def helper(teacher: KnownTeacher) -> LMHelper:
    return LMHelper.train(ROLLOUTS, teacher, seed=1, **FAST)


def read(helper: LMHelper, rollouts: list[Episode]) -> np.ndarray:
    return helper.reader.encode(DecisionTable.from_rollouts(rollouts))


def test_it_learns_the_gains_of_its_teacher(helper: LMHelper, teacher: KnownTeacher) -> None:
    assert min(helper.info["r2"]) > 0.9, "on held-out tasks"
    assert max(helper.info["r2_of_numbers"]) < 0.2, "steps left alone tell little"
    fresh = episodes(200, seed=7)
    success, usage = helper.gains(read(helper, fresh))
    wanted, ones = teacher.gains(teacher.encoder.encode(DecisionTable.from_rollouts(fresh)))
    assert np.abs(success - wanted).mean() < 0.1
    assert np.abs(usage - ones).mean() < 0.02
    asks = helper.with_price(0.3).predict(read(helper, fresh), episode_start=np.ones(200, bool))[0]
    clear = np.abs(wanted[:, 1, 0] - 0.3) > 0.1
    assert ((asks == 1) == (wanted[:, 1, 0] > 0.3))[clear].mean() > 0.95


def test_the_words_of_the_facts_are_added_to_its_own_copy(helper: LMHelper) -> None:
    assert {"calm", "urgent", "Facts"} <= set(helper.info["added_words"])
    prompt = prompts_of(DecisionTable.from_rollouts(ROLLOUTS[:1]), facts=True)[0]
    assert helper.tokenizer.unk_token not in helper.tokenizer.convert_ids_to_tokens(helper.tokenizer.encode(prompt))


def test_without_facts_in_the_prompt_it_cannot_know_them(helper: LMHelper) -> None:
    parts = {"prices": PRICES, "costs": (1.0,), "encoder": helper.encoder}
    blind = LMHelper(helper.backbone, helper.tokenizer, helper.head, facts=False, **parts)
    one = ROLLOUTS[0]
    other = replace(one, steps=(replace(one.steps[0], feature_key="shoe|calm"),))
    assert (read(blind, [one]) == read(blind, [other])).all()
    assert (read(helper, [one]) != read(helper, [other])).any()


def test_the_knob_reaches_never_and_always(helper: LMHelper) -> None:
    x, start = read(helper, ROLLOUTS[:100]), np.ones(100, bool)
    usage = [helper.with_knob(k).predict(x, episode_start=start)[0].mean() for k in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert usage[0] == 0
    assert usage[-1] == 1
    assert usage == sorted(usage)


def test_saved_and_loaded_it_decides_the_same(helper: LMHelper, tmp_path: Path) -> None:
    moved = helper.with_knob(2.5)
    moved.save_pretrained(tmp_path / "helper")
    loaded = LMHelper.from_pretrained(tmp_path / "helper", memo=0)
    x = read(loaded, ROLLOUTS[:50])
    assert (x == read(helper, ROLLOUTS[:50])).all()
    assert all((a == b).all() for a, b in zip(loaded.gains(x), helper.gains(x), strict=True))
    assert (loaded.knob, loaded.prices, loaded.costs) == (2.5, PRICES, (1.0,))
    assert loaded.info == json.loads(json.dumps(moved.info))
    card = (tmp_path / "helper" / "README.md").read_text()
    assert "with_price" in card
    assert "explained variance of the gains at price 0.3" in card
    assert LMHelper.made_in(tmp_path)
    assert not LMSFTHelper.made_in(tmp_path)
    assert LMHelper.from_run(tmp_path, seed=5).seed == 5
    with pytest.raises(CheckpointError, match="selfreg-gains-2"):
        LMSFTHelper.from_pretrained(tmp_path / "helper")


def test_a_helper_of_an_earlier_version_is_read(helper: LMHelper, tmp_path: Path) -> None:
    helper.save_pretrained(tmp_path / "helper")
    file = tmp_path / "helper" / "helper.json"
    record = json.loads(file.read_text())
    assert record.pop("always") == 1
    file.write_text(json.dumps({**record, "format": "selfreg-gains-1"}))
    assert LMHelper.made_in(tmp_path)
    assert LMHelper.from_run(tmp_path).always == 1


def test_damaged_files_are_refused(helper: LMHelper, tmp_path: Path) -> None:
    helper.save_pretrained(tmp_path)
    record = json.loads((tmp_path / "helper.json").read_text())
    for field, value, message in (
        ("prices", [0.1], "value head"),
        ("costs", [], "'costs' in"),
        ("inputs", ["actor"], "must have the inputs"),
        ("facts", 1, "'facts' in"),
    ):
        (tmp_path / "helper.json").write_text(json.dumps({**record, field: value}))
        with pytest.raises(CheckpointError, match=message):
            LMHelper.from_pretrained(tmp_path)
    (tmp_path / "helper.json").unlink()
    with pytest.raises(CheckpointError, match="helper\\.json"):
        LMHelper.from_pretrained(tmp_path)
    (tmp_path / "helper.json").write_text(json.dumps({"format": "selfreg-helper-2"}))
    with pytest.raises(CheckpointError, match="load it with LMSFTHelper"):
        LMHelper.from_pretrained(tmp_path)


def test_the_same_seed_gives_the_same_helper(teacher: KnownTeacher) -> None:
    few = {**FAST, "epochs": 1, "max_decisions": 64}
    first, second, other = (LMHelper.train(ROLLOUTS, teacher, seed=seed, **few) for seed in (4, 4, 5))
    assert first.info["loss"] == second.info["loss"] != other.info["loss"]
    assert first.info["r2"] == second.info["r2"]


def test_adapters_are_merged_and_the_head_is_trained_with_them(teacher: KnownTeacher, tmp_path: Path) -> None:
    few = {**FAST, "epochs": 1, "max_decisions": 64}
    adapted = LMHelper.train(ROLLOUTS, teacher, lora=4, patience=2, seed=4, **few)
    assert adapted.info["lora"] == 4
    assert adapted.info["early_stopping"]["patience"] == 2
    assert not any("lora" in name for name, _ in adapted.backbone.named_parameters())
    adapted.save_pretrained(tmp_path)
    x = read(adapted, ROLLOUTS[:20])
    assert (LMHelper.from_pretrained(tmp_path).gains(x)[0] == adapted.gains(x)[0]).all()
    assert (LMHelper.from_pretrained(tmp_path).reader.encode(DecisionTable.from_rollouts(ROLLOUTS[:20])) == x).all()


def test_an_interrupted_training_continues_without_a_difference(
    teacher: KnownTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfreg_gym.lm import training

    few = {**FAST, "epochs": 1, "max_decisions": 96}
    whole = LMHelper.train(ROLLOUTS, teacher, seed=2, **few)
    plain: Callable[..., Any] = training.torch.nn.utils.clip_grad_norm_
    calls = 0

    def stop(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 30:  # in the training of the network of the numbers
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(training, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(training.torch.nn.utils, "clip_grad_norm_", stop)
    with pytest.raises(KeyboardInterrupt):
        LMHelper.train(ROLLOUTS, teacher, seed=2, resume=tmp_path, **few)
    assert list(tmp_path.rglob("*.safetensors"))
    resumed = LMHelper.train(ROLLOUTS, teacher, seed=2, resume=tmp_path, **few)
    assert resumed.info["loss"] == whole.info["loss"]
    assert resumed.info["r2"] == whole.info["r2"]


def test_frequent_prompts_are_drawn_once_with_weights_that_keep_the_mean() -> None:
    table = DecisionTable.from_rollouts([*ROLLOUTS, *ROLLOUTS[:100], *ROLLOUTS[:100]])
    rows = np.arange(len(table))
    distinct, count = distinct_decisions(table, rows)
    assert count.sum() == len(table)
    assert len(set(prompts_of(table.take(distinct), facts=True))) == len(distinct)
    value = table.steps_left.astype(float)
    means = []
    for seed in range(200):
        drawn, weight = draw_decisions(table, rows, size=60, seed=seed)
        assert len(set(drawn.tolist())) == len(drawn) == 60
        means.append(np.average(value[drawn], weights=weight))
    assert np.mean(means) == pytest.approx(value.mean(), abs=0.05)


def test_the_gains_of_a_transition_model_are_those_of_its_solution() -> None:
    played = play(300)
    model, table = TransitionModel.fit(played), DecisionTable.from_rollouts(played)
    gains = table_gains(model, table, prices=(0.2, 0.05))
    solution = solve(model, help_cost=0.05)
    steps = [step for episode in played for step in episode.steps]
    keys = [[getattr(step, name) for step in steps] for name in ("state_key", "feature_key", "steps_left")]
    state = model.locate_many(*keys)
    wanted = (solution.success_by_action[1] - solution.success_by_action[0])[state]
    assert np.allclose(gains.values[:, 1, 0, 0], wanted, atol=1e-6)
    asks = gains.values[:, 1, 0, 0] - np.float32(0.05) * gains.values[:, 1, 0, 1] > 1e-9
    assert (asks == (solution.policy[state] == 1)).all()
    prices = teacher_gains(model, table).prices
    assert list(prices) == sorted(prices, reverse=True)


def coin() -> dict[str, Any]:
    return {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": [Intervention(ExpertActor(), name="e")]}


def play(count: int) -> list[Episode]:
    from selfreg_gym.evaluation.playing import make_env

    return list(run_episodes(make_env(coin(), 8), [EpisodeSpec(i % 8, i, (i % 5) / 4) for i in range(count)]))


def test_it_plays_in_an_env_and_reads_there_what_it_read_in_training() -> None:
    played = play(120)
    helper = LMHelper.train(
        played, TransitionModel.fit(played), inputs=("steps_left",), 
        max_decisions=40, epochs=1, progress=False,
    )  # fmt: skip
    env = helper.wrap(gym.make("selfreg/Intervention-v0", **coin()))
    assert isinstance(env, EncodedObservation)
    live, _ = env.reset(seed=played[0].seed, options={"episode": played[0].task_index})
    assert (live == read(helper, played[:1])[0]).all()
    assert helper.predict(live)[0] in (0, 1)
    always = helper.with_knob(helper.knob_bounds[1])
    costs = [
        one.cost for one in run_episodes(gym.make("selfreg/Intervention-v0", **coin()), [EpisodeSpec(1, 1)], always)
    ]
    assert costs == [3.0]
    check_helper(helper)


def test_invalid_arguments_are_errors(teacher: KnownTeacher, helper: LMHelper) -> None:
    with pytest.raises(InvalidArgumentError, match="a teacher must have"):
        LMHelper.train(ROLLOUTS, object(), **FAST)
    with pytest.raises(UnknownNameError, match="feature"):
        LMHelper.train(ROLLOUTS, teacher, **{**FAST, "inputs": ("feature",)})
    with pytest.raises(InvalidArgumentError, match="log-probabilities"):
        LMHelper.train(ROLLOUTS, teacher, **{**FAST, "inputs": ("actor",)})
    with pytest.raises(InvalidArgumentError, match="reads the text itself"):
        LMHelper.train(ROLLOUTS, teacher, **{**FAST, "inputs": ("embedding",)})
    with pytest.raises(InvalidArgumentError, match="at least 2 tasks"):
        LMHelper.train(episodes(20, tasks=1), teacher, **FAST)
    with pytest.raises(InvalidArgumentError, match="must be a Rollouts store or episodes"):
        LMHelper.train("runs/demo/rollouts.sqlite", teacher, **FAST)
    with pytest.raises(InvalidArgumentError, match=r"on wrap\(env\)"):
        helper.gains(np.array(["a text"]))
    with pytest.raises(InvalidArgumentError, match="the sizes"):
        LMHelper(helper.backbone, helper.tokenizer, helper.head, prices=(0.1,), costs=(1.0,), encoder=helper.encoder)

    class Wrong(KnownTeacher):
        def gains(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            success, usage = super().gains(x)
            return success[:, :2], usage[:, :2]

    with pytest.raises(InvalidArgumentError, match="must be finite and of shape"):
        LMHelper.train(ROLLOUTS, Wrong(ROLLOUTS), **FAST)
