"""Models on disk."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.errors import CheckpointError, ModelError
from selfreg_gym.solver import solve
from selfreg_gym.transitions import TransitionModel


def test_files_keep_all_numbers_and_invalid_files_raise(tmp_path, chain, levelled):
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
    with pytest.raises(CheckpointError, match=r"is not a transition model.*it is not an \.npz file"):
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


def test_a_failed_save_keeps_the_former_file(tmp_path, chain, monkeypatch):
    path = tmp_path / "transitions.npz"
    model = chain()
    model.save(path)

    def full_disk(file, **arrays):
        file.write(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space"):
        model.save(path)
    assert TransitionModel.load(path).fingerprint == model.fingerprint
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_fitted_model_is_equal_after_saving_and_loading(tmp_path, play, truth):
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


def changes(read):
    """Arrays and values (None: missing) that make a file invalid."""
    n = read["success"].shape[1]
    yield "success", np.ones(3)
    yield "success", np.full_like(read["success"], np.nan)
    yield "success", None
    yield "start", read["start"][:-1]
    yield "start", np.array(["a"] * len(read["start"]))
    yield "levels", np.array(0)
    yield "levels", np.array([1, 2])
    yield "row0_indptr", read["row0_indptr"][::-1]
    yield "row0_indptr", read["row0_indptr"][:-1]
    yield "row0_indptr", read["row0_indptr"].astype(float)
    yield "row0_indices", read["row0_indices"] + n
    yield "row0_indices", read["row0_indices"][:-1]
    yield "row0_data", np.full_like(read["row0_data"], np.inf)
    yield "row0_data", None
    yield "row1_indptr", None
    yield "available", np.ones(3)
    yield "cost", -np.ones_like(read["cost"])
    yield "keys", np.frombuffer(b"[1", np.uint8)
    yield "keys", np.frombuffer(b"[" * 50_000, np.uint8)
    yield "keys", np.frombuffer(b'["a"]', np.uint8)
    yield "keys", None
    if "fitted" in read:
        yield "counts", read["counts"][:, :-1]
        yield "feature_of_node", np.full(n, n + 5)
        yield "fitted", np.frombuffer(b"[]", np.uint8)


def test_errors_of_damaged_files_have_the_file_and_a_remedy(tmp_path, chain, levelled, play, truth):
    path = tmp_path / "transitions.npz"
    fitted = TransitionModel.fit(play(truth(7), 60, np.random.default_rng(8), horizon=6))
    for model in (chain(), levelled(np.random.default_rng(2), 5, 3), fitted):
        model.save(path)
        whole = path.read_bytes()
        with np.load(path) as archive:
            read = {name: archive[name] for name in archive.files}
        for name, value in changes(read):
            changed = {key: array for key, array in (read | {name: value}).items() if array is not None}
            np.savez(path, **changed)
            with pytest.raises(CheckpointError, match=r"transitions\.npz is damaged: .* Make it again"):
                TransitionModel.load(path)
        for cut in (0, 10, len(whole) // 2, len(whole) - 5):
            path.write_bytes(whole[:cut])
            with pytest.raises(CheckpointError, match="damaged"):
                TransitionModel.load(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "transitions.npz"
    np.savez(path, format=np.array("selfreg_gym transitions 1"), success=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="pickle"):
        TransitionModel.load(path)
