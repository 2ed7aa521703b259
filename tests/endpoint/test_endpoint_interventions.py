"""Interventions that call a server which fails in the middle: only the affected episodes are discarded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loopback import LASTING, SILENT, Loopback, random_faults

from selfreg_gym.collection import collect
from selfreg_gym.errors import SetupError
from selfreg_gym.store.rollouts import Rollouts

OPTIONS = {"model": "rule", "strategy": "text", "api": "chat", "backoff": 0.001, "max_backoff": 0.01}
KINDS = ("500", "reset", "truncated", "malformed", "empty", "null", *SILENT, *LASTING)
KWARGS: dict[str, dict[str, Any]] = {
    "advice": {"adviser": "endpoint"},
    "best-of-n": {"n": 3, "actor": "endpoint", "rollouts": 1, "futures": 1},
    "self-consistency": {"n": 3, "actor": "endpoint"},
    "endpoint": {"may_pass": True},
}
"""The interventions and their arguments; the server's are added."""


def guess(text: str) -> str:
    return "heads" if "Coin 1" in text else "tails"


def fill(url: str, path: Path, name: str, server: dict[str, Any], **changes: Any) -> Rollouts:
    """A collection with one of the interventions behind the server."""
    options = {"base_url": url, **OPTIONS, **server}
    given = dict(KWARGS[name])
    if name == "advice":
        given["adviser_kwargs"] = options
    elif name == "endpoint":
        given |= options
    else:
        given["actor_kwargs"] = {**options, "temperature": 1.0}
    env = {
        "task": "selfreg/Coin-v0", "actor": guess, "interventions": [name], "intervention_kwargs": {name: given},
    }  # fmt: skip
    settings = {"tasks": range(4), "episodes": 6, "help_probabilities": (0, 0.7), "seed": 4, "num_envs": 6}
    return collect(env, store=path, **{**settings, "progress": False, **changes})


@pytest.mark.parametrize("name", KWARGS)
def test_a_server_that_fails_in_the_middle_costs_only_its_episodes(name: str, tmp_path: Path) -> None:
    server = Loopback(can=("chat",))
    try:
        with fill(server.url, tmp_path / "calm.sqlite", name, {"retries": 0}) as rollouts:
            assert rollouts.is_complete
            calm = {(one.task_index, one.seed): one for one in rollouts}
        server.fault = random_faults(0.25, seed=3, kinds=("500", "reset", "truncated", "empty"))
        with fill(server.url, tmp_path / "retried.sqlite", name, {"retries": 8}) as rollouts:
            assert {(one.task_index, one.seed): one for one in rollouts} == calm
        server.fault = random_faults(0.15, seed=2, kinds=KINDS)
        path = tmp_path / "faults.sqlite"
        with fill(server.url, path, name, {"retries": 0}, retries=0) as rollouts:
            failed = rollouts.failures()
            assert failed
            assert all(f"the intervention {name!r}" in failure.error for failure in failed)
            assert all(failure.spec.help_probability == 0.7 for failure in failed)
            found = {(one.task_index, one.seed): one for one in rollouts}
            assert len(found) + len(failed) == len(calm)
            assert all(calm[key] == one for key, one in found.items())
        server.fault = None
        with fill(server.url, path, name, {"retries": 0}, retries=0) as rollouts:
            assert {(one.task_index, one.seed): one for one in rollouts} == calm
    finally:
        server.close()


class _Renamed(Loopback):
    """A server that serves another model from a request on."""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        gone = len(self.requests) > 4
        if path.endswith("/models"):
            return 200, {"object": "list", "data": [{"id": "other" if gone else "rule", "object": "model"}]}
        if gone:
            return 404, {"error": {"message": "The model `rule` does not exist."}}
        return super().answer(path, body)


@pytest.mark.parametrize("name", ["advice", "self-consistency"])
def test_a_model_that_is_gone_ends_the_collection_which_can_be_continued(name: str, tmp_path: Path) -> None:
    server = _Renamed(can=("chat",))
    try:
        with pytest.raises(SetupError, match=r"has no model 'rule'.*It has: other"):
            fill(server.url, tmp_path / "r.sqlite", name, {"retries": 0})
    finally:
        server.close()
    server = Loopback(can=("chat",))
    try:
        with fill(server.url, tmp_path / "r.sqlite", name, {"retries": 0}) as rollouts:
            assert rollouts.is_complete
            assert not rollouts.failures()
    finally:
        server.close()
