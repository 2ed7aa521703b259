"""Batching of infos in Gymnasium's vector convention, and its inverse."""

from __future__ import annotations

import numpy as np

from selfreg_gym.intervention_env.infos import batch_infos, info_at


def test_infos_keep_tuples_whole_and_types_exact() -> None:
    infos = batch_infos([{"a": ("x", "y"), "n": 1, "f": 0.5, "b": True, "d": {"z": 2.0}}, None, {"a": ("x",), "n": 2}])
    assert infos["a"].tolist() == [("x", "y"), None, ("x",)]
    assert infos["_a"].tolist() == [True, False, True]
    assert (infos["n"].dtype, infos["f"].dtype, infos["b"].dtype) == (np.int64, np.float64, np.bool_)
    assert infos["d"]["z"].tolist() == [2.0, 0.0, 0.0]
    assert infos["_d"].tolist() == [True, False, False]


def test_infos_whose_types_differ_become_objects() -> None:
    infos = batch_infos([{"left": 3}, {"left": None}])
    assert infos["left"].tolist() == [3, None]
    same = batch_infos([{"left": ("a", "b")}, {"left": ("c", "d")}])
    assert same["left"].shape == (2,)


def test_info_at_returns_the_info_of_one_environment() -> None:
    original = [{"a": 1, "m": {"x": 0.5}}, {"a": 2, "u": np.array([1.0, 2.0])}, {}]
    batched = batch_infos(original)
    for i, info in enumerate(original):
        taken = info_at(batched, i)
        assert taken.keys() == info.keys()
        np.testing.assert_equal(batch_infos([taken]), batch_infos([info]))
    assert info_at(batched, 0, ("a", "missing")) == {"a": 1}
