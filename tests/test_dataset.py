"""The rollout store: what goes in comes out, once, whatever dies on the way; and every bad file has its error."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfreg_gym.dataset import Planned, Rollouts, UnfinishedStoreWarning
from selfreg_gym.errors import (
    InvalidArgumentError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
    UnknownNameError,
)
from selfreg_gym.store.schema import FORMAT
from selfreg_gym.types import Episode, Transition

SPEC = {"env": {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert", "strong"]}, "seed": 3}


def episode(
    task: int = 0,
    seed: int = 0,
    p: float | None = 0.5,
    *,
    actions: tuple[int, ...] = (0, 1, 2),
    cost: float = 1.0,
    success: bool = True,
    **changes: object,
) -> Episode:
    """An episode of K = 2 with texts that recur and texts that do not."""
    last = len(actions) - 1
    steps = tuple(
        Transition(
            t=t,
            observation=f"Room {t}.\nTask {task}: bring the «cup» 🙂" + (f" {seed}" if t == 1 else ""),
            admissible_actions=("go left", "say 'hi\", ok'") if t != 1 else None,
            state_key=f"{task}|room {t}",
            feature_key=f"room {t}" if t != 2 else None,
            steps_left=last - t if t else None,
            action=action,
            action_text="go left",
            cost=cost if action else 0.0,
            reward=float(t == last and success) - 0.1 * bool(action),
            terminated=t == last,
            truncated=False,
            invalid=t == 0,
        )
        for t, action in enumerate(actions)
    )
    usage = tuple(sum(s.cost for s in steps if s.action == k) for k in (1, 2))
    made = Episode(task, seed, f"task-{task}", "pnp", p, success, usage, steps, metrics={"spl": 1 / 3})
    return dataclasses.replace(made, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "rollouts.sqlite"


@pytest.fixture
def rollouts(path: Path):
    with Rollouts.create(path, spec=SPEC) as made:
        yield made


# ---------------------------------------------------------------- what goes in comes out


def test_an_episode_comes_back_as_it_was(rollouts: Rollouts) -> None:
    stored = [episode(0, 0), episode(1, 7, None, success=False), episode(2, 2**40, 0.1 + 0.2, cost=1 / 3)]
    assert rollouts.add(stored) == 3
    assert list(rollouts) == stored
    assert len(rollouts) == 3
    assert rollouts.transition_count() == 9


def test_a_cost_is_never_rounded(rollouts: Rollouts) -> None:
    cost = 0.123456789012345678
    rollouts.add(episode(cost=cost))
    (back,) = rollouts.episodes()
    assert back.steps[1].cost == cost
    assert back.usage == (cost, cost)
    assert rollouts.columns("cost")["cost"].tolist() == [0.0, cost, cost]


def test_numpy_values_and_odd_texts_are_accepted(rollouts: Rollouts) -> None:
    step = episode().steps[0]
    odd = dataclasses.replace(
        step,
        observation="nul \x00 and a lone \ud83d surrogate",
        steps_left=np.int64(4),
        action=np.int64(0),
        reward=np.float32(0.5),
        terminated=np.bool_(True),
        action_text="",
    )
    rollouts.add(episode(steps=(odd,), usage=(np.float64(0), 0.0), success=np.True_, metrics={"spl": np.float32(0.5)}))
    (back,) = rollouts.episodes()
    assert back.steps[0].observation == "nul \x00 and a lone \ufffd surrogate"
    assert (back.steps[0].steps_left, back.steps[0].action_text, back.success) == (4, "", True)
    assert back.metrics == {"spl": 0.5}


def test_each_distinct_text_is_stored_once_and_read_back_shared(rollouts: Rollouts) -> None:
    rollouts.add(episode(0, seed) for seed in range(50))
    distinct = {x for e in rollouts for s in e for x in (s.observation, s.state_key, s.feature_key, s.action_text)}
    assert rollouts.summary()["texts"] == len(distinct - {None}) + 1  # and one list of admissible actions
    first, second = list(rollouts)[:2]
    assert first.steps[0].observation is second.steps[0].observation


def test_texts_with_the_same_hash_are_kept_apart(rollouts: Rollouts, path: Path, monkeypatch) -> None:
    class Same:
        def __init__(self, *_: object, **__: object) -> None: ...
        def digest(self) -> bytes:
            return bytes(8)

    monkeypatch.setattr("selfreg_gym.store.writing.blake2b", Same)
    rollouts.add([episode(0, 0), episode(1, 0)])
    with Rollouts.open(path) as other:  # a writer that remembers nothing of the first
        other.add(episode(2, 0))
    assert list(rollouts) == [episode(0, 0), episode(1, 0), episode(2, 0)]


def test_it_can_be_read_in_the_sqlite_shell(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode())
    plain = sqlite3.connect(path)
    rows = plain.execute("SELECT t, who, action_text, state_key, observation, p, success FROM steps ORDER BY t")
    assert [row[:4] for row in rows] == [
        (0, "actor", "go left", "0|room 0"),
        (1, "expert", "go left", "0|room 1"),
        (2, "strong", "go left", "0|room 2"),
    ]
    plain.close()


TEXT = st.text(max_size=30)
STEP = st.builds(
    Transition,
    t=st.just(0),
    observation=TEXT,
    admissible_actions=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    state_key=TEXT,
    feature_key=st.none() | TEXT,
    steps_left=st.none() | st.integers(0, 2**40),
    action=st.integers(0, 2),
    action_text=TEXT,
    cost=st.just(0.0),
    reward=st.floats(allow_nan=False, allow_infinity=False),
    terminated=st.just(False),
    truncated=st.just(True),
    invalid=st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=STEP, p=st.none() | st.floats(0, 1), seed=st.integers(0, 2**63 - 1), kind=TEXT)
def test_whatever_can_be_said_comes_back(rollouts: Rollouts, step: Transition, p, seed: int, kind: str) -> None:
    one = Episode(1, seed, kind, kind, p, False, (0.0, 0.0), (step,))
    run = rollouts.count()  # hypothesis draws the same episode more than once
    rollouts.add(one, run=run)
    assert list(rollouts.episodes(run=run)) == [one]


# ---------------------------------------------------------------- filters, columns, figures


def test_filters(rollouts: Rollouts) -> None:
    for task, kind in enumerate(["pnp", "s_obj", "s_hum"]):
        rollouts.add(episode(task, 0, p, kind=kind, success=task == 1) for p in (0.0, 0.1 + 0.2, None))
    count = lambda **where: len(list(rollouts.episodes(**where)))  # noqa: E731
    assert count() == 9
    assert count(help_probability=0.3) == 3  # 0.1 + 0.2 is 0.30000000000000004
    assert count(help_probability=None) == 3
    assert count(help_probability=[0.0, None]) == 6
    assert count(task=1) == 3
    assert count(task=range(2), kind=["pnp", "s_hum"]) == 3
    assert count(task=np.array([0, 2]), success=True) == 0
    assert count(task_id="task-2", help_probability=0) == 1
    assert count(kind=[]) == 0
    with pytest.raises(UnknownNameError, match="Did you mean 'help_probability'"):
        rollouts.episodes(help_probabilty=0.3)


def test_columns_are_the_episodes_as_arrays(rollouts: Rollouts) -> None:
    rollouts.add([episode(0, 0), episode(1, 0, None, success=False), episode(1, 1)])
    steps = [(e, s) for e in rollouts for s in e]
    got = rollouts.columns(
        "task", "task_id", "success", "help_probability", "t", "action", "reward", "terminated", "steps_left",
        "state_key", "feature_key", "observation", "episode",
    )  # fmt: skip
    for name in ("t", "action", "reward", "terminated"):
        assert got[name].tolist() == [getattr(s, name) for _, s in steps]
    for name in ("state_key", "feature_key", "observation"):
        texts = [got[name].values[code] if code >= 0 else None for code in got[name].codes]
        assert texts == [getattr(s, name) for _, s in steps]
        assert len(set(got[name].values)) == len(got[name].values)
    assert [got["task_id"].values[code] for code in got["task_id"].codes] == [e.task_id for e, _ in steps]
    assert got["task"].tolist() == [e.episode for e, _ in steps]
    assert got["success"].tolist() == [e.success for e, _ in steps]
    assert got["steps_left"].tolist() == [-1 if s.steps_left is None else s.steps_left for _, s in steps]
    assert np.isnan(got["help_probability"]).tolist() == [e.help_probability is None for e, _ in steps]
    assert got["episode"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert got["t"].dtype == np.int64
    assert got["terminated"].dtype == np.bool_
    assert len(rollouts.columns("action", "state_key", task=1)["state_key"].codes) == 6
    empty = rollouts.columns("action", "state_key", task=99)
    assert empty["action"].shape == empty["state_key"].codes.shape == (0,)
    with pytest.raises(UnknownNameError, match="Did you mean 'state_key'"):
        rollouts.columns("state_keys")


def test_summary(rollouts: Rollouts) -> None:
    rollouts.add([episode(0, 0, 0.0, actions=(0, 0), success=False), episode(0, 1, 0.5), episode(1, 0, 0.5, error="x")])
    summary = rollouts.summary()
    assert summary["episodes"] == 2
    assert summary["failures"] == 1
    assert summary["transitions"] == 5
    assert summary["by_help_probability"] == [
        {"help_probability": 0.0, "episodes": 1, "success": 0.0, "usage": 0.0, "length": 2.0},
        {"help_probability": 0.5, "episodes": 1, "success": 1.0, "usage": 2.0, "length": 3.0},
    ]


# ---------------------------------------------------------------- once, whole, and nothing that is not data


def test_the_same_episode_is_stored_once(rollouts: Rollouts) -> None:
    assert rollouts.add([episode(), episode(), episode(seed=1)]) == 2
    assert rollouts.add(episode()) == 0
    assert rollouts.add(episode(p=0.6)) == 1  # the same seed at another help probability is another episode
    assert rollouts.add(episode(), run=1) == 1
    assert rollouts.transition_count() == 12


def test_an_errored_episode_is_neither_nohelp_nor_failure(rollouts: Rollouts) -> None:
    broken = episode(success=False, error="the endpoint answered 500")
    assert rollouts.add([broken, broken]) == 0
    assert len(rollouts) == rollouts.transition_count() == 0
    assert not rollouts.is_complete
    assert [(p.task, error) for p, error in rollouts.failures()] == [(0, "the endpoint answered 500")] * 2
    assert [p.task for p in rollouts.missing()] == [0]
    assert rollouts.add(episode()) == 1  # played again
    assert rollouts.is_complete
    assert rollouts.add(broken) == 0  # and a late error does not undo it
    assert len(rollouts.failures()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (), "no steps"),
        (lambda s: (*s, dataclasses.replace(s[-1], t=3)), "rows after the end"),
        (lambda s: s[:-1], "must end at its last step"),
        (lambda s: (s[0], *s), "numbered 0, 1, 2"),
        (lambda s: (dataclasses.replace(s[0], action=3), *s[1:]), "an action lies outside 0 .. 2"),
        (lambda s: (dataclasses.replace(s[0], reward=float("nan")), *s[1:]), "not finite"),
        (lambda s: (dataclasses.replace(s[0], cost=0.5), *s[1:]), r"steps cost 2.5 and its usage says 2.0"),
    ],
)
def test_what_is_no_episode_is_refused(rollouts: Rollouts, change, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rollouts.add(episode(steps=change(episode().steps)))
    assert rollouts.transition_count() == 0


def test_a_failed_transaction_leaves_nothing_and_forgets_its_texts(rollouts: Rollouts) -> None:
    bad = dataclasses.replace(episode().steps[2], action_text=object())
    with pytest.raises(AttributeError):
        rollouts.add(episode(steps=(*episode().steps[:2], bad)))
    assert rollouts.summary()["texts"] == 0
    rollouts.add(episode())
    assert list(rollouts) == [episode()]


# ---------------------------------------------------------------- the plan


def planned(n: int = 4, run: int = 0) -> list[Planned]:
    return [Planned(run, i, i % 2, i, 0.5) for i in range(n)]


def test_a_plan_is_finished_in_its_own_order(rollouts: Rollouts) -> None:
    rollouts.fix_plan(planned())
    assert not rollouts.is_complete
    for i in (3, 0, 2):
        rollouts.add(episode(i % 2, i))
    assert rollouts.missing() == [planned()[1]]
    with pytest.warns(UnfinishedStoreWarning, match="3 of its 4 planned episodes.*biased"):
        assert not rollouts.require_complete()
    with pytest.raises(StoreError, match="3 of its 4"):
        rollouts.require_complete(strict=True)
    rollouts.add(episode(1, 1))
    assert rollouts.is_complete
    assert rollouts.require_complete()
    assert [e.seed for e in rollouts] == [0, 1, 2, 3]
    assert rollouts.plan == planned()


def test_an_empty_store_is_not_complete(rollouts: Rollouts) -> None:
    assert not rollouts.is_complete


def test_a_fixed_plan_takes_no_other_episode(rollouts: Rollouts) -> None:
    rollouts.fix_plan(planned())
    with pytest.raises(StoreError, match="not in the plan of run 0"):
        rollouts.add(episode(5, 5))
    with pytest.raises(StoreError, match="has its plan already"):
        rollouts.fix_plan(planned())
    rollouts.add(episode(5, 5), run=1)
    with pytest.raises(InvalidArgumentError, match="no two with the same"):
        rollouts.fix_plan([planned()[0], dataclasses.replace(planned()[0], index=1)])
    with pytest.raises(InvalidArgumentError, match="received 0 episodes"):
        rollouts.fix_plan([])


# ---------------------------------------------------------------- opening


def test_create_refuses_to_overwrite(rollouts: Rollouts, path: Path) -> None:
    with pytest.raises(StoreError, match="exists already"):
        Rollouts.create(path, spec=SPEC)
    assert not list(path.parent.glob(".*"))  # no drafts are left


def test_open_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no rollout store at"):
        Rollouts.open(tmp_path / "nothing.sqlite")
    with pytest.raises(StoreError, match="is a folder"):
        Rollouts.open(tmp_path)
    assert not (tmp_path / "nothing.sqlite").exists()


def test_open_another_version(rollouts: Rollouts, path: Path) -> None:
    rollouts.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StoreVersionError, match=f"store format {FORMAT + 1}; this selfreg_gym reads format {FORMAT}"):
        Rollouts.open(path)


@pytest.mark.parametrize("content", [b"", b"not a database, but a long enough text " * 100])
def test_open_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="not a"):
        Rollouts.open(path)


def test_open_another_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (x)")
    with pytest.raises(StoreDamagedError, match=r"not a rollout store.*recipes"):
        Rollouts.open(tmp_path / "other.sqlite")


def test_open_a_store_without_a_table(rollouts: Rollouts, path: Path) -> None:
    rollouts.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE plan")
    with pytest.raises(StoreDamagedError, match=r"lacks the tables.*plan"):
        Rollouts.open(path)


@pytest.mark.parametrize("harm", ["cut", "scribble"])
def test_open_a_damaged_store(rollouts: Rollouts, path: Path, harm: str) -> None:
    rollouts.add(episode(seed=seed) for seed in range(200))
    rollouts.close()
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 : len(data) // 2 + 6000] = bytes(range(250)) * 24
    path.write_bytes(data)
    with pytest.raises(StoreDamagedError, match=r"damaged|not a readable"):
        Rollouts.open(path)


def test_open_for_another_spec_names_the_difference(rollouts: Rollouts, path: Path) -> None:
    with Rollouts.open(path, spec=SPEC) as again:
        assert again.spec == SPEC
    other = {**SPEC, "env": {**SPEC["env"], "actor": "tiny"}, "tasks": (1, 2)}
    with pytest.raises(StoreError, match=r"env.actor: the store has 'scripted', asked for 'tiny'; tasks: .*\[1, 2\]"):
        Rollouts.open(path, spec=other)
    with pytest.raises(InvalidArgumentError, match="plain JSON"):
        Rollouts.create(path.with_name("b"), spec={"actor": object()})
    with pytest.raises(InvalidArgumentError, match="spec is a dict"):
        Rollouts.create(path.with_name("b"), spec=[])


def test_it_travels_to_another_process_by_its_path(rollouts: Rollouts) -> None:
    rollouts.add(episode())
    with pickle.loads(pickle.dumps(rollouts)) as copy:
        assert list(copy) == [episode()]
    assert "1 of 1 episodes" in repr(rollouts)


def test_the_file_alone_can_be_copied_after_a_checkpoint(rollouts: Rollouts, path: Path, tmp_path: Path) -> None:
    rollouts.add(episode())
    rollouts.checkpoint()
    shutil.copy(path, tmp_path / "copy.sqlite")
    with Rollouts.open(tmp_path / "copy.sqlite") as copy:
        assert list(copy) == [episode()]


# ---------------------------------------------------------------- several at once, and kill -9


def test_reading_sees_one_moment_while_others_write(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode(seed=seed) for seed in range(3))
    reader = rollouts.episodes()
    next(reader)
    with Rollouts.open(path) as writer:
        writer.add(episode(seed=seed) for seed in range(3, 6))
    assert len(list(reader)) == 2
    assert len(list(rollouts)) == 6


WRITER = """
    import sys
    sys.path.insert(0, {here!r})
    from test_dataset import Rollouts, episode
    first, last, run = map(int, sys.argv[2:])
    rollouts = Rollouts.open(sys.argv[1], check=False)
    for seed in range(first, last):
        rollouts.add(episode(seed % 7, seed), run=run)
        print(seed, flush=True)
"""


def start_writer(path: Path, first: int, last: int, run: int = 0) -> subprocess.Popen:
    code = textwrap.dedent(WRITER).format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(path), str(first), str(last), str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_at_once(rollouts: Rollouts, path: Path) -> None:
    writers = [start_writer(path, 0, 150), start_writer(path, 100, 250), start_writer(path, 0, 100, run=1)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert sorted(e.seed for e in rollouts.episodes(run=0)) == list(range(250))
    assert sorted(e.seed for e in rollouts.episodes(run=1)) == list(range(100))
    assert all(e == episode(e.seed % 7, e.seed) for e in rollouts)


def test_kill_9_loses_nothing_that_was_committed(rollouts: Rollouts, path: Path) -> None:
    """A writer is killed at a random moment, eight times over; each time all that it reported is there, whole."""
    rng = np.random.default_rng(0)
    rollouts.close()
    done = 0
    for _ in range(8):
        writer = start_writer(path, done, 10_000)
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline())]
        time.sleep(float(rng.uniform(0, 0.15)))
        os.kill(writer.pid, signal.SIGKILL)
        reported += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        with Rollouts.open(path) as survivor:
            stored = {e.seed: e for e in survivor}
        assert set(range(reported[-1] + 1)) <= stored.keys()
        assert all(e == episode(seed % 7, seed) for seed, e in stored.items())
        assert len(stored) <= reported[-1] + 2  # at most the one that was committed and not yet reported
        done = len(stored)
    assert done > 8


# ---------------------------------------------------------------- tokens and prices, and stores from before them


def _counted(seed: int) -> Episode:
    steps = [
        Transition(0, "o", None, "s", None, None, 0, "a", 0.0, 0.0, False, False, False, tokens=7),
        Transition(1, "o", None, "s", None, None, 1, "b", 0.5, 1.0, True, False, False, tokens=11, price=0.5),
    ]
    return Episode(0, seed, "t", "", 0.5, True, (0.5,), tuple(steps))


def test_tokens_and_prices_are_kept_and_added_up(tmp_path: Path) -> None:
    with Rollouts.create(tmp_path / "r.sqlite", spec=SPEC) as rollouts:
        rollouts.add([_counted(1), _counted(2)])
        assert list(rollouts) == [_counted(1), _counted(2)]
        columns = rollouts.columns("tokens", "price")
        assert columns["tokens"].tolist() == [7, 11, 7, 11]
        np.testing.assert_array_equal(columns["price"], [np.nan, 0.5, np.nan, 0.5])
        assert rollouts.spending() == [
            {"action": 0, "steps": 2, "cost": 0.0, "tokens": 14, "price": 0.0},
            {"action": 1, "steps": 2, "cost": 1.0, "tokens": 22, "price": 1.0},
        ]


def test_a_store_of_format_1_is_read_as_it_is_and_grows_into_format_2(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    plain = dataclasses.replace(
        _counted(1), steps=tuple(dataclasses.replace(s, tokens=None, price=None) for s in _counted(1))
    )
    with Rollouts.create(path, spec=SPEC) as rollouts:
        rollouts.add(plain)
        rollouts.checkpoint()
    connection = sqlite3.connect(path)  # what format 1 was: the same without the two columns
    connection.execute("DROP VIEW steps")
    for column in ("tokens", "price"):
        connection.execute(f"ALTER TABLE transitions DROP COLUMN {column}")
    connection.execute("CREATE VIEW steps AS SELECT run, episode, t FROM transitions")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    with Rollouts.open(path) as rollouts:
        assert list(rollouts) == [plain]
        assert rollouts.columns("tokens")["tokens"].tolist() == [-1, -1]
        assert rollouts.spending()[1]["tokens"] == 0
        assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (1,)  # reading changes nothing
        rollouts.add(_counted(2))
        assert list(rollouts) == [plain, _counted(2)]
        assert sqlite3.connect(path).execute("SELECT count(tokens), count(price) FROM steps").fetchone() == (2, 1)
    with Rollouts.open(path) as rollouts:
        assert len(rollouts) == 2
