"""docs/endpoint.md and examples/endpoint.toml: their code runs, and every file that it reads was created before."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.collection import collect
from selfreg_gym.pipeline.config import from_dict, load_config

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000/v1"


def blocks(repository: Path, language: str) -> list[str]:
    text = (repository / "docs" / "endpoint.md").read_text(encoding="utf-8")
    return [code for name, code in BLOCK.findall(text) if name == language]


def _smoke_run(folder: Path) -> None:
    """Untrained models in place of ``runs/smoke/helper`` and ``runs/smoke/prm``."""
    from selfreg_gym.agents.helpers._lm_sft_examples import answer_tokens
    from selfreg_gym.agents.helpers.lm_sft import LMSFTHelper
    from selfreg_gym.lm.loading import load_causal, load_classifier, load_tokenizer
    from selfreg_gym.prm import ProcessRewardModel

    backbone = LM().checkpoint_dir
    tokenizer = load_tokenizer(backbone)
    helper = LMSFTHelper(load_causal(backbone), tokenizer, answers=answer_tokens(tokenizer, 1), budget=1.0)
    helper.save_pretrained(folder / "helper")
    ProcessRewardModel(load_classifier(backbone), tokenizer).save_pretrained(folder / "prm")


def test_the_python_code_runs(
    repository: Path, serve: Any, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.chdir(tmp_path)
    _smoke_run(Path("runs/smoke"))
    namespace: dict[str, Any] = {}
    for code in blocks(repository, "python"):
        for folder in re.findall(r'model="(runs/[^"]*)"', code):
            assert (Path(folder) / "config.json").exists(), f"{folder} is read before it was created"
        code = code.replace(ADDRESS, server.url)
        exec(compile(re.sub(r'model="[^"]*"', 'model="rule"', code), "docs/endpoint.md", "exec"), namespace)
    assert "'strategy': 'echo'" in capsys.readouterr().out
    env = namespace["env"]
    observation, _ = env.reset(seed=0)
    assert env.step(0)[4]["error"] is None
    for name in ("helper", "asks_a_model", "by_prm"):
        assert namespace[name].predict([observation])[0].shape == (1,)


def test_the_configs_are_valid(repository: Path) -> None:
    tables = [tomllib.loads(code) for code in blocks(repository, "toml")]
    assert [from_dict(table) for table in tables]
    config = load_config(path=repository / "examples" / "endpoint.toml")
    assert config.actor.kwargs["model"] == "small"
    assert config.interventions.kwargs["endpoint"]["token_prices"] == [1.0, 4.0]


def test_the_commands_find_their_files(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(repository / "examples", "examples", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    Path("endpoint.toml").write_text(blocks(repository, "toml")[0], encoding="utf-8")
    lines = [line for code in blocks(repository, "sh") for line in code.splitlines()]
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[:2] == ["selfreg", "run"]
        options = list(zip(words[2::2], words[3::2], strict=True))
        named = dict(options)
        assert "--out" in named
        overrides = [value for name, value in options if name == "--set"]
        config = load_config(preset=named.get("--preset"), path=named.get("--config"), overrides=overrides)
        assert config.actor.id == "endpoint" or named["--out"] == "runs/smoke"
    outs = [line.split("--out ")[1] for line in lines]
    assert len(set(outs)) == len(outs)  # one directory per run


def test_the_first_config_collects(
    repository: Path, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve(can=("chat",))
    config = from_dict(tomllib.loads(blocks(repository, "toml")[0].replace(ADDRESS, server.url)))
    kwargs = {**config.actor.kwargs, "model": "rule"}
    env = {"task": config.task.id, "actor": config.actor.id, "actor_kwargs": kwargs, "interventions": ["expert"]}
    with collect(env, store="r.sqlite", tasks=range(1), episodes=2, seed=0, progress=False) as rollouts:
        assert rollouts.is_complete
    assert Path(kwargs["cache"]).exists()
