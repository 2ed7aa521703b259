"""History: the observation of a text task becomes the dialogue so far, cut to turns or tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import Decision, FreeText, History, InterventionEnv, InterventionVectorEnv, collect
from selfreg_gym.errors import CheckpointError, InvalidArgumentError, NotResetError, StoreError, UnknownNameError
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.intervention_env.history import dialogue_text
from selfreg_gym.testing import check_task
from selfreg_gym.types import optional_member


class Counting(gym.Env[str, str]):
    """Observes how many steps are done, as so many words; it has no keys and no snapshots of its own."""

    num_episodes = 5

    def __init__(self, length: int = 9) -> None:
        self.observation_space = self.action_space = FreeText()
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = int((options or {}).get("episode", self.np_random.integers(5)))
        self.t, self.noise = 0, int(self.np_random.integers(1000))
        return f"goal {self.episode} {self.noise}", {"task_id": str(self.episode)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.t += 1
        over = self.t >= self.length
        info = {"task_id": str(self.episode), **({"success": True, "is_success": True} if over else {})}
        return " ".join(["word"] * self.t), float(over), over, False, info


def texts(task: gym.Env[str, str], actions: int = 9) -> list[str]:
    found = [task.reset(seed=0, options={"episode": 1})[0]]
    return found + [task.step(f"do {i}")[0] for i in range(actions)]


def test_without_limits_the_dialogue_is_complete() -> None:
    first = Counting().reset(seed=0, options={"episode": 1})[0]
    assert texts(History(Counting()), 2)[-1] == f"{first}\n> do 0\nword\n> do 1\nword word"


@pytest.mark.parametrize("keep_first", [True, False])
def test_the_last_turns_stay_and_the_number_of_the_others_is_stated(keep_first: bool) -> None:
    shown = texts(History(Counting(), turns=2, keep_first=keep_first), 4)
    first = [shown[0]] if keep_first else []
    rest = ["> do 2", "word word word", "> do 3", "word word word word"]
    assert shown[-1].split("\n") == [*first, "[2 earlier turns are left out]", *rest]
    assert "[1 earlier turn is left out]" in shown[3]
    assert "left out" not in shown[2]


@pytest.mark.parametrize("keep_first", [True, False])
@pytest.mark.parametrize("limit", [1, 12, 20, 33, 1000])
def test_as_many_turns_stay_as_the_token_limit_allows(limit: int, keep_first: bool) -> None:
    """Compared with a search over all numbers of turns."""
    complete = texts(History(Counting()))
    shown = texts(History(Counting(), tokens=limit, keep_first=keep_first))
    for t, text in enumerate(shown):
        lines = complete[t].split("\n")
        candidates = []
        for out in range(max(t, 1)):
            note = [f"[{out} earlier turn{' is' if out == 1 else 's are'} left out]"] if out else []
            head = lines[:1] if keep_first or not out else []
            candidates.append([*head, *note, *lines[1 + 2 * out :]])
        size = [sum(len(line.removeprefix("> ").split()) for line in one) for one in candidates]
        fitting = [one for one, tokens in zip(candidates, size, strict=True) if tokens <= limit]
        assert text.split("\n") == (fitting[0] if fitting else candidates[-1])


def test_tokens_are_counted_by_a_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")  # a token is a character
    made.save(str(tmp_path / "tokenizer.json"))
    expected = texts(History(Counting(), tokens=90, tokenizer=len))
    assert "left out" in expected[-1]
    assert texts(History(Counting(), tokens=90, tokenizer=list)) == expected
    for path in (tmp_path, str(tmp_path / "tokenizer.json")):
        assert texts(History(Counting(), tokens=90, tokenizer=path)) == expected
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        History(Counting(), tokens=90, tokenizer=tmp_path / "nothing")


def test_a_wrapped_task_meets_the_contract() -> None:
    for options in ({}, {"turns": 2}, {"tokens": 20}):
        check_task(History(Counting(), **options))
    check_task(History(gym.make("selfreg/SIF-v0"), turns=2), episodes=1)


def test_members_of_the_task_are_found_except_those_about_one_observation() -> None:
    task = History(gym.make("selfreg/SIF-v0"), turns=2)
    assert optional_member(task, "num_episodes")
    assert optional_member(task, "augment") is None
    assert not task.has_wrapper_attr("augment")
    _, info = task.reset(seed=0, options={"episode": 0})
    assert task.get_wrapper_attr("expert_action")() in info["admissible_actions"]


def test_snapshots_include_the_dialogue() -> None:
    task = History(Counting(), turns=3)
    with pytest.raises(NotResetError):
        task.snapshot()
    task.reset(seed=4, options={"episode": 2})
    before = [task.step(f"a{i}")[0] for i in range(5)]
    snapshot = task.snapshot()
    after = [task.step(f"b{i}")[0] for i in range(3)]
    task.reset(seed=5)
    for _ in range(2):
        task.restore(snapshot)
        assert [task.step(f"b{i}")[0] for i in range(3)] == after
    assert before[-1].split("\n")[-1] in after[0]
    with pytest.raises(InvalidArgumentError, match="snapshot that this task returned"):
        task.restore(3)


def test_the_time_limit_around_it_is_in_the_snapshot() -> None:
    env = InterventionEnv(lambda: gym.wrappers.TimeLimit(History(Counting(), turns=2), 4), lambda text: "x", [])
    env.reset(seed=0)
    env.step(0)
    snapshot = env.snapshot()
    env.step(0)
    env.restore(snapshot)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_infos_have_the_parts_and_the_state_key_is_the_dialogue() -> None:
    env = InterventionEnv(lambda: History(Counting(), turns=1), lambda text: "go", [])
    env.reset(seed=0, options={"episode": 1})
    env.step(0)
    text, _, _, _, info = env.step(0)
    assert info["state_key"] == text == dialogue_text(info["dialogue"])
    assert info["current_observation"] == info["dialogue"][-1] == "word word"
    assert info["dialogue"][1] == "go"


def test_a_single_env_and_a_vector_env_play_the_same() -> None:
    heard: list[str] = []

    def actor(text: str) -> str:
        heard.append(text)
        return f"{len(text)}"

    env = InterventionEnv(lambda: History(Counting(), tokens=15), actor, [])
    vector = InterventionVectorEnv(2, lambda: History(Counting(), tokens=15), actor, [])
    single = [env.reset(seed=3, options={"episode": 1})[0]] + [env.step(0)[0] for _ in range(9)]
    batched = [vector.reset(seed=[3, 8], options={"episode": 1})[0][0]] + [vector.step([0, 0])[0][0] for _ in range(9)]
    assert single == batched
    assert set(single[:-1]) <= set(heard)


def test_hostile_actions_stay_on_one_short_line() -> None:
    task = History(Counting())
    task.reset(seed=0)
    text = task.step("one\n> two\n\x85three" + "x" * 10_000)[0]
    lines = text.split("\n")
    assert len(lines) == 3
    assert lines[1].startswith("> one > two")
    assert len(lines[1]) < 520


def test_it_is_an_argument_of_every_registered_task(tmp_path: Path) -> None:
    task = build_task("selfreg/Coin-v0", {"history": {"tokens": 30, "keep_first": False}, "heads": 0.9})
    assert isinstance(task, History)
    assert task.tokens == 30
    assert build_task("selfreg/Coin-v0", {"history": 3}).turns == 3  # type: ignore[attr-defined]
    assert not isinstance(build_task("selfreg/Coin-v0", {"history": None}), History)
    again = gym.make(task.spec, disable_env_checker=True)  # type: ignore[arg-type]
    assert again.get_wrapper_attr("tokens") == 30
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert"]}
    options: dict[str, Any] = {"store": tmp_path / "r.sqlite", "tasks": range(2), "episodes": 11, "progress": False}
    with collect({**env, "task_kwargs": {"history": 2, "heads": 0.9}}, **options) as rollouts:
        assert any("> " in text for text in rollouts.columns("observation")["observation"].values)
        assert rollouts.spec["env"]["task_kwargs"]["history"] == 2
    with pytest.raises(StoreError, match="history"):
        collect({**env, "task_kwargs": {"history": 3, "heads": 0.9}}, **options)
    live = InterventionEnv(History(gym.make("selfreg/Coin-v0"), turns=2), "scripted", ["expert"])
    options["store"] = tmp_path / "live.sqlite"
    with collect(live, **options) as rollouts:
        assert "turns=2" in rollouts.spec["env"]["identity"]["task_wrappers"][0]


def test_the_scripted_actor_reads_the_current_observation() -> None:
    """With the dialogue of a household it plays as without: it reads one observation."""
    played = []
    for kwargs in ({}, {"history": 4}):
        env = InterventionEnv("selfreg/SIF-v0", "scripted", [], task_kwargs=kwargs)
        env.reset(seed=1, options={"episode": 3})
        acts, over = [], False
        while not over:
            _, _, terminated, truncated, info = env.step(0)
            acts.append(info["action_text"])
            over = terminated or truncated
        played.append(acts)
    assert played[0] == played[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"turns": 0}, InvalidArgumentError, "turns"),
        ({"turns": True}, InvalidArgumentError, "turns"),
        ({"tokens": 1.5}, InvalidArgumentError, "tokens"),
        ({"tokenizer": len}, InvalidArgumentError, "pass tokens=2000"),
        ({"tokens": 5, "tokenizer": 3}, InvalidArgumentError, "tokenizer must be a path"),
        ({"keep_first": "no"}, InvalidArgumentError, "keep_first"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        History(Counting(), **arguments)


def test_other_wrong_uses() -> None:
    with pytest.raises(InvalidArgumentError, match="inside the intervention env"):
        History(InterventionEnv("selfreg/Coin-v0", lambda text: "heads", []))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="must return the tokens"):
        History(Counting(), tokens=3, tokenizer=lambda text: None).reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="a number of turns or the arguments"):
        build_task("selfreg/Coin-v0", {"history": "long"})
    with pytest.raises(UnknownNameError, match="turns"):
        build_task("selfreg/Coin-v0", {"history": {"turn": 3}})


def test_tokens_of_an_encoding() -> None:
    task = History(Counting(), tokens=8, tokenizer=lambda text: {"input_ids": np.arange(len(text.split()))})
    assert texts(task) == texts(History(Counting(), tokens=8))


def test_a_decision_of_another_text_has_no_dialogue() -> None:
    """The endpoint sends turns only if they are the observation (an advice may be put into it)."""
    from selfreg_gym.endpoint.strategies import GenerationOptions, _Strategies

    class Works:
        def works(self, name: str) -> bool:
            return True

    options = GenerationOptions(0.0, None, 8, False, False, "chat", "Play.", None)
    strategies = _Strategies(None, Works(), options)  # type: ignore[arg-type]
    task = History(Counting(), turns=1)
    task.reset(seed=0)
    task.step("a")
    text, _, _, _, info = task.step("b")
    sent = strategies._messages(Decision(text, info=info), "Act.")
    assert [one["role"] for one in sent] == ["system", "user", "assistant", "user"]
    assert sent[1]["content"].endswith("[1 earlier turn is left out]")
    assert [one["content"] for one in sent[2:]] == ["b", "word word\nAct."]
    other = strategies._messages(Decision("Advice: wait.\n" + text, info=info), "Act.")
    assert [one["role"] for one in other] == ["system", "user"]
