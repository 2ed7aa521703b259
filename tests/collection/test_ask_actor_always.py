"""Collection with the actor's log-probabilities at every step."""

from __future__ import annotations

import dataclasses
import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym.collection import collect
from selfreg_gym.errors import InvalidArgumentError, StoreError
from selfreg_gym.pipeline.config_sections import CollectConfig
from selfreg_gym.store.rollouts import Rollouts

PARTS = '''
    import numpy as np
    from selfreg_gym.types import Act

    class Ranked:
        """Draws an action from a distribution that depends on the observation."""
        def act(self, decisions):
            acts = []
            for d in decisions:
                p = 0.3 + 0.4 * (sum(map(ord, d.observation)) % 7) / 7
                text = "heads" if d.rng.random() < p else "tails"
                acts.append(Act(text, logprobs=(float(np.log(p)), float(np.log(1 - p)))))
            return acts
'''


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments with an actor of a real module, importable in the workers too."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "ranked_parts.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(folder))
    import ranked_parts

    return {"task": "selfreg/Coin-v0", "actor": ranked_parts.Ranked(), "interventions": ["expert"]}


def fill(env: Any, path: Path, **changes: Any) -> Rollouts:
    settings = {"tasks": range(5), "episodes": 6, "help_probabilities": (0, 0.5, 1), "seed": 4, "progress": False}
    return collect(env, store=path, **{**settings, **changes})


def test_the_episodes_are_those_of_a_collection_without_it(env: dict[str, Any], tmp_path: Path) -> None:
    with fill(env, tmp_path / "a") as plain, fill(env, tmp_path / "b", ask_actor_always=True) as asked:
        for one, other in zip(plain, asked, strict=True):
            assert all(step.actor_logprobs is None for step in one)
            assert all(len(step.actor_logprobs or ()) == 2 for step in other)
            steps = tuple(dataclasses.replace(step, actor_logprobs=None) for step in other)
            metrics = {name: x for name, x in other.metrics.items() if name != "extra_actor_calls"}
            assert dataclasses.replace(other, steps=steps, metrics=metrics) == one
            assert other.metrics.get("extra_actor_calls", 0) == sum(step.action > 0 for step in other)
        assert asked.action_kinds == plain.action_kinds == ("heads", "tails")


def test_workers_and_batches_change_nothing(env: dict[str, Any], tmp_path: Path) -> None:
    with (
        fill(env, tmp_path / "a", ask_actor_always=True, num_envs=1) as one,
        fill(env, tmp_path / "b", ask_actor_always=True, num_envs=7, workers=2) as other,
    ):
        assert list(one) == list(other)


def test_a_store_is_continued_only_with_the_same_setting(env: dict[str, Any], tmp_path: Path) -> None:
    fill(env, tmp_path / "a").close()
    with pytest.raises(StoreError, match="ask_actor_always: the store has 'nothing', asked for True"):
        fill(env, tmp_path / "a", ask_actor_always=True)
    fill(env, tmp_path / "b", ask_actor_always=True).close()
    with pytest.raises(StoreError, match="ask_actor_always: the store has True, asked for 'nothing'"):
        fill(env, tmp_path / "b")
    with fill(env, tmp_path / "b", ask_actor_always=True) as again:  # nothing is missing
        assert again.is_complete
    with pytest.raises(InvalidArgumentError, match="ask_actor_always must be True or False, received 1"):
        fill(env, tmp_path / "c", ask_actor_always=1)


def test_the_distribution_does_not_reveal_who_acted(env: dict[str, Any], tmp_path: Path) -> None:
    with fill(env, tmp_path / "a", ask_actor_always=True, help_probabilities=(0.5,)) as rollouts:
        columns = rollouts.columns("actor_logprobs", "action", "observation")
    helped = columns["action"] > 0
    assert 20 < helped.sum() < len(helped) - 20
    assert columns["actor_logprobs"].present.all()
    by_text: dict[str, set[Any]] = {}
    for code, row in zip(columns["observation"].codes, columns["actor_logprobs"], strict=True):
        by_text.setdefault(code, set()).add(tuple(np.asarray(row).tolist()))
    assert all(len(rows) == 1 for rows in by_text.values())


def test_the_setting_is_part_of_a_runs_identity_only_if_it_is_on() -> None:
    assert "ask_actor_always" not in CollectConfig().identity()
    assert CollectConfig(ask_actor_always=True).identity()["ask_actor_always"] is True
