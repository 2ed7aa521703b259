"""Labels: actions and weights compared with loops over the stored episodes; files and their errors."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

import selfreg_gym  # noqa: F401 (registers the ids)
from selfreg_gym.collection import collect
from selfreg_gym.errors import (
    InvalidArgumentError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
    UnknownNameError,
)
from selfreg_gym.labels import BUDGETS, Label, Labels, label
from selfreg_gym.solver import MixedPolicy, solve, solve_budget, solve_frontier
from selfreg_gym.store.rollouts import Rollouts, UnfinishedStoreWarning
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Act, Intervention


class Heads:
    """Always answers heads."""

    def act(self, decisions):
        return ["heads" for _ in decisions]


class Seer:
    """Knows the coin under the cup."""

    def act(self, decisions):
        return [Act(d.task.get_wrapper_attr("expert_action")()) for d in decisions]


ENV = {
    "task": "selfreg/Coin-v0",
    "actor": Heads(),
    "interventions": [Intervention(Seer(), name="seer"), Intervention(Heads(), name="heads", cost=0.5)],
}


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "r.sqlite"
    with collect(ENV, store=path, tasks=range(4), episodes=88, seed=1, progress=False) as made:
        yield made


@pytest.fixture(scope="module")
def model(rollouts) -> TransitionModel:
    return TransitionModel.fit(rollouts)


@pytest.fixture(scope="module")
def frontier(model):
    return solve_frontier(model)


def by_hand(rollouts, mixture: MixedPolicy, model, scope: str) -> list[tuple]:
    """(plan index, observation, action, weight, advantage) of one budget, by loops."""
    rows, sizes = [], []
    for number, e in enumerate(rollouts):
        wrong = [False] * len(mixture.policies)
        for s in e:
            i = model.locate(s.state_key, s.feature_key, s.steps_left)
            found: dict[int, list] = {}
            for j, (one, share) in enumerate(zip(mixture.policies, mixture.weights, strict=True)):
                action = one.action(i)
                if i >= 0 and share > 0 and not (scope == "trajectory" and wrong[j]):
                    found.setdefault(action, []).append((share, one.advantage[i]))
                wrong[j] |= action != s.action
            parts = [p for several in found.values() for p in several]
            if parts:
                sizes.append(sum(w * abs(a) for w, a in parts) / sum(w for w, _ in parts))
            rows += [(number, s.observation, action, found[action]) for action in sorted(found)]
    top = np.quantile(sizes, 0.99)
    return [
        (
            number,
            text,
            action,
            sum(w * (0.3 + 0.7 * min(1, abs(a) / top)) for w, a in parts),
            sum(w * a for w, a in parts) / sum(w for w, _ in parts),
        )
        for number, text, action, parts in rows
    ]


@pytest.mark.parametrize("scope", ["all", "trajectory"])
def test_labels_are_those_of_loops_over_the_episodes(rollouts, model, frontier, scope: str) -> None:
    budgets = (0.3, 1.0)
    labels = label(rollouts, frontier, budgets=budgets, scope=scope)
    for budget in budgets:
        mixture = frontier.policy(budget=budget)
        expected = by_hand(rollouts, mixture, model, scope)
        got = [(x.plan_index, x.observation, x.action, x.weight, x.advantage) for x in labels if x.budget == budget]
        assert [g[:3] for g in got] == [e[:3] for e in expected]
        np.testing.assert_allclose([g[3:] for g in got], [e[3:] for e in expected], rtol=1e-12, atol=1e-12)
    assert {x.task_id for x in labels} == {f"coin-{i}" for i in range(4)}
    assert (labels.weight > 0).all()
    assert labels.weight.max() <= 1 + 1e-12


def test_a_single_policy_labels_each_decision_once(rollouts, model) -> None:
    solution = solve(model, help_cost=0.2)
    labels = label(rollouts, solution)
    steps = [s for e in rollouts for s in e]
    assert len(labels) == len(steps)
    for x, s in zip(labels, steps, strict=True):
        i = model.locate(s.state_key, s.feature_key, s.steps_left)
        assert x.action == solution.policy[i]
        assert x.advantage == pytest.approx(solution.advantage[i])
        assert x.budget == solution.expected_usage
        assert (x.action > 0) == (x.advantage > 0)  # the sign of the advantage is the label
    assert {1} <= set(labels.action.tolist()) <= {0, 1}  # the second intervention is useless
    # One coin left, r = 0.2: help has the advantage 1 - 0.2 - 0.5.
    last = [x for x, s in zip(labels, steps, strict=True) if s.steps_left == 1]
    assert all(x.action == 1 for x in last)
    assert np.mean([x.advantage for x in last]) == pytest.approx(0.3, abs=0.1)
    assert label(rollouts, solution, budgets=[1.5]).budget[0] == 1.5


def test_the_policies_of_a_mixture_share_the_weight(rollouts, model) -> None:
    mixture = solve_budget(model, budget=0.7)
    assert len(mixture.policies) == 2
    labels = label(rollouts, mixture)
    assert set(labels.budget) == {0.7}
    differ = mixture.policies[0].policy != mixture.policies[1].policy
    states = [model.locate(s.state_key, s.feature_key, s.steps_left) for e in rollouts for s in e]
    assert len(labels) == len(states) + sum(differ[i] for i in states)
    assert sum(differ[i] for i in states) > 0


def test_trajectory_stops_after_the_first_disagreement(rollouts, model) -> None:
    solution = solve(model, help_cost=0.2)
    labels = label(rollouts, solution, scope="trajectory")
    lengths = {number: len([x for x in labels if x.plan_index == number]) for number in range(len(rollouts))}
    for number, e in enumerate(rollouts):
        actions = [solution.policy[model.locate(s.state_key, s.feature_key, s.steps_left)] for s in e]
        agreeing = next((t for t, s in enumerate(e) if s.action != actions[t]), len(e) - 1)
        assert lengths[number] == agreeing + 1
    assert len(labels) < len(label(rollouts, solution))


def test_the_default_budgets_are_the_protocols(rollouts, frontier) -> None:
    labels = label(rollouts, frontier)
    assert labels.info["budgets"] == list(BUDGETS)
    shares = [row["help_share"] for row in labels.summary()]
    assert shares == sorted(shares)  # more budget, more help
    assert "help by budget 0.5:" in repr(labels)


def test_unknown_states_get_no_label_and_are_counted(rollouts, model, frontier, tmp_path: Path) -> None:
    with collect(ENV, store=tmp_path / "r.sqlite", tasks=[0, 1], episodes=22, seed=2, progress=False) as some:
        flat = TransitionModel.fit(some.episodes(task=0), backoff=None)
        labels = label(some, solve(flat, help_cost=0.1))
        assert {x.task_id for x in labels} == {"coin-0"}
        steps = [s for e in some.episodes(task=1) for s in e]
        assert labels.info["unlabelled"] == len(steps)
        assert labels.info["transitions"] == some.transition_count()
        with pytest.raises(InvalidArgumentError, match="knows none"):
            label(some.episodes(task=1), solve(flat, help_cost=0.1))


def test_episodes_without_a_store_give_the_same(rollouts, frontier) -> None:
    one, two = label(rollouts, frontier), label(list(rollouts), frontier)
    assert list(one) == list(two)
    broken = dataclasses.replace(next(iter(rollouts)), error="down")
    assert len(label([broken, *rollouts], frontier)) == len(one)


def test_an_unfinished_store_warns(rollouts, frontier, tmp_path: Path) -> None:
    with Rollouts.create(tmp_path / "r.sqlite", spec={}) as part:
        part.fix_plan(rollouts.plan)
        part.add(rollouts.episodes(task=0))
        with pytest.warns(UnfinishedStoreWarning, match="88 of its 352"):
            assert len(label(part, frontier)) > 0


def test_merging_keeps_the_weight(rollouts, frontier) -> None:
    labels = label(rollouts, frontier)
    merged = label(rollouts, frontier, merge=True)
    assert len(merged) < len(labels) / 5
    keys = [(x.observation, x.budget, x.action) for x in merged]
    assert len(set(keys)) == len(keys)
    for key, x in zip(keys, merged, strict=True):
        same = [y for y in labels if (y.observation, y.budget, y.action) == key]
        assert x.weight == pytest.approx(sum(y.weight for y in same))
        assert x.advantage == pytest.approx(sum(y.weight * y.advantage for y in same) / x.weight)
    assert merged.weight.sum() == pytest.approx(labels.weight.sum())
    assert list(merged.merged()) == list(merged)


def test_bad_arguments(rollouts, model, frontier) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'trajectory'"):
        label(rollouts, frontier, scope="trajectories")
    for budgets in ([-1], [float("nan")], ["1"], [True], [float("inf")]):
        with pytest.raises(InvalidArgumentError, match="finite number >= 0"):
            label(rollouts, frontier, budgets=budgets)
    with pytest.raises(InvalidArgumentError, match="must be a list of numbers"):
        label(rollouts, frontier, budgets="1")
    for budgets in ([], [1, 1]):
        with pytest.raises(InvalidArgumentError, match="budgets must be different finite numbers"):
            label(rollouts, frontier, budgets=budgets)
    with pytest.raises(InvalidArgumentError, match="pass the Frontier"):
        label(rollouts, solve(model, help_cost=0.1), budgets=[1, 2])
    with pytest.raises(InvalidArgumentError, match="received str"):
        label(rollouts, "solution.npz")
    other = TransitionModel.fit(rollouts.episodes(task=0))
    with pytest.raises(InvalidArgumentError, match="pass the model that was solved"):
        label(rollouts, frontier, model=other)


# ---------------------------------------------------------------- as a set, and on disk


def test_a_set_of_labels_is_a_sequence(rollouts, frontier) -> None:
    labels = label(rollouts, frontier)
    assert isinstance(labels[3], Label)
    assert labels[-1] == list(labels)[-1]
    assert list(labels[10:20:2]) == list(labels)[10:20:2]
    helps = labels[labels.action > 0]
    assert isinstance(helps, Labels)
    assert list(helps) == [x for x in labels if x.action > 0]
    with pytest.raises(IndexError):
        labels[len(labels)]
    with pytest.raises(InvalidArgumentError, match="the weight positive"):
        Labels.of([dataclasses.replace(labels[0], weight=0.0)])


def test_saved_and_loaded_labels_are_the_same(rollouts, frontier, tmp_path: Path) -> None:
    labels = label(rollouts, frontier, scope="trajectory")
    path = tmp_path / "deep" / "labels.jsonl"
    labels.save(path)
    back = Labels.load(path)
    assert list(back) == list(labels)
    assert back.info == labels.info
    assert [p.name for p in path.parent.iterdir()] == ["labels.jsonl"]
    header, *lines = map(json.loads, path.read_text().splitlines())
    assert header["count"] == len(labels) == sum(len(line["labels"]) for line in lines)
    assert set(lines[0]) == {"observation", "task_id", "plan_index", "labels"}
    assert set(lines[0]["labels"][0]) == {"budget", "action", "weight", "advantage"}
    assert len(lines) < len(labels) / 3  # one line for all budgets
    merged = labels.merged()
    merged.save(path)
    assert list(Labels.load(path)) == list(merged)
    assert len({x.observation for x in merged}) <= len(path.read_text().splitlines()) - 1 < len(lines) / 5


def test_files_with_the_former_key_are_read(rollouts, frontier, tmp_path: Path) -> None:
    labels = label(rollouts, frontier, budgets=[1.0])
    labels.save(tmp_path / "l.jsonl")
    text = (tmp_path / "l.jsonl").read_text()
    (tmp_path / "l.jsonl").write_text(text.replace('"plan_index"', '"episode"'))
    assert list(Labels.load(tmp_path / "l.jsonl")) == list(labels)


def test_any_text_survives_the_file(tmp_path: Path) -> None:
    odd = Label('line\nbreak \u2028 "quote" 🙂 \x00', 1 / 3, 2, 1e-300, -0.1, 4, "täsk")
    Labels.of([odd], {"source": "x"}).save(tmp_path / "l.jsonl")
    assert list(Labels.load(tmp_path / "l.jsonl")) == [odd]
    Labels.of([]).save(tmp_path / "none.jsonl")
    assert len(Labels.load(tmp_path / "none.jsonl")) == 0


def test_a_failed_save_leaves_the_old_file(rollouts, frontier, tmp_path: Path) -> None:
    labels = label(rollouts, frontier)
    path = tmp_path / "l.jsonl"
    labels.save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        dataclasses.replace(labels, info={"x": object()}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bad_files(rollouts, frontier, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with pytest.raises(StoreError, match="there are no labels at"):
        Labels.load(path)
    label(rollouts, frontier, budgets=[1]).save(path)
    lines = path.read_text().splitlines(keepends=True)
    cases = [
        ("".join(lines[:-2]), StoreDamagedError, "is incomplete"),
        ("".join(lines)[:-40], StoreDamagedError, f"line {len(lines)}, has no valid labels"),
        ("".join([lines[0], '{"observation": "x"}\n', *lines[2:]]), StoreDamagedError, "line 2, has no valid labels"),
        ("".join(lines[1:]), StoreDamagedError, "first line is not the header"),
        (
            re.sub(r'"plan_index": \d+', f'"plan_index": {2**70}', "".join(lines)),
            StoreDamagedError,
            "line 2, has no valid labels",
        ),
        (
            re.sub(r'"action": \d+', f'"action": {2**70}', "".join(lines)),
            StoreDamagedError,
            "action must be an integer",
        ),
        (
            re.sub(r'"weight": [\d.e-]+', f'"weight": {2**1100}', "".join(lines)),
            StoreDamagedError,
            "weight must",
        ),
        ("", StoreDamagedError, "first line is not the header"),
        ("[]\n", StoreDamagedError, "first line is not the header"),
        (lines[0].replace('"version": 1', '"version": 9'), StoreVersionError, "version 9; this selfreg_gym reads"),
    ]
    for text, error, message in cases:
        path.write_text(text)
        with pytest.raises(error, match=message):
            Labels.load(path)
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(StoreDamagedError, match="not UTF-8"):
        Labels.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observation", 3), ("task_id", None), ("plan_index", "0"), ("action", -1), ("action", 0.5), ("action", True),
        ("budget", "1"), ("budget", None), ("weight", 0), ("weight", float("nan")), ("advantage", float("inf")),
    ],
)  # fmt: skip
def test_fields_of_the_wrong_type_are_refused_by_line(rollouts, frontier, tmp_path, name, value) -> None:
    path = tmp_path / "labels.jsonl"
    label(rollouts, frontier, budgets=[1.0]).save(path)
    lines = path.read_text().splitlines()
    one = json.loads(lines[1])
    (one if name in one else one["labels"][0])[name] = value
    lines[1] = json.dumps(one)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreDamagedError, match=r"labels\.jsonl, line 2, has no valid labels"):
        Labels.load(path)


def test_deeply_nested_lines_are_refused(tmp_path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(StoreDamagedError, match="header"):
        Labels.load(path)


def test_the_file_has_no_path_of_this_machine(rollouts, frontier, tmp_path) -> None:
    path = tmp_path / "labels.jsonl"
    label(rollouts, frontier, budgets=[1.0]).save(path)
    assert "/" not in json.loads(path.read_text().splitlines()[0])["source"]
