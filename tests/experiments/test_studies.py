"""Every registered experiment ends on a small task, and its page has finite numbers."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym import registry
from selfreg_gym.experiments import run_experiment

SMALL = (
    "task.id=selfreg/Coin-v0", "task.kwargs={}", "actor.id=scripted", "collect.tasks=8", "collect.episodes=11",
    "prm.max_states=64", "helper.max_labels=64", "helper.max_decisions=64", "calibrate.tasks=6",
    "calibrate.episodes=12", "calibrate.max_episodes=12", "evaluate.tasks=6", "evaluate.episodes=2",
    "evaluate.budgets=[1.0]", "evaluate.helpers=['random', 'dp']", "rl.steps=512", "values.folds=2",
    "values.members=1", "values.rounds=4", "values.prices=6",
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs, which all experiments share."""
    return tmp_path_factory.mktemp("experiments")


@functools.cache
def run(name: str, cache: Path) -> tuple[str, dict[str, Any]]:
    """The page and the tables of an experiment with one seed."""
    folder = run_experiment(
        name, out=cache / "out" / name, cache=cache, seeds=1, quick=True, overrides=(*SMALL, *MORE.get(name, ())),
        progress=False, say=lambda line: None,
    )  # fmt: skip
    return (folder / "index.md").read_text(), json.loads((folder / "results.json").read_text())["tables"]


MORE = {
    "actor-failures": ("interventions.ids=['expert']",),  # no stronger model acts on coins
    "several-interventions": (
        "interventions.ids=['expert', 'cheap=expert']", "interventions.kwargs={cheap={cost=0.3}}",
    ),
}  # fmt: skip
"""Further changes of the config of an experiment: here, two interventions that can act on coins."""

TRAINS_HELPERS = (
    "ablation",
    "several-interventions",
    "budget-sweep",
    "coverage",
    "continuous",
    "durations",
    "exploration",
    "online",
    "suite",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in TRAINS_HELPERS else [])
        for name in registry.names("experiments")
    ],
)
def test_it_ends_with_a_page(name: str, cache: Path) -> None:
    page, tables = run(name, cache)
    assert page.startswith(f"# {registry.load('experiments', name).title}\n")
    assert "nan" not in page
    assert "None" not in page
    assert all(table["rows"] for name, table in tables.items() if name != "missed_states")


def test_a_helper_per_task_does_not_switch(cache: Path) -> None:
    _, tables = run("self-regulation", cache)
    switches = {row["helper"]: row["switches"]["value"] for row in tables["helpers"]["rows"]}
    assert switches["`prm-per-task`"] == switches["`never`"] == switches["`always`"] == 0.0
    shares = {row["helper"]: row["share"]["value"] for row in tables["helpers"]["rows"]}
    assert (shares["`never`"], shares["`always`"]) == (0.0, 1.0)


def test_hard_tasks_of_coins_are_those_with_many_coins(cache: Path) -> None:
    """The actor guesses right with 2 ** -coins, so at a threshold of 0.7 every task is hard."""
    _, tables = run("calibration", cache)
    rows = [row for row in tables["hard_tasks"]["rows"] if row["threshold"] == 0.7]
    assert rows
    assert all(row["base"]["value"] >= 0.8 for row in rows)


@pytest.mark.slow
def test_labels_of_trajectories_are_some_of_those_of_all_states(cache: Path) -> None:
    _, tables = run("coverage", cache)
    all_states, trajectory = (row["labels"] for row in tables["labels"]["rows"])
    assert 0 < trajectory < all_states
    visits = [row for row in tables["visits"]["rows"] if row["budget"] == 1.0]
    assert sum(row["random"]["value"] for row in visits) > 1  # decisions per episode
    assert all(row["random_help"]["value"] <= row["random"]["value"] for row in visits)


def test_calls_needed_are_at_most_those_of_always(cache: Path) -> None:
    _, tables = run("headline", cache)
    for row in tables["usage"]["rows"]:
        assert 0 < row["success"]["value"] <= row["always"]
        assert row["success"]["value"] <= row["gap"]["value"] + 1e-9, "95 % of the gap is more than 95 % of always"


@pytest.mark.slow
def test_promised_usage_is_near_the_budget(cache: Path) -> None:
    _, tables = run("budget-sweep", cache)
    assert [row["helper"] for row in tables["promises"]["rows"]] == ["`dp`", "`fitted`"]
    for row in tables["promises"]["rows"]:
        assert row["promised_usage"]["value"] == pytest.approx(1.0, abs=0.05)
        assert abs(row["over"]["value"]) < 1.0


@pytest.mark.slow
def test_each_variant_of_the_ablation_lacks_what_it_says(cache: Path) -> None:
    """The scripted actor has no distribution: without signals nothing changes, and no network on signals is trained."""
    _, tables = run("ablation", cache)
    rows = tables["differences"]["rows"]
    assert {row["helper"] for row in rows} == {"no facts", "no signals", "text only"}
    same = [row for row in rows if row["helper"] == "no signals"]
    assert all(row["difference"]["value"] == 0.0 for row in same), "the same inputs, the same helper"
    found = [json.loads(path.read_text()) for path in cache.rglob("*.json") if '"facts"' in path.read_text()]
    read = {one["cell"]: (one["value"]["inputs"], one["value"]["facts"]) for one in found if "value" in one}
    numbers = ["features", "steps_left", "calls_so_far"]
    assert read == {
        "full": (numbers, True),
        "no-facts": (numbers[1:], False),
        "no-signals": (numbers, True),
        "text-only": ([], False),
    }


@pytest.mark.slow
def test_the_same_intervention_twice_has_no_clash_and_the_cheap_one_is_asked(cache: Path) -> None:
    _, tables = run("several-interventions", cache)
    assert [row["pair"] for row in tables["clash"]["rows"]] == ["expert after cheap", "cheap after expert"]
    assert all(row["clash"]["value"] == 0.0 for row in tables["clash"]["rows"]), "both act alike: common random numbers"
    (row,) = tables["complementarity"]["rows"]
    assert row["better"] == "cheap"
    assert row["more"]["value"] == 0.0, "the dear one is never better"
    (calls,) = tables["calls"]["rows"]
    assert calls["calls_1"] > 2 * calls["calls_0"]
