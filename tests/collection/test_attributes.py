"""A collection is continued only with actors of the same attributes; what acting changes does not count."""

from __future__ import annotations

import collections
import enum
import functools
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym import Intervention, InterventionEnv, InterventionVectorEnv
from selfreg_gym.collection import collect
from selfreg_gym.collection.identity import identity_of
from selfreg_gym.envs.coin import Coin
from selfreg_gym.errors import StoreError


class Says:
    """Says a word, counts its calls, and stores decisions in attributes that it declares."""

    immaterial: tuple[str, ...] = ("seen", "count", "memory", "recent", "total")

    def __init__(self, word: Any = "heads", **more: Any) -> None:
        self.word = word
        self.calls = 0
        self.seen: list[str] = []
        self.count: dict[str, int] = collections.Counter()
        self.memory: dict[str, Any] = {"nested": {}}
        self.recent: collections.deque[str] = collections.deque(maxlen=3)
        self.lock = threading.Lock()
        self.rng = np.random.default_rng(0)
        self.stream = (i for i in range(10))
        self.total = np.zeros(2)
        self.bank = Bank()
        for name, value in more.items():
            setattr(self, name, value)

    def act(self, decisions: Any) -> Any:
        self._remember(decisions)
        return ["heads" for _ in decisions]

    def _remember(self, decisions: Any) -> None:
        self.calls += 1
        for decision in decisions:
            self.seen.append(decision.observation)
            self.count[decision.observation] += 1
            self.memory["nested"][decision.observation] = 1
            recent = self.recent
            recent.append(decision.observation)
            self.total[0] += 1
            self.bank.deposit(1)
        self.rng.random()


class Bank:
    def __init__(self, size: int = 3) -> None:
        self.size, self.held = size, 0

    def deposit(self, amount: int) -> None:
        self.held += amount


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Plan:
    words: dict[str, str] = field(default_factory=dict)
    depth: int = 1


class Slotted:
    __slots__ = ("word",)

    def __init__(self, word: str) -> None:
        self.word = word

    def act(self, decisions: Any) -> Any:
        return [self.word for _ in decisions]


def attributes(actor: Any) -> Any:
    found = identity_of("selfreg/Coin-v0", actor, [])
    return found["attributes"]["actor"], found["functions"]["actor"]


def fill(path: Path, actor: Any, friend: Any = "expert", *, live: bool = False, task: Any = "selfreg/Coin-v0") -> Any:
    if friend != "expert" and not isinstance(friend, Intervention):
        friend = Intervention(friend, name="friend")
    env: Any = {"task": task, "actor": actor, "interventions": [friend]}
    if live:
        env = InterventionVectorEnv(2, **env, autoreset_mode="Disabled")
    return collect(env, store=path, tasks=[0, 1], episodes=2, progress=False)


DIFFERENT: list[tuple[Any, Any]] = [
    (Says("heads"), Says("tails")),
    (Says(1), Says(2)),
    (Says(True), Says(1)),
    (Says(0.1), Says(0.2)),
    (Says(None), Says("None")),
    (Says(("a", 1)), Says(("a", 2))),
    (Says(["a"]), Says(["a", "b"])),
    (Says({"a": "x"}), Says({"a": "y"})),
    (Says({"a": [1, {"b": 2}]}), Says({"a": [1, {"b": 3}]})),
    (Says({"x"}), Says({"y"})),
    (Says("long " * 100 + "a"), Says("long " * 100 + "b")),
    (Says(np.arange(3)), Says(np.arange(3)[::-1])),
    (Says(np.arange(3)), Says(np.arange(3.0))),
    (Says(np.float32(1)), Says(np.float32(2))),
    (Says(Path("a")), Says(Path("b"))),
    (Says(Colour.RED), Says(Colour.BLUE)),
    (Says(Plan({"a": "b"})), Says(Plan({"a": "c"}))),
    (Says(SimpleNamespace(x=1)), Says(SimpleNamespace(x=2))),
    (Says(Bank(3)), Says(Bank(4))),
    (Says([Bank(3)]), Says([Bank(4)])),
    (Says(lambda text: "a"), Says(lambda text: "b")),
    (Says([lambda text: "a"]), Says([lambda text: "b"])),
    (Says(functools.partial(max, 1)), Says(functools.partial(max, 2))),
    (Says(), Says(extra=1)),
    (Slotted("heads"), Slotted("tails")),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_values_are_other_attributes(one: Any, other: Any) -> None:
    assert attributes(one) == attributes(one)
    assert attributes(one) != attributes(other)


def test_order_of_dicts_and_sets_and_the_identity_of_objects_do_not_count() -> None:
    one = Says({"a": 1, "b": {"x", "y"}}, plan=Plan({"a": "b"}), rule=lambda text: "a")
    other = Says({"b": {"y", "x"}, "a": 1}, plan=Plan({"a": "b"}), rule=lambda text: "a")
    assert attributes(one) == attributes(other)


def test_objects_that_refer_to_each_other_end() -> None:
    actor = Says()
    actor.word = {"me": actor, "list": [[[[[[[[1]]]]]]]]}
    assert attributes(actor)[0]["word"]


def test_counters_and_declared_attributes_do_not_block(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    actor, friend = Says(), Says()
    before = attributes(actor)
    assert set(before[0]) == {"word", "lock", "rng", "stream", "bank"}
    assert set(before[0]["bank"]) == {"class", "size"}
    fill(path, actor, friend).close()
    assert all((actor.calls, friend.calls, actor.seen, actor.count, actor.bank.held))
    assert attributes(actor) == before
    fill(path, actor, friend).close()  # the same objects
    fill(path, Says(), Says()).close()  # fresh ones


@pytest.mark.parametrize("live", [False, True])
def test_a_store_is_not_continued_by_an_actor_with_other_attributes(tmp_path: Path, live: bool) -> None:
    path = tmp_path / "r.sqlite"
    fill(path, Says("heads"), Says("heads"), live=live).close()
    with pytest.raises(StoreError, match=r"env\.identity\.attributes\.actor\.word.*'heads'.*'tails'.*immaterial"):
        fill(path, Says("tails"), Says("heads"), live=live)
    with pytest.raises(StoreError, match=r"attributes\.interventions\.friend\.word.*'heads'.*'tails'"):
        fill(path, Says("heads"), Says("tails"), live=live)
    with pytest.raises(StoreError, match=r"attributes\.actor\.bank\.size.*'3'.*'9'"):
        fill(path, Says("heads", bank=Bank(9)), Says("heads"), live=live)
    fill(path, Says("heads"), Says("heads"), live=live).close()


def test_declared_and_private_attributes_do_not_count(tmp_path: Path) -> None:
    class Quick(Says):
        immaterial = (*Says.immaterial, "delay")

    path = tmp_path / "r.sqlite"
    fill(path, Quick(delay=1, _note="a")).close()
    fill(path, Quick(delay=2, _note="b")).close()


def test_attributes_of_the_package_s_own_actors_count() -> None:
    from selfreg_gym.agents.actors.lm import LM

    assert attributes(LM(temperature=1.0)) != attributes(LM(temperature=0.5))
    assert attributes(Says(LM(temperature=1.0))) != attributes(Says(LM(temperature=0.5)))


def test_secrets_are_not_written() -> None:
    values, _ = attributes(Says(api_key="sk-123456", headers={"Authorization": "Bearer sk-123456"}, env=os.environ))
    assert "sk-123456" not in repr(values)
    assert os.environ["PATH"] not in repr(values)
    assert values != attributes(Says(api_key="sk-654321"))[0]


def table_of(words: dict[str, str]) -> Any:
    def actor(text: str) -> str:
        return words.get(text, "heads")

    return actor


class Called:
    def __init__(self, words: Any) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        return self.words.get(text, "heads")

    def say(self, text: str) -> str:
        return self.words.get(text, "heads")


def looked_up(text: str, words: Any = None) -> str:
    return (words or {}).get(text, "heads")


@pytest.mark.parametrize(
    "make", [table_of, Called, lambda words: Called(words).say, lambda words: functools.partial(looked_up, words=words)]
)
def test_tables_of_functions_and_callable_objects_count(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "r.sqlite"
    fill(path, make({"x": "a"}), make({"x": "a"})).close()
    fill(path, make({"x": "a"}), make({"x": "a"})).close()
    with pytest.raises(StoreError, match=r"attributes\.actor\.words"):
        fill(path, make({"x": "b"}), make({"x": "a"}))
    with pytest.raises(StoreError, match=r"attributes\.interventions\.friend\.words"):
        fill(path, make({"x": "a"}), make({"x": "b"}))


class Biased(Coin):
    def __init__(self, table: Any = None, **more: Any) -> None:
        super().__init__(**more)
        self.table = table


class Maker:
    def __init__(self, options: Any) -> None:
        self.options = options

    def __call__(self) -> Any:
        return Biased(**self.options)


def test_tasks_made_by_objects_with_other_attributes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    fill(path, Says(), task=Maker({"heads": 0.5})).close()
    fill(path, Says(), task=Maker({"heads": 0.5})).close()
    with pytest.raises(StoreError, match=r"attributes\.task\.options"):
        fill(path, Says(), task=Maker({"heads": 0.9}))


def test_live_tasks_with_other_arguments_are_refused(tmp_path: Path) -> None:
    def collected(path: Path, task: Any) -> None:
        env = InterventionEnv(task, Says(), ["expert"])
        collect(env, store=path, tasks=[0, 1], episodes=2, progress=False).close()

    path = tmp_path / "r.sqlite"
    collected(path, Biased({"a": 1}))
    played = Biased({"a": 1})
    played.reset(seed=1)
    collected(path, played)
    with pytest.raises(StoreError, match=r"attributes\.task\.table"):
        collected(path, Biased({"a": 2}))
    with pytest.raises(StoreError, match=r"attributes\.task\.heads"):
        collected(path, Biased({"a": 1}, heads=0.9))

    gym.register("Biased-v0", entry_point=Biased)
    try:
        path = tmp_path / "made.sqlite"
        collected(path, gym.make("Biased-v0", table={"a": 1}))
        collected(path, gym.make("Biased-v0", table={"a": 1}))
        with pytest.raises(StoreError, match=r"attributes\.task\.table"):
            collected(path, gym.make("Biased-v0", table={"a": 2}))
    finally:
        gym.registry.pop("Biased-v0")


SCRIPT = """
    import sys
    from selfreg_gym import Intervention
    from selfreg_gym.collection import collect

    class Says:
        def __init__(self, word):
            self.word, self.table, self.calls, self.log = word, {"b": {1, 2, "x"}, "a": object}, 0, []

        def act(self, decisions):
            self.calls += 1
            self.log.extend(decision.observation for decision in decisions)
            return [self.word for _ in decisions]

    env = {"task": "selfreg/Coin-v0", "actor": Says(sys.argv[2]),
           "interventions": [Intervention(Says("tails"), name="friend")]}
    collect(env, store=sys.argv[1], tasks=[0], episodes=int(sys.argv[3]), progress=False).close()
"""


def test_a_second_process_continues_with_a_fresh_object(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def run(word: str) -> Any:
        arguments = [sys.executable, str(script), str(tmp_path / "r.sqlite"), word, "4"]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    assert run("heads").returncode == 0
    again = run("heads")
    assert again.returncode == 0, again.stderr
    other = run("tails")
    assert other.returncode != 0
    assert "attributes.actor.word" in other.stderr
