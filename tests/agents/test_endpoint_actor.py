"""The endpoint actor and its four strategies, with a real tiny Llama and with a server that fails."""

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
from loopback import LACKING, TGI, Llama, number, random_faults

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.agents.actors.lm import LM
from selfreg_gym.agents.interventions.endpoint import EndpointIntervention
from selfreg_gym.errors import EndpointError, InvalidArgumentError, MissingPackageError, SetupError, UnknownNameError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.types import Decision

QUICK = {"model": "rule", "backoff": 0.001, "max_backoff": 0.01, "timeout": 20.0, "load_timeout": 20.0}


@pytest.fixture(scope="module")
def observations() -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Observations, admissible actions and stream keys of expert episodes in the household task."""
    env = gym.make("selfreg/SIF-v0", split="train").unwrapped
    seen = []
    for episode in range(3):
        observation, info = env.reset(seed=episode, options={"episode": episode})
        for step in range(2):
            seen.append((observation, info["admissible_actions"], (episode, step, 0)))
            observation, _, _, _, info = env.step(env.expert_action())
    return seen


def decisions(observations: Any) -> list[Decision]:
    """Decisions with random streams at their beginning."""
    return [Decision(observation, actions, key=key) for observation, actions, key in observations]


def coin(key: int = 0) -> Decision:
    return Decision("Call it: heads or tails?", ("heads", "tails"), key=(key,))


# ---------------------------------------------------------------- strategies


@pytest.mark.parametrize("lists", [True, False])
def test_echo_gives_the_probabilities_of_the_local_actor(serve: Any, observations: Any, lists: bool) -> None:
    can = ("completions", "logprobs", "echo", *(("lists",) if lists else ()))
    actor = EndpointActor(serve(brain=Llama(LM().checkpoint_dir), can=can).url, **QUICK)
    local = LM().act(decisions(observations))
    for act, own in zip(actor.act(decisions(observations)), local, strict=True):
        assert act.text == own.text
        np.testing.assert_allclose(act.logprobs, own.logprobs, atol=1e-3)
        assert act.tokens > own.tokens  # every action is read with its prompt
    greedy = EndpointActor(actor.connection.server.base_url, temperature=0, **QUICK)
    assert [a.text for a in greedy.act(decisions(observations))] == [
        a.text for a in LM(temperature=0).act(decisions(observations))
    ]


def test_an_action_that_is_a_prefix_of_another_is_not_preferred(serve: Any, observations: Any) -> None:
    actor = EndpointActor(serve(brain=Llama(LM().checkpoint_dir), can=("completions", "logprobs", "echo")).url, **QUICK)
    observation, offered, _ = observations[0]
    rooms = tuple(action for action in offered if action.startswith("Go to Room "))
    assert len(rooms) > 2
    for actions in (("Go to", *rooms), (rooms[0], "Go", "Explore Room 4"), (*rooms, rooms[0] + " now")):
        [act] = actor.act([Decision(observation, actions, key=(1,))])
        [own] = LM().act([Decision(observation, actions, key=(1,))])
        np.testing.assert_allclose(np.exp(act.logprobs), np.exp(own.logprobs), atol=5e-3)


def test_the_shorter_action_has_the_remaining_probability_of_its_prefix(serve: Any) -> None:
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
def test_structured_answers_are_admissible(serve: Any, observations: Any, form: str) -> None:
    server = serve(can=("completions", "chat", "structured"), forms=(form,))
    actor = EndpointActor(server.url, **QUICK)
    for decision, act in zip(decisions(observations), actor.act(decisions(observations)), strict=True):
        assert act.text in decision.admissible_actions
        assert act.error is None
        assert act.tokens > 20
    assert actor.describe()["strategy"] == "structured"
    [act] = actor.act([Decision("?", ('say "no\\thing"', "a.b|c"), key=(1,))])
    assert act.text in ('say "no\\thing"', "a.b|c")


def test_systemone_draws_from_the_returned_probabilities(serve: Any) -> None:
    server = serve(can=("chat", "systemone"))
    actor = EndpointActor(server.url, **QUICK)
    acts = actor.act([coin(i) for i in range(2000)])
    assert server.count("/systemone") == 2  # the probe, and the only observation
    heads = np.mean([act.text == "heads" for act in acts])
    assert np.exp(acts[0].logprobs).sum() == pytest.approx(1)
    assert heads == pytest.approx(np.exp(acts[0].logprobs[0]), abs=0.04)
    wide = Decision("You can: " + ", ".join(f"go {i}" for i in range(40)), tuple(f"go {i}" for i in range(40)))
    [act] = actor.act([wide])  # more options than letters: a text
    assert act.text in wide.admissible_actions
    assert act.logprobs is None


@pytest.mark.parametrize("can", [("chat",), ("completions",)])
def test_the_action_of_a_text_is_read(serve: Any, observations: Any, can: tuple[str, ...]) -> None:
    actor = EndpointActor(serve(can=can).url, **QUICK)
    acts = actor.act(decisions(observations))
    assert all(act.text in d.admissible_actions for d, act in zip(decisions(observations), acts, strict=True))
    assert [actor.act([d])[0] for d in decisions(observations)] == acts
    free = actor.act([Decision("You can: sing, dance", None, key=(1,))])
    assert free[0].text in ("sing", "dance")


def test_a_chat_with_another_name_of_the_token_limit(serve: Any) -> None:
    for can in (("chat",), ("chat", "structured")):
        server = serve(can=can, odd="new limit")
        actor = EndpointActor(server.url, **QUICK)
        assert actor.act([coin()])[0].text in ("heads", "tails")
        assert "max_tokens" not in server.requests[-1][1]
        assert actor.describe()["strategy"] == ("structured" if "structured" in can else "text")


def test_an_invalid_action_stays_invalid_unless_nearest(serve: Any) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "head"
    assert EndpointActor(server.url, **QUICK).act([coin()])[0].text == "head"
    assert EndpointActor(server.url, nearest=True, **QUICK).act([coin()])[0].text == "heads"


def test_reasoning_is_requested_and_read(serve: Any) -> None:
    server = serve(can=("chat",))
    server.brain.write = lambda prompt, **_: "Reasoning: it fell on heads before.\nAction: tails."
    [act] = EndpointActor(server.url, reasoning=True, instructions="Be brief.", **QUICK).act([coin()])
    assert act.text == "tails"
    [system, user] = server.requests[-1][1]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert "Reasoning:" in user["content"]


@pytest.mark.parametrize("text", [" heads, since it was tails", "heads (the action: heads or tails)\nAction: tails"])
def test_a_completion_is_read_after_the_mark_in_its_prompt(serve: Any, text: str) -> None:
    server = serve(can=("completions",))
    server.brain.write = lambda prompt, **_: text
    assert EndpointActor(server.url, **QUICK).act([coin()])[0].text == "heads"
    server = serve(can=("completions",))
    server.brain.write = lambda prompt, **_: " Reasoning: heads came before.\nAction: tails"
    assert EndpointActor(server.url, reasoning=True, **QUICK).act([coin()])[0].text == "tails"


def test_draws_depend_on_decision_and_seed_only(serve: Any) -> None:
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


def test_the_strategy_can_be_overridden_and_is_shown(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    with caplog.at_level(logging.INFO, "selfreg_gym.endpoint"):
        actor = EndpointActor(server.url, strategy="text", api="completions", **QUICK)
        assert "strategy='text, not probed'" in repr(actor)
        actor.act([coin()])
    assert "strategy text (requested)" in caplog.text
    assert "strategy='text'" in repr(actor)
    assert not server.count("/chat/completions")
    description = EndpointActor(server.url, **QUICK).describe()
    assert (description["strategy"], description["model"]) == ("echo", "rule")
    why = "answered 4 prompts in one request, in order and as single ones"
    assert description["capabilities"]["prompt_lists"] == {"works": True, "why": why}
    assert description["usage"]["requests"] > 5
    [act] = EndpointActor(serve(can=("chat",)).url, strategy="echo", **QUICK).act([coin()])
    assert "strategy='echo' was requested, and the server does not support it" in act.error


# ---------------------------------------------------------------- failures


def test_a_failed_call_is_an_error_of_its_act_only(serve: Any) -> None:
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
    """No lock: these requests are sequential."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...


@pytest.mark.parametrize(
    ("can", "kinds"), [(("completions", "logprobs", "echo"), LACKING[:2]), (("systemone",), LACKING[2:])]
)
def test_incomplete_answers_are_retried(serve: Any, observations: Any, can: tuple, kinds: tuple) -> None:
    server = serve(can=can)
    actor = EndpointActor(server.url, **{**QUICK, "retries": 8})
    assert actor.describe()["strategy"] in ("echo", "systemone")
    calm = EndpointActor(server.url, **QUICK).act(decisions(observations))
    server.fault = random_faults(0.3, seed=2, kinds=kinds)
    assert actor.act(decisions(observations)) == calm
    assert set(kinds) <= set(server.faults)
    assert actor.usage()["retried"] > 1


def test_a_missing_server_is_an_error_of_every_act() -> None:
    actor = EndpointActor("http://127.0.0.1:9/v1", **{**QUICK, "retries": 0})
    acts = actor.act([coin(1), coin(2)])
    assert all("the connection failed" in act.error for act in acts)
    with pytest.raises(EndpointError):
        actor.describe()


def test_a_misconfiguration_ends_the_run_instead_of_an_episode(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_action_is_an_error_and_a_single_one_is_taken(serve: Any) -> None:
    server = serve(can=("completions", "logprobs", "echo"))
    actor = EndpointActor(server.url, **QUICK)
    empty, single = actor.act([Decision("x", ()), Decision("x", ("only",))])
    assert "no admissible action" in empty.error
    assert (single.text, single.logprobs, single.tokens) == ("only", (0.0,), 0)
    assert actor.act([]) == []


def test_long_texts_and_control_characters(serve: Any) -> None:
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


def test_invalid_arguments_are_errors() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'echo'"):
        EndpointActor("http://x/v1", strategy="ecko")
    with pytest.warns(DeprecationWarning, match="strategy"):
        assert EndpointActor("http://x/v1", way="text").name == EndpointActor("http://x/v1", strategy="text").name
    with pytest.raises(UnknownNameError, match="Did you mean 'timeout'"):
        EndpointActor("http://x/v1", timout=3)
    for options in ({"temperature": -1}, {"max_tokens": 0}, {"seed": -1}):
        with pytest.raises(InvalidArgumentError, match=next(iter(options))):
            EndpointActor("http://x/v1", **options)


# ---------------------------------------------------------------- keys, copies, costs


def test_the_key_is_shown_and_stored_nowhere(
    serve: Any, tmp_path: Path, monkeypatch: Any, caplog: Any, capfd: Any
) -> None:
    key = "sk-" + str(number("key"))[2:]
    monkeypatch.setenv("TEST_KEY", key)
    caplog.set_level(logging.DEBUG)
    shown = []
    for odd, right in (("leak", key), ("", "another")):
        server = serve(can=("chat",), odd=odd, key=right)
        actor = EndpointActor(server.url, api_key_env="TEST_KEY", cache=tmp_path / "answers.sqlite", **QUICK)
        acts = actor.act([coin()])
        shown += [repr(acts), repr(actor), repr(actor.connection.client), str(pickle.dumps(actor)), actor.name]
        shown += [str(vars(copy.deepcopy(actor))), str(acts[0].error), str(actor.usage())]
        actor.close()
    assert "your key is [key" in shown[0]
    assert "HTTP 401" in shown[8]
    shown += [file.read_bytes().decode("latin1") for file in tmp_path.rglob("*")] + [caplog.text, *capfd.readouterr()]
    assert [key in text for text in shown] == [False] * len(shown)


def test_pickled_actors_share_the_cache(serve: Any, tmp_path: Path, observations: Any) -> None:
    server = serve()
    actor = EndpointActor(server.url, cache=tmp_path / "answers.sqlite", **QUICK)
    acts = actor.act(decisions(observations))
    sent = len(server.requests)
    again = pickle.loads(pickle.dumps(actor))
    assert again.act(decisions(observations)) == acts
    assert len(server.requests) == sent  # neither probe nor answers are requested again
    assert copy.deepcopy(actor) is actor


def test_the_name_depends_on_model_and_options() -> None:
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


def test_tokens_and_their_cost_in_info_and_in_the_cost_of_help(serve: Any) -> None:
    server = serve(can=("chat",))
    intervention = EndpointIntervention(server.url, cost=5.0, token_prices=(100.0, 1000.0), **QUICK)
    env = InterventionEnv(
        "selfreg/Coin-v0", EndpointActor(server.url, token_prices=(10.0, 0.0), **QUICK), [intervention], help_cost=1
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
    assert info["cost"] == 0.0  # the actor's own cost is reported and not charged
    assert info["reported_cost"] == pytest.approx(10.0 * (info["tokens"] - 1) / 1000)
    plain = EndpointIntervention(server.url, cost=5.0, **QUICK)
    env = InterventionEnv("selfreg/Coin-v0", lambda text: "heads", [plain])
    env.reset(seed=1)
    assert env.step(1)[4]["cost"] == 5.0


def test_an_actor_is_created_without_a_server_and_heavy_imports() -> None:
    code = (
        "import sys; from selfreg_gym.agents.actors.endpoint import EndpointActor; EndpointActor('http://x/v1'); "
        "print(sorted({'torch', 'transformers', 'openai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
