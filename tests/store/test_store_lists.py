"""Log-probabilities, feature vectors and propensities in a store, and stores of formats 2 and 3."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from stored import SPEC, episode

from selfreg_gym import Episode, Rollouts
from selfreg_gym.errors import InvalidArgumentError, StoreDamagedError
from selfreg_gym.store.ragged import Ragged, from_blob, to_blob
from selfreg_gym.store.schema import FORMAT

LISTS = [(-0.25, -1.5), (-0.5, -2.0, -3.25), (-0.125, float("-inf"))]  # exact in float32
VECTORS = [(0.5, 1.0, -2.0), (0.0, 3.5, 1e6), (-0.25, 0.0, 0.75)]


def with_lists(seed: int = 0) -> Episode:
    plain = episode(seed=seed)
    steps = [
        dataclasses.replace(step, actor_logprobs=logprobs, feature_vector=vector)
        for step, logprobs, vector in zip(plain.steps, LISTS, VECTORS, strict=True)
    ]
    return dataclasses.replace(plain, steps=tuple(steps))


def test_lists_are_stored_and_read(rollouts: Rollouts) -> None:
    rollouts.add([with_lists(), with_lists(1)])
    assert list(rollouts) == [with_lists(), with_lists(1)]
    columns = rollouts.columns("actor_logprobs", "feature_vector", "action")
    logprobs = columns["actor_logprobs"]
    assert isinstance(logprobs, Ragged)
    assert [tuple(row.tolist()) for row in logprobs] == LISTS * 2
    assert logprobs.values.dtype == np.float32
    np.testing.assert_array_equal(columns["feature_vector"], np.float32(VECTORS * 2))
    none = rollouts.columns("actor_logprobs", "feature_vector", seed=99)
    assert (len(none["actor_logprobs"]), none["feature_vector"].shape) == (0, (0, 0))


def test_a_store_without_lists_has_none(rollouts: Rollouts) -> None:
    rollouts.add([episode()])
    columns = rollouts.columns("actor_logprobs", "feature_vector")
    assert [*columns["actor_logprobs"]] == [None, None, None]
    assert columns["feature_vector"].shape == (3, 0)


def test_vectors_of_different_lengths_cannot_be_one_column(rollouts: Rollouts) -> None:
    other = with_lists(1)
    steps = tuple(dataclasses.replace(step, feature_vector=(1.0,)) for step in other.steps)
    rollouts.add([with_lists(), dataclasses.replace(other, steps=steps)])
    with pytest.raises(StoreDamagedError, match="must have one length, received lengths 1 to 3"):
        rollouts.columns("feature_vector")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actor_logprobs": (-1.0,)}, "one log-probability .* received 1 for 2 actions"),
        ({"actor_logprobs": (-1.0, 0.5)}, "at most 0"),
        ({"actor_logprobs": (-1.0, float("nan"))}, "at most 0"),
        ({"actor_logprobs": (-1.0, "x")}, "wrong type"),
        ({"feature_vector": (float("inf"),)}, "feature_vector must have finite numbers"),
        ({"feature_vector": 3.0}, "wrong type"),
        ({"propensities": (0.5, 0.5)}, "probabilities of all actions"),
        ({"propensities": (0.5, 0.5, 0.5)}, "probabilities of all actions"),
        ({"propensities": (0.0, 0.5, 0.5)}, "that of the taken action above 0"),
    ],
)
def test_invalid_lists(rollouts: Rollouts, change: dict[str, object], message: str) -> None:
    made = with_lists()
    broken = dataclasses.replace(made, steps=(dataclasses.replace(made.steps[0], **change), *made.steps[1:]))
    with pytest.raises(InvalidArgumentError, match=message):
        rollouts.add(broken)
    assert len(rollouts) == 0


def test_a_store_of_format_2_is_read_and_converted_when_it_is_written(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(episode())
    rollouts.close()
    connection = sqlite3.connect(path)  # what format 2 was: the same without the two columns
    connection.execute("DROP VIEW steps")
    for column in ("actor_logprobs", "feature_vector", "propensities", "continuation"):
        connection.execute(f"ALTER TABLE transitions DROP COLUMN {column}")
    connection.execute("CREATE VIEW steps AS SELECT run, episode, t FROM transitions")
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()
    with Rollouts.open(path, spec=SPEC) as again:
        assert list(again) == [episode()]
        assert again.columns("actor_logprobs")["actor_logprobs"][2] is None
        assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (2,)  # reading changes nothing
        again.add(with_lists(1))
        assert list(again) == [episode(), with_lists(1)]
        assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_store_of_format_3_has_no_propensities_until_it_is_written(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(with_lists())
    rollouts.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP VIEW steps")
    for column in ("propensities", "continuation"):
        connection.execute(f"ALTER TABLE transitions DROP COLUMN {column}")
    connection.execute("CREATE VIEW steps AS SELECT run, episode, t FROM transitions")
    connection.execute("PRAGMA user_version = 3")
    connection.commit()
    connection.close()
    new = with_lists(1)
    new = dataclasses.replace(new, steps=tuple(dataclasses.replace(s, propensities=(0.5, 0.25, 0.25)) for s in new))
    with Rollouts.open(path, spec=SPEC) as again:
        assert list(again) == [with_lists()]
        again.add(new)
        assert list(again) == [with_lists(), new]
        assert again.columns("propensities")["propensities"][0] is None
        assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_damaged_list_is_reported(rollouts: Rollouts, path: Path) -> None:
    rollouts.add(with_lists())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE transitions SET actor_logprobs = x'0102' WHERE t = 1")
    for read in (lambda: list(rollouts), lambda: rollouts.columns("actor_logprobs")):
        with pytest.raises(StoreDamagedError, match="invalid length"):
            read()


def test_action_kinds_are_recorded(rollouts: Rollouts, path: Path) -> None:
    assert rollouts.action_kinds == ()
    rollouts.set_action_kinds(("Go", "Done"))
    with Rollouts.open(path, spec=SPEC) as again:
        assert again.action_kinds == ("Go", "Done")


def test_exports_have_the_lists(rollouts: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    rollouts.add([with_lists(), episode(seed=1)])
    path = rollouts.to_parquet(tmp_path / "r.parquet")
    rows = parquet.read_table(path).to_pylist()
    assert [row["actor_logprobs"] for row in rows] == [*map(list, LISTS), None, None, None]
    assert [row["feature_vector"] for row in rows] == [*map(list, VECTORS), None, None, None]

    minari = pytest.importorskip("minari")
    assert minari
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (first,) = rollouts.to_minari("selfreg/coin-v0", seed=0).iterate_episodes()
    assert [json.loads(text) for text in first.infos["actor_logprobs"]] == [
        [-0.25, -1.5], [-0.5, -2.0, -3.25], [-0.125, None], None,
    ]  # fmt: skip
    np.testing.assert_array_equal(first.infos["feature_vector"][:3], np.float32(VECTORS))
    assert np.isnan(first.infos["feature_vector"][3]).all()
    first, second = rollouts.to_minari("selfreg/both-v0").iterate_episodes()
    assert list(second.infos["actor_logprobs"]) == [b"null"] * 4
    assert "feature_vector" not in first.infos
    (plain,) = rollouts.to_minari("selfreg/plain-v0", seed=1).iterate_episodes()
    assert "actor_logprobs" not in plain.infos


def test_ragged_columns() -> None:
    column = Ragged.of([(1.0,), None, (), (2.0, 3.0)])
    assert (len(column), column[1], column[-1].tolist()) == (4, None, [2.0, 3.0])
    assert column[2].tolist() == []
    with pytest.raises(IndexError, match="index 4 is outside a column of 4 lists"):
        column[4]
    assert Ragged.of([None, (1.0, 2.0)]).matrix().tolist()[1] == [1.0, 2.0]
    assert np.isnan(Ragged.of([None, (1.0, 2.0)]).matrix()[0]).all()
    assert from_blob(to_blob((0.5, 0.25))) == (0.5, 0.25)
    assert to_blob(None) is from_blob(None) is None
