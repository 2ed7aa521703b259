"""A user's own model in a config: examples/llama3b.toml, and errors in such a config."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

import selfreg_gym  # noqa: F401  (registers the tasks)
from selfreg_gym.errors import CheckpointError, ConfigError, InvalidArgumentError, UnknownNameError
from selfreg_gym.intervention_env.building import build_actor
from selfreg_gym.pipeline import open_run
from selfreg_gym.pipeline.checkpoints import models_of
from selfreg_gym.pipeline.config import load_config
from selfreg_gym.pipeline.training import _description, _training


@pytest.fixture
def tiny(repository: Path) -> str:
    return str(repository / "agents" / "checkpoints" / "sif" / "tiny")


def on_this_machine(checkpoint: str) -> list[str]:
    return [
        f"actor.kwargs.path={checkpoint!r}", "actor.kwargs.device=cpu", f"prm.backbone={checkpoint!r}",
        f"helper.backbone={checkpoint!r}", "prm.device=cpu", "helper.device=cpu",
    ]  # fmt: skip


def test_the_example_with_another_path_has_another_model(repository: Path, tiny: str, tmp_path: Path) -> None:
    path = repository / "examples" / "llama3b.toml"
    config = load_config(path=path)
    assert config.actor.kwargs["dtype"] == config.prm.dtype == config.helper.dtype == "bfloat16"
    assert config.collect.workers == config.calibrate.workers == config.evaluate.workers == 1
    assert (config.prm.patience, config.helper.accumulate) == (3, 4)
    run = open_run(tmp_path / "r", path=path, overrides=on_this_machine(tiny))
    models = models_of(run.config)
    assert len(models) == 3
    assert len(set(models.values())) == 1
    card = _description(run)
    assert (card["task"], card["actor"], card["interventions"]) == ("selfreg/SIF-v0", "lm", ["expert"])
    assert card["splits"]["unseen"] == {"split": "test-unseen"}
    env = gym.make("selfreg/Intervention-v0", **run.env_kwargs())
    _, info = env.reset(seed=0, options={"episode": 0})
    _, _, _, _, after = env.step(0)
    assert after["action_text"] in info["admissible_actions"]
    assert str(env.unwrapped.actor.scorer.model.dtype) == "torch.bfloat16"
    assert env.spec.to_json()  # plain values: the manifest holds them


def test_a_missing_model_raises_before_a_stage_runs(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Llama-3\.2-3B-Instruct"):
        open_run(tmp_path / "r", path=repository / "examples" / "llama3b.toml")
    assert not (tmp_path / "r").exists()


def test_settings_of_trainings() -> None:
    config = load_config(overrides=["prm.patience=2", "helper.lr=0.001", "helper.accumulate=4"])
    assert _training(config.prm)["patience"] == 2
    assert _training(config.helper) == {
        "lr": 0.001, "batch_size": 8, "accumulate": 4, "patience": None, "dtype": "float32", "device": "cpu",
    }  # fmt: skip
    assert _training(config.prm)["lr"] is None
    with pytest.raises(ConfigError, match=r"prm\.dtype must be 'float32', 'bfloat16' or 'float16', received 'int8'"):
        load_config(overrides=["prm.dtype=int8"])
    with pytest.raises(ConfigError, match=r"helper\.accumulate must be at least 1"):
        load_config(overrides=["helper.accumulate=0"])


def test_arguments_of_an_actor_are_checked(tiny: str) -> None:
    actor = build_actor("lm", {"path": tiny, "temperature": 0})
    assert actor.temperature == 0
    with pytest.raises(UnknownNameError, match=r"argument of the actor 'lm'.*Did you mean 'temperature'"):
        build_actor("lm", {"temprature": 0})
    with pytest.raises(InvalidArgumentError, match="given by its name"):
        build_actor(lambda text: "x", {"path": tiny})
