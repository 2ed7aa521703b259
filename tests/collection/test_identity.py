"""A collection is continued only with the same functions, whatever their names."""

from __future__ import annotations

import functools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym import Intervention, InterventionVectorEnv
from selfreg_gym.collection import collect
from selfreg_gym.collection.identity import identity_of
from selfreg_gym.errors import StoreError


def digest(actor: Any) -> Any:
    return identity_of("selfreg/Coin-v0", actor, [])["code"]["actor"]


def says(word: str) -> Any:
    return lambda text: word


def counts() -> Any:
    calls, number = [], 0

    def actor(text: str) -> str:
        nonlocal number
        number += 1
        calls.append(text)
        return "heads"

    return actor


def helped(text: str) -> str:
    return _part(text)


def _part(text: str) -> str:
    return "heads"


def with_default(text: str, word: str = "heads") -> str:
    return word


def test_code_constants_closure_and_defaults_count() -> None:
    different = [
        lambda text: "heads", lambda text: "tails", lambda text: text, says("heads"), says("tails"), helped,
        with_default, functools.partial(with_default, word="tails"), functools.partial(with_default, word="heads"),
    ]  # fmt: skip
    digests = [digest(actor) for actor in different]
    assert None not in digests
    assert len(set(digests)) == len(digests)
    # The same code at another place is the same actor.
    assert digest(lambda text: "heads") == digests[0]
    assert digest(says("heads")) == digests[3]


def test_values_that_change_at_run_time_do_not_count() -> None:
    actor = counts()
    before = digest(actor)
    actor("x")
    assert digest(actor) == before


class Says:
    """A callable with an attribute that matters, one that changes in use, and one that does not matter."""

    immaterial = ("delay",)

    def __init__(self, word: str, delay: float = 0.0) -> None:
        self.word, self.delay, self.calls = word, delay, 0

    def __call__(self, text: str) -> str:
        self.calls += 1
        return self.word


def test_ids_and_objects_have_no_code() -> None:
    class Actor:
        def act(self, decisions: Any) -> Any:
            return []

    assert digest("tiny") is None
    assert digest(Actor()) is None


def test_code_and_attributes_of_an_object_count() -> None:
    def shouting(text: str) -> str:
        return text.upper()

    called = type("Calls", (), {"__call__": lambda self, text: text})()
    other = type("Calls", (), {"__call__": lambda self, text: shouting(text)})()
    assert digest(called) != digest(other)
    heads, tails = Says("heads"), Says("tails")
    different = [
        heads,
        tails,
        heads.__call__,
        tails.__call__,
        functools.partial(heads, "x"),
        str.upper,
    ]
    digests = [digest(actor) for actor in different]
    assert len(set(digests)) == len(digests)
    assert digest(Says("heads", delay=2.0)) == digests[0]
    heads("x")
    assert digest(heads) == digests[0]


def test_another_object_raises(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    fill(path, Says("heads"), Says("heads")).close()
    fill(path, Says("heads", delay=1.0), Says("heads")).close()
    with pytest.raises(StoreError, match=r"env\.identity\.code\.actor"):
        fill(path, Says("tails"), Says("heads"))
    with pytest.raises(StoreError, match=r"env\.identity\.code\.interventions"):
        fill(path, Says("heads"), Says("tails"))


def test_a_function_of_the_module_that_is_called_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(helped)
    monkeypatch.setitem(globals(), "_part", says("tails"))
    assert digest(helped) != before


def fill(path: Path, actor: Any, friend: Any, *, cost: float = 1.0, live: bool = False) -> Any:
    env: Any = {
        "task": "selfreg/Coin-v0", "actor": actor, "interventions": [Intervention(friend, name="friend", cost=cost)]
    }  # fmt: skip
    if live:
        env = InterventionVectorEnv(2, **env, autoreset_mode="Disabled")
    return collect(env, store=path, tasks=[0], episodes=2, progress=False)


@pytest.mark.parametrize("live", [False, True])
def test_another_function_raises_with_its_name(tmp_path: Path, live: bool) -> None:
    path = tmp_path / "r.sqlite"
    heads, tails = (lambda text: "heads"), (lambda text: "tails")
    fill(path, heads, heads, live=live).close()
    fill(path, lambda text: "heads", heads, live=live).close()
    with pytest.raises(StoreError, match=r"env\.identity\.code\.actor"):
        fill(path, tails, heads, live=live)
    with pytest.raises(StoreError, match=r"env\.identity\.code\.interventions"):
        fill(path, heads, tails, live=live)
    with pytest.raises(StoreError, match=r"env\.identity\.costs"):
        fill(path, heads, heads, cost=2.0, live=live)


def test_stores_of_earlier_versions_and_of_another_python_are_continued(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    fill(path, says("heads"), says("heads")).close()

    def change(edit: Any) -> None:
        with sqlite3.connect(path) as connection:
            spec = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'spec'").fetchone()[0])
            edit(spec)
            connection.execute("UPDATE meta SET value = ? WHERE key = 'spec'", (json.dumps(spec),))

    change(lambda spec: spec["env"]["identity"].update(python="3.99", code="of another Python"))
    fill(path, says("heads"), says("heads")).close()
    with pytest.raises(StoreError, match="costs"):
        fill(path, says("heads"), says("heads"), cost=2.0)
    change(lambda spec: (spec["env"].pop("identity"), spec.pop("plan")))
    with pytest.raises(StoreError, match="other episodes"):  # the plan is that of version 2
        fill(path, says("heads"), says("heads"))
