"""Collection: each planned episode is played once, for all interruptions and batch sizes."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym.collection import HELP_PROBABILITIES, collect, collection_plan
from selfreg_gym.collection.display import CollectionDisplay
from selfreg_gym.collection.recurrence import recurrence
from selfreg_gym.errors import InvalidArgumentError, StoreError, TaskContractError, UnknownNameError
from selfreg_gym.store.rollouts import Rollouts, UnfinishedStoreWarning

PARTS = '''
    import os, time
    from selfreg_gym.types import Act, Intervention

    class Guesser:
        """Says heads or tails at random, by the decision's own stream; remembers nothing, can be slow or broken."""
        immaterial = ("delay", "broken_until")
        def __init__(self, delay=0.0, broken_until=None):
            self.delay, self.broken_until = delay, broken_until
        def act(self, decisions):
            time.sleep(self.delay)
            if self.broken_until is not None and not os.path.exists(self.broken_until):
                return [Act("", error="the endpoint is down") if "Coin 2" in d.observation
                        else Act(d.admissible_actions[int(d.rng.integers(2))]) for d in decisions]
            return [d.admissible_actions[int(d.rng.integers(2))] for d in decisions]

    class Dead:
        def act(self, decisions):
            raise RuntimeError("no such host")

    class Seer:
        def act(self, decisions):
            return [d.task.get_wrapper_attr("expert_action")() for d in decisions]

    def expert():
        return Intervention(Seer(), name="seer", cost=1 / 3)
'''


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A real module with an actor and an intervention, importable in the workers too."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "coin_parts.py").write_text(textwrap.dedent(PARTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "coin_parts", raising=False)
    import coin_parts

    yield coin_parts
    sys.modules.pop("coin_parts", None)


@pytest.fixture
def env(parts) -> dict:
    return {"task": "selfreg/Coin-v0", "actor": parts.Guesser(), "interventions": [parts.expert()]}


def fill(env, path: Path, **changes) -> Rollouts:
    settings = {"tasks": range(5), "episodes": 6, "help_probabilities": (0, 0.5, 1), "seed": 4, "progress": False}
    return collect(env, store=path, **{**settings, **changes})


def content(rollouts: Rollouts) -> list:
    return [(p, e) for p, e in zip(rollouts.plan, rollouts, strict=True)]


# ---------------------------------------------------------------- the plan


def test_the_plan_spreads_help_probabilities_evenly_and_seeds_differ() -> None:
    plan = collection_plan(range(7), 22, seed=1)
    assert len(plan) == 7 * 22
    assert Counter((p.task_index, p.help_probability) for p in plan) == {
        (t, p): 2 for t in range(7) for p in HELP_PROBABILITIES
    }
    assert len({p.seed for p in plan}) == len(plan)
    assert all(0 <= p.seed < 2**32 for p in plan)
    assert [p.plan_index for p in plan] == list(range(len(plan)))
    few = collection_plan(range(11), 3, seed=1)  # fewer rollouts than probabilities: they still all occur equally often
    assert set(Counter(p.help_probability for p in few).values()) == {3}


def test_a_seed_depends_on_seed_task_and_rollout_only() -> None:
    def seeds(*args, **kwargs):
        return {(p.task_index, p.plan_index % args[1]): p.seed for p in collection_plan(*args, **kwargs)}

    assert seeds([5, 2], 4, seed=1) == seeds([2, 5], 4, (0.0, 1.0), seed=1)
    assert not set(seeds([2], 4, seed=1).values()) & set(seeds([2], 4, seed=2).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": []}, "tasks must be different"),
        ({"tasks": [1, 1]}, "tasks must be different"),
        ({"tasks": [-1]}, "tasks must be different"),
        ({"episodes": 0}, "episodes"),
        ({"episodes": 2.5}, "episodes"),
        ({"help_probabilities": ()}, "help_probabilities must be different"),
        ({"help_probabilities": (0.5, 0.5)}, "help_probabilities must be different"),
        ({"help_probabilities": (0, 1.5)}, r"lie in \[0, 1\]"),
        ({"seed": -1}, "seed"),
        ({"workers": 0}, "workers"),
    ],
)
def test_bad_arguments_leave_no_store(env, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        fill(env, tmp_path / "r.sqlite", **change)
    assert not list(tmp_path.glob("r.sqlite*"))


def test_bad_envs(env, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with pytest.raises(UnknownNameError, match="Did you mean 'interventions'"):
        fill({**env, "intervention": []}, path)
    with pytest.raises(InvalidArgumentError, match="actor is missing"):
        fill({k: v for k, v in env.items() if k != "actor"}, path)
    with pytest.raises(InvalidArgumentError, match="received list"):
        fill([1], path)
    with gym.make("selfreg/Intervention-v0", **env) as live, pytest.raises(InvalidArgumentError, match="workers=2"):
        fill(live, path, workers=2)
    with pytest.raises(UnknownNameError, match="Did you mean"):
        fill({**env, "task": "selfreg/Con-v0"}, path)
    assert not list(tmp_path.glob("r.sqlite*"))  # nothing came of it, so the path is free


# ---------------------------------------------------------------- what is played


def test_every_planned_episode_is_played_once(env, tmp_path: Path) -> None:
    with fill(env, tmp_path / "r.sqlite") as rollouts:
        assert rollouts.is_complete
        assert not rollouts.failures()
        episodes = list(rollouts)
        assert len(episodes) == 30
        for planned, e in content(rollouts):
            assert (planned.task_index, planned.seed, planned.help_probability) == (
                e.task_index,
                e.seed,
                e.help_probability,
            )
            assert e.task_id == f"coin-{e.task_index}"
            assert e.kind == "coin"
            # Every step that was taken is there, and no row after the end.
            assert [s.t for s in e] == list(range(len(e)))
            assert [s.terminated for s in e] == [False] * (len(e) - 1) + [True]
            assert e.steps[0].observation.startswith("Coin 1 of")
            assert not any("over" in s.observation for s in e)
            # The cost of a call is the intervention's, to the last bit.
            assert {s.cost for s in e} <= {0.0, 1 / 3}
            assert all((s.cost > 0) == (s.action == 1) for s in e)
            assert e.success == (e.steps[-1].reward > 0)
        assert all(e.success and e.cost > 0 for e in episodes if e.help_probability == 1)
        assert all(e.cost == 0 for e in episodes if e.help_probability == 0)
        assert 0 < np.mean([s.action for e in episodes if e.help_probability == 0.5 for s in e]) < 1
        # The first batch is not counted twice: one row per planned episode, no more.
        assert rollouts.count() == len(rollouts.plan) == 30
        assert rollouts.transition_count() == sum(map(len, episodes))


@pytest.mark.parametrize(("workers", "num_envs"), [(1, 8), (2, 3)])
def test_workers_and_batch_size_change_nothing(env, tmp_path: Path, workers: int, num_envs: int) -> None:
    with (
        fill(env, tmp_path / "a.sqlite", num_envs=1) as one,
        fill(env, tmp_path / "b.sqlite", workers=workers, num_envs=num_envs) as many,
    ):
        assert content(one) == content(many)
        assert one.spec == many.spec
        assert len({s.action_text for e in one.episodes(help_probability=0) for s in e}) == 2  # it does sample


def test_a_live_env_gives_the_same(env, tmp_path: Path) -> None:
    with fill(env, tmp_path / "a.sqlite") as one:
        live = gym.make("selfreg/Intervention-v0", **env)
        with fill(live, tmp_path / "b.sqlite") as single:
            assert content(single) == content(one)
            assert single.spec["env"]["task"] == "selfreg/Coin-v0"
            assert single.spec["env"]["interventions"] == ["seer"]
        many = gym.make_vec("selfreg/Intervention-v0", num_envs=4, autoreset_mode="Disabled", **env)
        with fill(many, tmp_path / "c.sqlite") as vector:
            assert content(vector) == content(one)
        with pytest.raises(InvalidArgumentError, match="Disabled"):
            fill(gym.make_vec("selfreg/Intervention-v0", num_envs=4, **env), tmp_path / "d.sqlite")


# ---------------------------------------------------------------- interrupted, again, otherwise


def test_a_complete_collection_plays_nothing(env, parts, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "r.sqlite"
    with fill(env, path) as rollouts:
        before = content(rollouts)
    calls: list = []
    monkeypatch.setattr(parts.Guesser, "act", lambda self, decisions: calls.append(decisions))
    with fill(env, path) as rollouts:
        assert content(rollouts) == before
    assert not calls


def test_other_settings_raise_with_the_differences(env, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    fill(env, path).close()
    with pytest.raises(StoreError, match="episodes: the store has 6, asked for 7"):
        fill(env, path, episodes=7)
    with pytest.raises(StoreError, match=r"env.help_cost: the store has 0.0, asked for 0.5; seed: .* 4, asked for 5"):
        fill({**env, "help_cost": 0.5}, path, seed=5)


def test_a_store_with_other_episodes_raises(env, tmp_path: Path) -> None:
    with fill(env, tmp_path / "a.sqlite") as rollouts:
        other = Rollouts.create(tmp_path / "b.sqlite", spec=rollouts.spec)
        other.add(rollouts.episodes(task=3))
    with other, pytest.raises(StoreError, match="holds other episodes"):
        fill(env, other)


class Stop(Exception):
    """What a test raises to interrupt."""


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_collection_is_resumed(env, tmp_path: Path, workers: int) -> None:
    path = tmp_path / "r.sqlite"
    seen: list = []

    def stop(episode) -> None:
        seen.append(episode)
        if len(seen) == 7:
            raise Stop

    with pytest.raises(Stop):
        fill(env, path, workers=workers, progress=stop, num_envs=2)
    with Rollouts.open(path) as part:
        assert not part.is_complete
        assert part.count() == 7
        with pytest.warns(UnfinishedStoreWarning, match="7 of its 30"):
            part.require_complete()
    more: list = []
    with fill(env, path, workers=workers, progress=more.append) as rollouts:
        assert rollouts.is_complete
        assert len(more) == 23  # only what was missing
        with fill(env, tmp_path / "whole.sqlite") as whole:
            assert content(rollouts) == content(whole)


SCRIPT = """
    import sys
    import coin_parts
    from selfreg_gym.collection import collect
    if __name__ == "__main__":
        env = {"task": "selfreg/Coin-v0", "actor": coin_parts.Guesser(0.01), "interventions": [coin_parts.expert()]}
        collect(env, store=sys.argv[1], tasks=range(5), episodes=40, help_probabilities=(0, 0.5, 1), seed=4,
                workers=int(sys.argv[2]), num_envs=2, progress=lambda e: print("x", flush=True))
"""


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGKILL, 2), (signal.SIGINT, 2), (signal.SIGKILL, 1)])
def test_a_killed_collection_keeps_its_episodes(env, parts, tmp_path: Path, how, workers: int) -> None:
    script, path = tmp_path / "script.py", tmp_path / "r.sqlite"
    script.write_text(textwrap.dedent(SCRIPT))
    reported = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, str(script), str(path), str(workers)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        reported += sum(1 for _ in zip(range(5), process.stdout, strict=False))
        time.sleep(0.1)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            os.kill(process.pid, how)
        reported += sum(1 for line in process.stdout if line == "x\n")
        process.wait(timeout=20)
        with Rollouts.open(path) as part:
            assert reported <= part.count() <= reported + 1
            reported = part.count()
    assert reported < 200
    # The actor declares its delay immaterial, so the quick actor may finish what the slow one began.
    settings = {"tasks": range(5), "episodes": 40, "help_probabilities": (0, 0.5, 1), "seed": 4, "progress": False}
    with collect(env, store=path, **settings) as done, collect(env, store=tmp_path / "w.sqlite", **settings) as whole:
        assert content(done) == content(whole)


def test_failed_episodes_are_played_again_on_resume(env, parts, tmp_path: Path) -> None:
    path, mended = tmp_path / "r.sqlite", tmp_path / "mended"
    broken = {**env, "actor": parts.Guesser(broken_until=str(mended))}
    with fill(broken, path, num_envs=4, retries=1) as rollouts:
        failed = rollouts.failures()
        assert failed
        assert {error for _, error in failed} == {"the actor: the endpoint is down"}
        assert len(rollouts) + len(failed) == 30
        assert not rollouts.is_complete
        # Not one of them was stored as a transition, as nohelp or as a failure.
        assert not {(p.task_index, p.seed) for p, _ in failed} & {(e.task_index, e.seed) for e in rollouts}
    mended.touch()
    with fill(broken, path) as rollouts, fill(env, tmp_path / "whole.sqlite") as whole:
        assert rollouts.is_complete
        assert content(rollouts) == content(whole)
        assert rollouts.failures() == failed  # earlier failures are still listed


def test_an_actor_that_always_fails_ends_the_collection(env, parts, tmp_path: Path) -> None:
    with pytest.raises(TaskContractError, match=r"32 episodes in a row ended in an error.*no such host"):
        fill({**env, "actor": parts.Dead()}, tmp_path / "r.sqlite", episodes=50, help_probabilities=(0,))
    with Rollouts.open(tmp_path / "r.sqlite") as rollouts:
        assert len(rollouts) == 0
        assert len(rollouts.failures()) == 32


def test_the_display_shows_progress_and_success(env, tmp_path: Path, capsys) -> None:
    fill(env, tmp_path / "r.sqlite", progress=True).close()
    text = capsys.readouterr().err
    assert "collecting 30 of 30 episodes" in text
    assert "30 of 30 episodes," in text
    assert "100% at p = 1" in text.replace("\n", " ")


def test_the_live_display_shows_success_by_help_probability(env, tmp_path: Path) -> None:
    out = io.StringIO()
    with fill(env, tmp_path / "r.sqlite") as rollouts:
        console = Console(file=out, force_terminal=True, width=100, color_system=None)
        with CollectionDisplay(rollouts, total=40, shown=True, console=console) as display:
            display.update(next(iter(rollouts)))
            display.update(dataclasses.replace(next(iter(rollouts)), error="down"))
            display._live.refresh()
        never = np.mean([e.success for e in rollouts.episodes(help_probability=0)])
    text = out.getvalue()
    assert "31/40" in text
    assert re.search(r"help p +0 +0.5 +1 ", text)
    assert re.search(rf"success +{(10 * never + next(iter(rollouts)).success) / 11:.0%} .* 100%", text)
    assert "1 episodes with an error" in text


@pytest.mark.parametrize(
    ("seconds", "speed", "left"),
    [(0.5, "2.0 episodes/s", "18 s"), (30.0, "2.0 episodes/min", "18 min"), (1200.0, "3.0 episodes/h", "12.0 h")],
)
def test_the_speed_of_slow_tasks_has_a_unit_in_which_it_can_be_read(
    env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, speed: str, left: str
) -> None:
    now = [100.0]
    monkeypatch.setattr("selfreg_gym.collection.display.time.monotonic", lambda: now[0])
    with fill(env, tmp_path / "r.sqlite") as rollouts:
        display = CollectionDisplay(rollouts, total=30 + 37, shown=False)
        now[0] += seconds
        display.update(next(iter(rollouts)))
    assert f"31 of 67 episodes, {speed}, about {left} left" in display.line()


# ---------------------------------------------------------------- recurrence


def test_recurrence_counts_visits(env, tmp_path: Path) -> None:
    with fill(env, tmp_path / "r.sqlite", episodes=30) as rollouts:
        report = recurrence(rollouts)
        steps = [s for e in rollouts for s in e]
        assert report["state_key"].states == len({s.state_key for s in steps}) == 2 + 3 + 4 + 5 + 2
        assert report["feature_key"].states == 5
        pairs = {(s.state_key, s.action) for s in steps}
        assert report["state_key"].visits_per_pair == pytest.approx(len(steps) / len(pairs))
        visits = Counter(s.state_key for s in steps)
        assert report["state_key"].once_seen_share == sum(n == 1 for n in visits.values()) / len(steps)
        assert report["feature_key"].known_share == 1
        few = recurrence(rollouts, task=3, help_probability=0)  # no help in these episodes
        assert few["state_key"].visits_per_pair > 1


def test_recurrence_of_one_visit_each(env, tmp_path: Path) -> None:
    with fill(env, tmp_path / "r.sqlite", episodes=1, help_probabilities=(0.5,)) as rollouts:
        report = recurrence(rollouts)["state_key"]
        assert report.once_seen_share == 1
        assert report.known_share == 0
        assert report.visits_per_pair == 1
