"""Arguments of actors, interventions and helpers in a config: checked first, and immaterial ones may change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback

from selfreg_gym.errors import InvalidArgumentError, RunDirectoryError, UnknownNameError
from selfreg_gym.pipeline import STAGES, advance, open_run
from selfreg_gym.pipeline.candidates import build, helper_names
from selfreg_gym.store.rollouts import Rollouts

KEY = "sk-verysecret-4711"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("TEST_KEY", KEY)
    loopback = Loopback(can=("chat", "systemone"), key=KEY)
    yield loopback
    loopback.close()


def overrides(url: str, **more: Any) -> list[str]:
    sections = ("actor.kwargs", "interventions.kwargs.endpoint", "evaluate.kwargs.endpoint")
    server = {"base_url": url, "model": "rule", "api_key_env": "TEST_KEY", **more}
    return [
        "actor.id=endpoint",
        'interventions.ids=["expert", "endpoint"]',
        "interventions.kwargs.endpoint.token_prices=[1.0, 0.0]",
        "interventions.kwargs.endpoint.strategy=text",
        'evaluate.helpers=["never", "endpoint"]',
        *(f"{section}.{name}={json.dumps(value)}" for section in sections for name, value in server.items()),
    ]


def test_a_run_with_a_server_continues_at_another_address(server: Loopback, tmp_path: Path) -> None:
    run = open_run(
        tmp_path / "r", preset="smoke", overrides=overrides(server.url), progress=False, say=lambda line: None
    )
    advance(run, ["collect"])
    with Rollouts.open(tmp_path / "r" / "rollouts.sqlite") as rollouts:
        assert rollouts.is_complete
        assert rollouts.spec["env"]["actor_kwargs"] == {"model": "rule"}
        assert rollouts.spec["env"]["intervention_kwargs"]["endpoint"]["token_prices"] == [1.0, 0.0]
        by_action = {spending.action: spending for spending in rollouts.spending()}
        assert by_action[0].tokens > 0
        assert by_action[2].reported_cost == pytest.approx(by_action[2].cost)
    for file in (tmp_path / "r").rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes(), file
    helpers = {key.budget: helper for key, helper in build(run).items() if key.name == "endpoint"}
    assert tuple(helpers) == run.config.evaluate.budgets_others
    assert next(iter(helpers.values())).predict(["an observation"])[0].shape == (1,)

    said: list[str] = []
    moved = overrides("http://127.0.0.1:9/v1", timeout=3.0)  # no server, and none is needed
    again = open_run(tmp_path / "r", preset="smoke", overrides=moved, progress=False, say=said.append)
    advance(again, ["collect"])
    assert said == [f"1/{len(STAGES)} collect: up to date"]
    with pytest.raises(RunDirectoryError, match=r"actor\.kwargs"):
        open_run(tmp_path / "r", preset="smoke", overrides=overrides(server.url, model="other"), progress=False)


def test_a_helper_that_needs_a_server_is_compared_only_if_it_is_named(server: Loopback, tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", preset="smoke", overrides=["evaluate.helpers=[]"], progress=False)
    assert "endpoint" not in helper_names(run)
    assert {"never", "always", "dp"} <= set(helper_names(run))
    assert not {"lm", "lm-sft"} & set(helper_names(run)), "none is trained yet"


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("actor.kwargs.api_key=sk-verysecret", UnknownNameError, "Did you mean 'api_key_env'"),
        ("actor.kwargs.api_key_env=sk-verysecret", InvalidArgumentError, "NAME of an environment variable"),
        ("interventions.kwargs.endpont.cost=2.0", UnknownNameError, "Did you mean 'endpoint'"),
        ("interventions.kwargs.expert.costs=2.0", UnknownNameError, "Did you mean 'cost'"),
    ],
)
def test_invalid_arguments_raise_before_a_file_is_written(
    server: Loopback, tmp_path: Path, override: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        open_run(tmp_path / "r", preset="smoke", overrides=[*overrides(server.url), override], progress=False)
    assert "verysecret" not in str(caught.value)
    assert not (tmp_path / "r").exists()
