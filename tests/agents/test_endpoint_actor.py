"""The endpoint actor in its four ways, against a real tiny Llama and against a server that misbehaves."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from loopback import LACKING, TGI, Llama, now_and_then, number

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.interventions.endpoint import EndpointIntervention
from selfreg_gym.errors import EndpointError, InvalidArgumentError, MissingPackageError, SetupError, UnknownNameError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.types import Decision

QUICK = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 20.0, "load_timeout": 20.0}


@pytest.fixture(scope="module")
def pages() -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Moments of an expert's episodes in the household."""
    env = gym.make("selfreg/SIF-v0", split="train").unwrapped
    seen = []
    for episode in range(3):
        observation, info = env.reset(seed=episode, options={"episode": episode})
        for step in range(2):
            seen.append((observation, info["admissible_actions"], (episode, step, 0)))
            observation, _, _, _, info = env.step(env.expert_action())
    return seen


def decisions(pages: Any) -> list[Decision]:
    """The same moments with their streams at the beginning."""
    return [Decision(observation, actions, key=key) for observation, actions, key in pages]


def coin(key: int = 0) -> Decision:
    return Decision("Call it: heads or tails?", ("heads", "tails"), key=(key,))


# ---------------------------------------------------------------- the ways


@pytest.mark.parametrize("lists", [True, False])
def test_echo_ranks_as_the_local_actor_does(serve: Any, pages: Any, lists: bool) -> None:
    can = ("completions", "logprobs", "echo", *(("lists",) if lists else ()))
    actor = EndpointActor(serve(brain=Llama(LM().checkpoint_dir), can=can).url, **QUICK)
    local = LM().act(decisions(pages))
    for act, own in zip(actor.act(decisions(pages)), local, strict=True):
        assert act.text == own.text
        np.testing.assert_allclose(act.logprobs, own.logprobs, atol=1e-3)
        assert act.tokens > own.tokens  # every action is read, with the page before it
    greedy = EndpointActor(actor.connection.server.base_url, temperature=0, **QUICK)
    assert [a.text for a in greedy.act(decisions(pages))] == [a.text for a in LM(temperature=0).act(decisions(pages))]


def test_an_action_that_begins_another_is_not_preferred_for_being_short(serve: Any, pages: Any) -> None:
    actor = EndpointActor(serve(brain=Llama(LM().checkpoint_dir), can=("completions", "logprobs", "echo")).url, **QUICK)
    observation, offered, _ = pages[0]
    rooms = tuple(action for action in offered if action.startswith("Go to Room "))
    assert len(rooms) > 2
    for actions in (("Go to", *rooms), (rooms[0], "Go", "Explore Room 4"), (*rooms, rooms[0] + " now")):
        [act] = actor.act([Decision(observation, actions, key=(1,))])
        [own] = LM().act([Decision(observation, actions, key=(1,))])
        np.testing.assert_allclose(np.exp(act.logprobs), np.exp(own.logprobs), atol=5e-3)


def test_what_is_left_beside_the_longer_actions_is_the_chance_of_the_shorter(serve: Any) -> None:
    server = serve(can=("completions", "logprobs", "echo"))
    actor = EndpointActor(server.url, **QUICK)
    [act] = actor.act([Decision("Room 3.", ("look", "look at", "look up", "look at me"), key=(1,))])
    texts = [text for _, body in server.requests for text in [str(body.get("prompt"))] if text.endswith("look at me")]
    [prompt] = texts
    *_, at, me = np.exp(server.brain.values(server.brain.pieces(prompt))[1:])
    up = np.exp(server.brain.values(server.brain.pieces(prompt.replace("at me", "up")))[-1])
    chances = np.array([1 - at - up, at * (1 - me), up, at * me]).clip(1e-12)
    np.testing.assert_allclose(np.exp(act.logprobs), chances / chances.sum(), atol=1e-3)


@pytest.mark.parametrize("form", ["structured_outputs", "response_format", TGI, "grammar", "regex"])
def test_structured_answers_are_admissible_word_for_word(serve: Any, pages: Any, form: str) -> None:
    server = serve(can=("completions", "chat", "structured"), forms=(form,))
    actor = EndpointActor(server.url, **QUICK)
    for decision, act in zip(decisions(pages), actor.act(decisions(pages)), strict=True):
        assert act.text in decision.admissible_actions
        assert act.error is None
        assert act.tokens > 20
    assert actor.describe()["strategy"] == "structured"
    [act] = actor.act([Decision("?", ('say "no\\thing"', "a.b|c"), key=(1,))])
    assert act.text in ('say "no\\thing"', "a.b|c")


def test_systemone_draws_from_the_probabilities_it_is_given(serve: Any) -> None:
    server = serve(can=("chat", "systemone"))
    actor = EndpointActor(server.url, **QUICK)
    acts = actor.act([coin(i) for i in range(2000)])
    assert server.count("/systemone") == 2  # the probe, and the one page
    heads = np.mean([act.text == "heads" for act in acts])
    assert np.exp(acts[0].logprobs).sum() == pytest.approx(1)
    assert heads == pytest.approx(np.exp(acts[0].logprobs[0]), abs=0.04)
    wide = Decision("You can: " + ", ".join(f"go {i}" for i in range(40)), tuple(f"go {i}" for i in range(40)))
    [act] = actor.act([wide])  # more options than letters: in words
    assert act.text in wide.admissible_actions
    assert act.logprobs is None


@pytest.mark.parametrize("can", [("chat",), ("completions",)])
def test_text_is_read_as_an_action(serve: Any, pages: Any, can: tuple[str, ...]) -> None:
    actor = EndpointActor(serve(can=can).url, **QUICK)
    acts = actor.act(decisions(pages))
    assert all(act.text in d.admissible_actions for d, act in zip(decisions(pages), acts, strict=True))
    assert [actor.act([d])[0] for d in decisions(pages)] == acts
    free = actor.act([Decision("You can: sing, dance", None, key=(1,))])
    assert free[0].text in ("sing", "dance")


def test_a_chat_that_names_its_limit_otherwise(serve: Any) -> None:
    for can in (("chat",), ("chat", "structured")):
        server = serve(can=can, odd="new limit")
        actor = EndpointActor(server.url, **QUICK)
        assert actor.act([coin()])[0].text in ("heads", "tails")
        assert "max_tokens" not in server.requests[-1][1]
        assert actor.describe()["strategy"] == ("structured" if "structured" in can else "text")


def test_invalid_stays_invalid_unless_the_nearest_is_asked_for(serve: Any) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "head"
    assert EndpointActor(server.url, **QUICK).act([coin()])[0].text == "head"
    assert EndpointActor(server.url, nearest=True, **QUICK).act([coin()])[0].text == "heads"


def test_reasoning_is_asked_for_and_read(serve: Any) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "Reasoning: it fell on heads before.\nAction: tails."
    [act] = EndpointActor(server.url, reasoning=True, instructions="Be brief.", **QUICK).act([coin()])
    assert act.text == "tails"
    [system, user] = server.requests[-1][1]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert "Reasoning:" in user["content"]


@pytest.mark.parametrize("said", [" heads, since it was tails", "heads (the action: heads or tails)\nAction: tails"])
def test_a_continued_text_is_read_after_the_mark_that_began_it(serve: Any, said: str) -> None:
    server = serve(can=("completions",))
    server.brain.write = lambda prompt, **_: said
    assert EndpointActor(server.url, **QUICK).act([coin()])[0].text == "heads"
    server = serve(can=("completions",))
    server.brain.write = lambda prompt, **_: " Reasoning: heads came before.\nAction: tails"
    assert EndpointActor(server.url, reasoning=True, **QUICK).act([coin()])[0].text == "tails"


def test_draws_differ_by_decision_and_by_seed_and_repeat(serve: Any) -> None:
    server = serve(can=("chat",))

    def texts(**options: Any) -> list[str]:
        return [act.text for act in EndpointActor(server.url, **QUICK, **options).act([coin(i) for i in range(40)])]

    assert len(set(texts())) == 2
    assert texts() == texts()
    assert texts(seed=1) != texts()
    seeds = [body["seed"] for path, body in server.requests if body.get("max_tokens") == 64]
    assert len(set(seeds)) == 80
    assert all(0 <= seed < 2**31 for seed in seeds)
    before = len(server.requests)
    assert len(set(texts(temperature=0))) == 1
    texts(seed=None)
    assert not any("seed" in body for _, body in server.requests[before:] if body.get("max_tokens") == 64)


def test_the_way_can_be_overridden_and_is_told(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    with caplog.at_level(logging.INFO, "selfreg_gym.endpoint"):
        actor = EndpointActor(server.url, strategy="text", api="completions", **QUICK)
        assert "strategy='text, not probed'" in repr(actor)
        actor.act([coin()])
    assert "strategy text (requested)" in caplog.text
    assert "strategy='text'" in repr(actor)
    assert not server.count("/chat/completions")
    told = EndpointActor(server.url, **QUICK).describe()
    assert (told["strategy"], told["model"]) == ("echo", "rule")
    why = "answered 4 prompts in one request, in order and as single ones"
    assert told["capabilities"]["prompt_lists"] == {"works": True, "why": why}
    assert told["usage"]["requests"] > 5
    [act] = EndpointActor(serve(can=("chat",)).url, strategy="echo", **QUICK).act([coin()])
    assert "strategy='echo' was requested, and the server does not support it" in act.error


# ---------------------------------------------------------------- what goes wrong


def test_a_failed_call_is_an_error_and_the_others_act(serve: Any) -> None:
    server = serve(can=("chat",))
    actor = EndpointActor(server.url, **{**QUICK, "retries": 1})
    actor.act([coin()])
    server.fault = lambda count, path: "500" if "three" in str(server.requests[-1][1]) else None
    server.lock = _Quiet()
    acts = actor.act([Decision(f"coin {word}", ("heads", "tails"), key=(7,)) for word in ("one", "two")])
    assert all(act.error is None for act in acts)
    [failed] = actor.act([Decision("coin three", ("heads", "tails"), key=(7,))])
    assert "HTTP 500: out of memory (tried 2 times)" in failed.error
    assert failed.text == ""


class _Quiet:
    """No lock: these requests come one by one."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...


@pytest.mark.parametrize(
    ("can", "kinds"), [(("completions", "logprobs", "echo"), LACKING[:2]), (("systemone",), LACKING[2:])]
)
def test_what_is_missing_now_and_then_is_asked_for_again(serve: Any, pages: Any, can: tuple, kinds: tuple) -> None:
    server = serve(can=can)
    actor = EndpointActor(server.url, **{**QUICK, "retries": 8})
    assert actor.describe()["strategy"] in ("echo", "systemone")
    calm = EndpointActor(server.url, **QUICK).act(decisions(pages))
    server.fault = now_and_then(0.3, seed=2, kinds=kinds)
    assert actor.act(decisions(pages)) == calm
    assert set(kinds) <= set(server.faults)
    assert actor.usage()["retried"] > 1


def test_nobody_there_is_an_error_of_every_act() -> None:
    actor = EndpointActor("http://127.0.0.1:9/v1", **{**QUICK, "retries": 0})
    acts = actor.act([coin(1), coin(2)])
    assert all("the connection failed" in act.error for act in acts)
    with pytest.raises(EndpointError):
        actor.describe()


def test_what_is_not_set_up_ends_the_run_and_no_episode(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()

    def step(actor: EndpointActor) -> None:
        env = InterventionEnv("selfreg/Coin-v0", actor, ["expert"])
        env.reset(seed=0)
        env.step(0)

    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(SetupError, match="variable TEST_KEY, which is not set"):
        step(EndpointActor(server.url, **QUICK, api_key_env="TEST_KEY"))
    server.answer = lambda path, body: (200, {"data": [{"id": "a"}, {"id": "b"}]})
    with pytest.raises(SetupError, match="choose one by model="):
        step(EndpointActor(server.url, **{**QUICK, "model": None}))
    assert [path for path, _ in server.requests] == ["/v1/models"]
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingPackageError, match="pip install 'selfreg-gym"):
        step(EndpointActor(server.url, **QUICK))


def test_nothing_to_choose_from_is_an_error_and_one_thing_is_taken(serve: Any) -> None:
    server = serve(can=("completions", "logprobs", "echo"))
    actor = EndpointActor(server.url, **QUICK)
    nothing, one = actor.act([Decision("x", ()), Decision("x", ("only",))])
    assert "no admissible action" in nothing.error
    assert (one.text, one.logprobs, one.tokens) == ("only", (0.0,), 0)
    assert actor.act([]) == []


def test_a_megabyte_and_control_characters(serve: Any) -> None:
    [act] = EndpointActor(serve(can=("chat",), odd="giant").url, reasoning=True, **QUICK).act([coin()])
    assert act.error is None
    assert len(act.text) <= 500
    [act] = EndpointActor(serve(can=("chat",), odd="control").url, **QUICK).act([coin()])
    assert "идти на север" in act.text
    act.text.encode()  # no lone surrogates
    env = InterventionEnv("selfreg/SIF-v0", EndpointActor(serve(can=("chat",), odd="control").url, **QUICK), ["expert"])
    env.reset(seed=0)
    info = env.step(0)[4]
    assert info["invalid_action"]
    assert info["error"] is None


def test_bad_arguments_say_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'echo'"):
        EndpointActor("http://x/v1", strategy="ecko")
    with pytest.warns(DeprecationWarning, match="strategy"):
        assert EndpointActor("http://x/v1", way="text").name == EndpointActor("http://x/v1", strategy="text").name
    with pytest.raises(UnknownNameError, match="Did you mean 'timeout'"):
        EndpointActor("http://x/v1", timout=3)
    for options in ({"temperature": -1}, {"max_tokens": 0}, {"seed": -1}):
        with pytest.raises(InvalidArgumentError, match=next(iter(options))):
            EndpointActor("http://x/v1", **options)


# ---------------------------------------------------------------- keys, copies, accounts


def test_the_key_is_nowhere(serve: Any, tmp_path: Path, monkeypatch: Any, caplog: Any, capfd: Any) -> None:
    key = "sk-" + str(number("key"))[2:]
    monkeypatch.setenv("TEST_KEY", key)
    caplog.set_level(logging.DEBUG)
    told = []
    for odd, right in (("leak", key), ("", "another")):
        server = serve(can=("chat",), odd=odd, key=right)
        actor = EndpointActor(server.url, api_key_env="TEST_KEY", cache=tmp_path / "answers.sqlite", **QUICK)
        acts = actor.act([coin()])
        told += [repr(acts), repr(actor), repr(actor.connection.client), str(pickle.dumps(actor)), actor.name]
        told += [str(vars(copy.deepcopy(actor))), str(acts[0].error), str(actor.usage())]
        actor.close()
    assert "your key is [key" in told[0]
    assert "HTTP 401" in told[8]
    told += [file.read_bytes().decode("latin1") for file in tmp_path.rglob("*")] + [caplog.text, *capfd.readouterr()]
    assert [key in text for text in told] == [False] * len(told)


def test_it_is_pickled_and_remembers_on_disk(serve: Any, tmp_path: Path, pages: Any) -> None:
    server = serve()
    actor = EndpointActor(server.url, cache=tmp_path / "answers.sqlite", **QUICK)
    acts = actor.act(decisions(pages))
    sent = len(server.requests)
    again = pickle.loads(pickle.dumps(actor))
    assert again.act(decisions(pages)) == acts
    assert len(server.requests) == sent  # neither the probe nor the answers were asked for again
    assert copy.deepcopy(actor) is actor


def test_its_name_tells_one_model_from_another() -> None:
    names = {
        EndpointActor("http://x/v1", **options).name
        for options in (
            {"model": "a"},
            {"model": "b"},
            *({"model": "a", "temperature": temperature} for temperature in (0, 0.5)),
            *({"model": "a", "seed": seed} for seed in (None, 3)),
        )
    }
    assert len(names) == 6
    assert "temperature=0.0, seed=0, " in EndpointActor("http://x/v1", model="a", temperature=0).name
    assert EndpointActor("http://x/v1", model="a").name == EndpointActor("http://y/v1", model="a", timeout=1.0).name


def test_tokens_and_price_in_info_and_as_the_cost_of_help(serve: Any) -> None:
    server = serve(can=("chat",))
    friend = EndpointIntervention(server.url, cost=5.0, token_prices=(100.0, 1000.0), **QUICK)
    env = InterventionEnv(
        "selfreg/Coin-v0", EndpointActor(server.url, token_prices=(10.0, 0.0), **QUICK), [friend], help_cost=1
    )
    env.reset(seed=1, options={"episode": 3})
    _, reward, _, _, info = env.step(1)
    usage = server.requests[-1][1]["messages"][0]["content"]
    read = len(server.brain.pieces(usage))
    assert info["tokens"] == read + 1
    assert info["reported_cost"] == info["cost"] == pytest.approx((100.0 * read + 1000.0) / 1000)
    assert info["usage"].tolist() == [info["cost"]]
    assert reward == pytest.approx(-info["cost"])
    env.reset(seed=1)
    info = env.step(0)[4]
    assert info["cost"] == 0.0  # what the actor itself costs is told, and not charged
    assert info["reported_cost"] == pytest.approx(10.0 * (info["tokens"] - 1) / 1000)
    plain = EndpointIntervention(server.url, cost=5.0, **QUICK)
    env = InterventionEnv("selfreg/Coin-v0", lambda text: "heads", [plain])
    env.reset(seed=1)
    assert env.step(1)[4]["cost"] == 5.0


def test_an_actor_is_made_without_a_server_and_without_heavy_libraries() -> None:
    code = (
        "import sys; from selfreg_gym.agents.actors.endpoint import EndpointActor; EndpointActor('http://x/v1'); "
        "print(sorted({'torch', 'transformers', 'openai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
