"""Models on disk."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.solver import solve
from selfreg_gym.transitions import TransitionModel


def test_files_keep_every_number_and_say_what_is_wrong_with_them(tmp_path, chain, levelled):
    path = tmp_path / "transitions.npz"
    for model in (chain(), levelled(np.random.default_rng(2), 5, 3), chain(keys=None, cost=[[0, 0], [1, 2.5]])):
        model.save(path)
        again = TransitionModel.load(path)
        assert again.fingerprint == model.fingerprint
        assert again.keys == model.keys
        assert np.array_equal(solve(again, help_cost=0.1).value, solve(model, help_cost=0.1).value)
    with pytest.raises(CheckpointError, match="no file"):
        TransitionModel.load(tmp_path / "other.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    path.write_bytes(b"no archive at all")
    with pytest.raises(CheckpointError, match="is not a transition model"):
        TransitionModel.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(CheckpointError, match="expected format"):
        TransitionModel.load(path)
    np.savez(path, format=np.array("selfreg_gym transitions 1"), success=np.zeros((2, 2)))
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    np.savez(path, format=np.array([None, "x"], dtype=object))
    with pytest.raises(CheckpointError, match="damaged"):
        TransitionModel.load(path)
    with pytest.raises(ModelError, match="text or integer keys"):
        chain(keys=[(0, 1), (1, 1)]).save(path)


def test_a_fitted_model_survives_its_file(tmp_path, play, truth):
    data = play(truth(7), 300, np.random.default_rng(8), horizon=6)
    model = TransitionModel.fit(data)
    model.save(tmp_path / "transitions.npz")
    again = TransitionModel.load(tmp_path / "transitions.npz")
    assert again.fingerprint == model.fingerprint
    assert again.coverage() == model.coverage()
    assert np.array_equal(again.counts, model.counts)
    for key, feature, left in (("s1", "f1", 3), ("new", "f2", 6), ("new", "new", 1)):
        assert again.locate(key, feature, left) == model.locate(key, feature, left)
    assert again.fitted.settings == model.fitted.settings
