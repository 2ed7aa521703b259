"""docs/endpoint.md and examples/endpoint.toml: what they show runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from selfreg_gym.pipeline.config import from_dict, load_config

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(repository: Path, language: str) -> list[str]:
    text = (repository / "docs" / "endpoint.md").read_text(encoding="utf-8")
    return [code for name, code in BLOCK.findall(text) if name == language]


def test_the_python_of_the_page_runs_at_a_server(repository: Path, serve: Any, capsys: Any) -> None:
    server = serve()
    namespace: dict[str, Any] = {}
    for code in blocks(repository, "python"):
        code = code.replace("http://127.0.0.1:8000/v1", server.url)
        exec(compile(re.sub(r'model="[^"]*"', 'model="rule"', code), "docs/endpoint.md", "exec"), namespace)
    assert "'way': 'echo'" in capsys.readouterr().out
    env = namespace["env"]
    observation, _ = env.reset(seed=0)
    assert env.step(0)[4]["error"] is None
    for name in ("helper", "asks_a_model", "by_prm"):
        assert namespace[name].predict([observation])[0].shape == (1,)


def test_the_configs_of_the_page_are_configs(repository: Path) -> None:
    tables = [tomllib.loads(code) for code in blocks(repository, "toml")]
    assert [from_dict(table) for table in tables]
    config = load_config(path=repository / "examples" / "endpoint.toml")
    assert config.actor.kwargs["model"] == "small"
    assert config.interventions.kwargs["endpoint"]["completion_price"] == 4.0
