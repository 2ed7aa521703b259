"""The baselines, played on the Coin task: what they promise about when they ask."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from selfreg_gym import registry
from selfreg_gym.agents.helpers.actor_confidence import ActorConfidence
from selfreg_gym.agents.helpers.every_k import EveryK
from selfreg_gym.agents.helpers.prm_per_task import PRMPerTask
from selfreg_gym.agents.helpers.quantile import Quantile
from selfreg_gym.agents.helpers.wait_n import WaitN
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation import evaluate
from selfreg_gym.evaluation.planning import evaluation_plan
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.report.terminal import format_table
from selfreg_gym.types import Act, Intervention


class Expert:
    def act(self, decisions):
        return [decision.task.get_wrapper_attr("expert_action")() for decision in decisions]


class Ranked:
    """Always right, with a confidence that grows as fewer coins are left (read from the text)."""

    def act(self, decisions):
        acts = []
        for decision in decisions:
            sure = 0.5 + 0.09 * int(decision.observation.split()[1])
            acts.append(
                Act(
                    decision.task.get_wrapper_attr("expert_action")(),
                    logprobs=(float(np.log(sure)), float(np.log(1 - sure))),
                )
            )
        return acts


class CoinPRM:
    """The true p(s) of the "heads" actor."""

    def score(self, observations):
        left = [int(o.split()[3]) - int(o.split()[1]) + 1 if o.startswith("Coin") else 0 for o in observations]
        return 0.5 ** np.array(left, dtype=float)


def kwargs(actor=None):
    return {
        "task": "selfreg/Coin-v0",
        "actor": actor or Expert(),  # never wrong: episodes of 2, 3, 4 and 5 coins run to their end
        "interventions": [Intervention(Expert(), name="see")],
    }


def patterns(helper, *, num_envs=3, actor=None):
    """Actions of each episode, by number of coins, as text."""
    env = make_env(kwargs(actor), num_envs)
    found: dict[int, set[str]] = {}
    for episode in run_episodes(env, evaluation_plan(range(8), 4, seed=0), helper):
        found.setdefault(2 + episode.task_index % 4, set()).add("".join(str(step.action) for step in episode.steps))
    return {coins: actions.pop() for coins, actions in found.items() if len(actions) == 1} | {
        coins: actions for coins, actions in found.items() if len(actions) > 1
    }


@pytest.mark.parametrize(
    ("helper", "longest"),
    [
        (EveryK(1), "11111"),
        (EveryK(2), "01010"),
        (EveryK(2.5), "00101"),
        (EveryK(3), "00100"),
        (EveryK(49), "00000"),
        (EveryK(5).with_knob(0.0), "00000"),
        (EveryK(5).with_knob(1.0), "11111"),
        (WaitN(0), "11111"),
        (WaitN(2), "00111"),
        (WaitN(9), "00000"),
        (WaitN().with_knob(-3.5), "00001"),
    ],
)
def test_steps_are_counted_in_each_episode(helper, longest):
    """Memory is per episode: in a batch of three that restart in any order, every episode begins at step 1."""
    assert patterns(helper) == {coins: longest[:coins] for coins in (2, 3, 4, 5)}


def test_every_49th_step_is_exact():
    helper, state, asked = EveryK(49), None, []
    for step in range(1, 200):
        action, state = helper.predict("text", state)
        if action:
            asked.append(step)
    assert asked == [49, 98, 147, 196]


def test_per_task_decides_once():
    assert patterns(PRMPerTask(CoinPRM(), 0.2)) == {2: "00", 3: "111", 4: "1111", 5: "11111"}
    assert isinstance(PRMPerTask(CoinPRM()).with_knob(0.3), PRMPerTask)
    assert PRMPerTask(CoinPRM()).with_knob(0.3).scope == "task"


def test_quantile_asks_below_it():
    scores = CoinPRM().score([f"Coin {i} of 5" for i in (1, 2, 3, 4, 5)])
    assert patterns(Quantile(CoinPRM(), scores, rate=0.5))[5] == "11000"
    assert patterns(Quantile(CoinPRM(), scores, rate=0.0))[5] == "00000"


@pytest.mark.parametrize("num_envs", [1, 3])
def test_the_confidence_is_that_of_the_actor(num_envs):
    assert patterns(ActorConfidence(0.75), actor=Ranked(), num_envs=num_envs)[5] == "11000"
    assert patterns(ActorConfidence(0.0), actor=Ranked())[5] == "00000"
    assert patterns(ActorConfidence().with_knob(ActorConfidence.knob_bounds[1]), actor=Ranked())[5] == "11111"


def test_an_actor_without_logprobs_has_confidence_1():
    assert patterns(ActorConfidence(0.99))[5] == "00000"


def test_confidence_in_a_single_env_equals_the_batch():
    env = InterventionEnv(**kwargs(Ranked()))
    plan = evaluation_plan(range(8), 1, seed=0)
    single = {e.task_index: [s.action for s in e.steps] for e in run_episodes(env, plan, ActorConfidence(0.75))}
    batch = {
        e.task_index: [s.action for s in e.steps]
        for e in run_episodes(make_env(kwargs(Ranked()), 4), plan, ActorConfidence(0.75))
    }
    assert single == batch


def test_asking_for_confidence_does_not_change_the_actor():
    """Reading the confidence must not advance the actor's random stream."""

    class Guesser:
        def act(self, decisions):
            return [Act("heads" if d.rng.random() < 0.5 else "tails", logprobs=(-0.1, -2.3)) for d in decisions]

    env, plan = make_env(kwargs(Guesser()), 4), evaluation_plan(range(8), 5, seed=1)
    alone = {(e.task_index, e.seed): e.success for e in run_episodes(env, plan, EveryK().with_knob(0.0))}
    read = {(e.task_index, e.seed): e.success for e in run_episodes(env, plan, ActorConfidence(0.0))}
    assert alone == read


@pytest.mark.parametrize("name", ["every-k", "wait-n", "actor-confidence"])
def test_usage_grows_with_the_knob(name):
    helper = registry.load("helpers", name)()
    low, high = helper.knob_bounds
    env, plan = make_env(kwargs(Ranked()), 8), evaluation_plan(range(8), 2, seed=0)
    usages = [
        sum(e.cost for e in run_episodes(env, plan, helper.with_knob(x))) for x in np.linspace(max(low, -8), high, 9)
    ]
    assert usages == sorted(usages)
    assert usages[0] == 0 < usages[-1]


def test_a_single_text_gets_a_single_action():
    for helper in (EveryK(1), WaitN(0), PRMPerTask(CoinPRM(), 1.0), Quantile(CoinPRM(), [0.1, 1.0], rate=1.0)):
        action, _ = helper.predict("Coin 1 of 5")
        assert np.ndim(action) == 0
        assert action == 1


def test_invalid_arguments_are_errors():
    with pytest.raises(InvalidArgumentError, match="k of every-k must be at least 1"):
        EveryK(0.5)
    with pytest.raises(InvalidArgumentError, match="integer"):
        WaitN(-1)
    with pytest.raises(InvalidArgumentError, match="must be in"):
        ActorConfidence(1.5)
    with pytest.raises(InvalidArgumentError, match="scores"):
        Quantile(CoinPRM(), [])
    with pytest.raises(InvalidArgumentError, match=r"wrap\(env\)"):
        ActorConfidence().predict("text")


def test_an_evaluation_reports_the_calls_of_the_actor_without_effect():
    """At a step with help, the actor's call for the decision is the helper's own cost."""
    helpers = {"never": EveryK().with_knob(0.0), "actor-confidence": ActorConfidence(0.75)}
    found = evaluate(kwargs(Ranked()), helpers, tasks=range(8), episodes=2, seed=0, progress=False, warn=False)
    rows = {row["helper"]: row for row in found.summary_rows}
    assert rows["never"]["extra_actor_calls"] == 0
    assert rows["actor-confidence"]["extra_actor_calls"] == rows["actor-confidence"]["calls"] > 0
    console = Console(width=80, file=io.StringIO())
    console.print(format_table(found))
    shown = console.file.getvalue()
    assert "extra: calls of the actor" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    silent = evaluate(
        kwargs(Ranked()), {"never": helpers["never"]}, tasks=range(4), episodes=1, progress=False, warn=False
    )
    console = Console(width=80, file=io.StringIO())
    console.print(format_table(silent))
    assert "extra" not in console.file.getvalue()
