"""Collections with a server that fails: they end, and the store equals that of a run without faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loopback import FAULTS, LASTING, SILENT, Loopback, random_faults

from selfreg_gym.collection import collect
from selfreg_gym.endpoint.cache import AnswerCache
from selfreg_gym.errors import InvalidArgumentError, StoreError, UnknownNameError
from selfreg_gym.store.rollouts import Rollouts

PATIENT = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 0.2, "load_timeout": 0.2}
CALM = {**PATIENT, "timeout": 20.0, "load_timeout": 20.0}


def env_arguments(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """An env whose actor and intervention are behind the server."""
    priced = {"base_url": url, "seed": 5, "token_prices": [7.0, 50.0], **options}
    return {
        "task": "selfreg/Coin-v0",
        "actor": "endpoint",
        "actor_kwargs": {"base_url": url, **options},
        "interventions": ["endpoint"],
        "intervention_kwargs": {"endpoint": priced},
    }


def fill(url: str, path: Path, options: dict[str, Any], **changes: Any) -> Rollouts:
    settings = {"tasks": range(6), "episodes": 9, "help_probabilities": (0, 0.5, 1), "seed": 4, "num_envs": 6}
    return collect(env_arguments(url, options), store=path, **{**settings, "progress": False, **changes})


def content(rollouts: Rollouts) -> list:
    return [(p, e) for p, e in zip(rollouts.plan, rollouts, strict=True)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a server without faults."""
    path = tmp_path_factory.mktemp("calm") / "calm.sqlite"
    server = Loopback(can=("chat",))
    with fill(server.url, path, CALM) as rollouts:
        assert rollouts.is_complete
        assert not rollouts.failures()
    server.close()
    return path


@pytest.fixture(scope="module")
def calm(store: Path) -> list:
    with Rollouts.open(store) as rollouts:
        return content(rollouts)


def test_the_store_has_tokens_and_cost_of_each_call(calm: list, store: Path) -> None:
    steps = [step for _, episode in calm for step in episode]
    assert all(step.tokens > 10 for step in steps)
    assert all((step.reported_cost is None) == (step.action == 0) for step in steps)
    assert all(step.cost == (step.reported_cost or 0.0) for step in steps)
    assert all(s.reported_cost == pytest.approx((7.0 * (s.tokens - 1) + 50.0) / 1000) for s in steps if s.action)
    assert all(e.usage == (pytest.approx(sum(s.cost for s in e)),) for _, e in calm)
    with Rollouts.open(store) as rollouts:
        alone, helped = rollouts.spending()
        assert (alone.action, helped.action) == (0, 1)
        assert alone.tokens + helped.tokens == sum(step.tokens for step in steps)
        assert helped.reported_cost == pytest.approx(helped.cost)
        assert alone.cost == 0


def test_failures_of_a_fifth_of_the_requests_change_nothing(serve: Any, calm: list, tmp_path: Path) -> None:
    server = serve(can=("chat",), fault=random_faults(0.2, seed=1), hang=0.3)
    with fill(server.url, tmp_path / "r.sqlite", PATIENT) as rollouts:
        assert rollouts.is_complete
        assert content(rollouts) == calm
    assert set(FAULTS) <= set(server.faults)  # each kind occurred
    assert 0.1 < 1 - server.faults["none"] / len(server.requests) < 0.3


def test_truncated_episodes_are_stored_apart_and_played_again_on_resume(serve: Any, calm: list, tmp_path: Path) -> None:
    kinds = ("500", "reset", "empty", "malformed", *SILENT, *LASTING)
    server = serve(can=("chat",), fault=random_faults(0.2, seed=2, kinds=kinds))
    no_retries = {**CALM, "retries": 0, "strategy": "text", "api": "chat"}
    path = tmp_path / "r.sqlite"
    with fill(server.url, path, no_retries, retries=0) as rollouts:
        failed = rollouts.failures()
        assert failed
        assert not rollouts.is_complete
        assert rollouts.count() + len(failed) == len(calm)
        assert not {(p.task_index, p.seed) for p, _ in failed} & {(e.task_index, e.seed) for e in rollouts}
        expected = {(p.task_index, p.seed, p.help_probability): e for p, e in calm}
        for episode in rollouts:  # complete and equal
            assert episode == expected[episode.task_index, episode.seed, episode.help_probability]
    server.fault = None
    with fill(server.url, path, no_retries, retries=0) as rollouts:
        assert rollouts.is_complete
        assert content(rollouts) == calm
        assert rollouts.failures() == failed


def test_a_run_resumed_at_another_address_pays_nothing_twice(serve: Any, calm: list, tmp_path: Path) -> None:
    first, path, cache = serve(can=("chat",)), tmp_path / "r.sqlite", tmp_path / "answers.sqlite"
    seen: list = []

    def stop(episode: Any) -> None:
        seen.append(episode)
        if len(seen) == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(first.url, path, {**CALM, "cache": str(cache)}, progress=stop)
    known = len(AnswerCache(cache))
    assert known >= 10
    second = serve(can=("chat",))  # another address and other time limits, the same model
    options = {**CALM, "cache": str(cache), "timeout": 19.0, "concurrency": 2}
    with fill(second.url, path, options) as rollouts:
        assert content(rollouts) == calm
    with fill(second.url, tmp_path / "again.sqlite", options) as rollouts:
        assert content(rollouts) == calm
    everything = second.count("/chat/completions")
    fill(second.url, tmp_path / "third.sqlite", options).close()
    assert second.count("/chat/completions") == everything
    with pytest.raises(StoreError, match=r"actor_kwargs\.model"):
        fill(second.url, path, {**options, "model": "other"})


def test_workers_change_nothing(serve: Any, calm: list, tmp_path: Path) -> None:
    url = serve(can=("chat",)).url
    with fill(url, tmp_path / "r.sqlite", {**CALM, "cache": str(tmp_path / "a.sqlite")}, workers=2) as rollouts:
        assert content(rollouts) == calm


def test_stores_and_caches_contain_no_key(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-verysecret-0815")
    for right, name in (("sk-verysecret-0815", "a"), ("another", "b")):
        server = serve(can=("chat",), key=right, odd="leak")
        options = {**CALM, "api_key_env": "TEST_KEY", "cache": str(tmp_path / "cache.sqlite"), "strategy": "text"}
        fill(server.url, tmp_path / f"{name}.sqlite", options, episodes=3, tasks=range(2)).close()
    with Rollouts.open(tmp_path / "b.sqlite") as rollouts:
        assert "Incorrect API key provided: Bearer [key]" in rollouts.failures()[0][1]
    for file in tmp_path.glob("*.sqlite*"):
        assert b"verysecret" not in file.read_bytes(), file


def test_control_characters_are_removed_and_other_scripts_stored(serve: Any, tmp_path: Path) -> None:
    server = serve(can=("chat",), odd="control")
    with fill(server.url, tmp_path / "r.sqlite", {**CALM, "strategy": "text"}, episodes=3, tasks=range(2)) as rollouts:
        assert rollouts.is_complete
        texts = {step.action_text for episode in rollouts for step in episode}
        assert texts == {"идти на север \ufffd 北へ行け"}
        assert all(step.invalid and not episode.success for episode in rollouts for step in episode)


def test_invalid_arguments_create_no_store(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        fill("http://127.0.0.1:9/v1", tmp_path / "r.sqlite", {"api_key": "sk-verysecret"})
    assert "verysecret" not in str(caught.value)
    with pytest.raises(InvalidArgumentError, match="api_key_env must be the NAME"):
        fill("http://127.0.0.1:9/v1", tmp_path / "r.sqlite", {"api_key_env": "sk-verysecret"})
    assert not list(tmp_path.glob("r.sqlite*"))


def test_asking_the_actor_at_every_step_gives_the_same_episodes(serve: Any, calm: list, tmp_path: Path) -> None:
    server = serve(can=("chat",))
    with fill(server.url, tmp_path / "a.sqlite", CALM, ask_actor_always=True) as rollouts:
        for (spec, episode), (other, plain) in zip(content(rollouts), calm, strict=True):
            helped = sum(step.action > 0 for step in episode)
            assert spec == other
            assert episode.metrics.pop("extra_actor_calls", 0) == helped
            assert episode == plain  # this server gives no log-probabilities


def test_a_failed_call_at_a_step_with_help_is_a_failed_episode(serve: Any, calm: list, tmp_path: Path) -> None:
    server = serve(can=("chat",), fault=random_faults(0.2, seed=2, kinds=("500", "reset")))
    no_retries = {**CALM, "retries": 0, "strategy": "text", "api": "chat"}
    path = tmp_path / "r.sqlite"
    with fill(server.url, path, no_retries, retries=0, ask_actor_always=True) as rollouts:
        assert any(spec.help_probability == 1 for spec, _ in rollouts.failures())
    server.fault = None
    with fill(server.url, path, no_retries, retries=0, ask_actor_always=True) as rollouts:
        assert [episode.steps for episode in rollouts] == [episode.steps for _, episode in calm]
