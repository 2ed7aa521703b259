"""Contract tests of everything registered: a new plug-in file is tested without another edit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from loopback import Loopback

from selfreg_gym import registry
from selfreg_gym.errors import MissingPackageError
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import check_actor, check_helper, check_intervention, check_task


def _task() -> str:
    """The task that the agents are made for."""
    return "selfreg/SIF-v0" if "selfreg/SIF-v0" in registry.names("envs") else "selfreg/Coin-v0"


@pytest.fixture(autouse=True)
def _terminal_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``human`` plug-ins read from the terminal; here the input is always the first action."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *prompt: "1")


def _tasks() -> list[Any]:
    """All task ids. Of several ids of one class (the levels of a suite), only the first is not slow."""
    known: set[tuple[str, str | None]] = set()
    names = []
    for entry in registry.describe("envs"):
        kind = (entry.module, entry.attribute)
        names.append(pytest.param(entry.name, marks=pytest.mark.slow if kind in known else ()))
        known.add(kind)
    return names


@pytest.mark.parametrize("name", _tasks())
def test_tasks(name: str) -> None:
    try:
        check_task(name, max_steps=3000)  # the longest levels of BabyAI have 2,880
    except MissingPackageError as missing:
        pytest.skip(str(missing))
    assert gym.spec(name).id == name


@pytest.mark.parametrize("name", registry.names("actors"))
def test_actors(name: str) -> None:
    check_actor(registry.load("actors", name)(), task=_task())


ARGUMENTS: dict[str, dict[str, Any]] = {
    "best-of-n": {"n": 3, "rollouts": 1, "futures": 2},
    "replay": {"source": ["Go to Room 1", "Done!"]},
}
"""Arguments of the interventions that need some, or that are slow without."""


@pytest.mark.parametrize("name", registry.names("interventions"))
def test_interventions(name: str) -> None:
    intervention = registry.load("interventions", name)(**ARGUMENTS.get(name, {}))
    check_intervention(intervention, task=_task())
    assert intervention.name == name


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _served_address(monkeypatch: pytest.MonkeyPatch, loopback: Loopback) -> None:
    """The ``endpoint`` plug-ins use the server in the environment variable; here it is a server of the tests."""
    monkeypatch.setenv("OPENAI_BASE_URL", loopback.url)


def _needs_arguments(cls: type[Any]) -> bool:
    parameters = inspect.signature(cls).parameters.values()
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


@pytest.mark.parametrize("name", registry.names("helpers"))
def test_helpers(name: str) -> None:
    cls = registry.load("helpers", name)
    assert callable(cls.predict)
    assert callable(cls.wrap)
    assert isinstance(getattr(cls, "takes_budget", False), bool)
    if hasattr(cls, "from_run"):  # without it, a run makes the helper by cls()
        assert {"run", "budget", "seed"} <= set(inspect.signature(cls.from_run).parameters)
    else:
        assert not _needs_arguments(cls)
    if not _needs_arguments(cls):  # the others are made from a run's artifacts, and tested in their own modules
        check_helper(cls())


@pytest.mark.parametrize("actor", registry.names("actors"))
def test_every_actor_plays_whole_episodes_with_every_intervention(actor: str) -> None:
    names = registry.names("interventions")
    kwargs = {"intervention_kwargs": ARGUMENTS, "autoreset_mode": "Disabled"}
    env = InterventionVectorEnv(2, _task(), actor, names, **kwargs)  # type: ignore[arg-type]
    episodes = list(run_episodes(env, [EpisodeSpec(i, i, 0.3) for i in range(3)]))
    assert [episode.error for episode in episodes] == [None] * 3
    assert all(len(episode.usage) == len(registry.names("interventions")) for episode in episodes)


@pytest.mark.parametrize("group", list(registry.GROUPS))
def test_every_plugin_has_a_summary(group: str) -> None:
    for entry in registry.describe(group):
        assert entry.summary, entry.module
        assert registry.load(group, entry.name).__doc__, entry.module
