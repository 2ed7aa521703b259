"""Student: it learns a known function, on tasks that it holds out, with the same result for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.fitted.student import Student
from selfreg_gym.inputs import DecisionTable, InputEncoder

PRICES = (0.0, 0.1, 0.3)


def problem(n: int = 3000, tasks: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, dS and dM (n, 3, 2) as functions of them, and tasks."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    price = np.array(PRICES)[None, :, None]
    success = 0.3 * np.tanh(x[:, :2])[:, None] * (1 - price)
    usage = 1.0 + 0.5 * np.maximum(x[:, 2:4], 0)[:, None] * (1 - price)
    return x, success, usage, np.arange(n) % tasks


@pytest.fixture(scope="module")
def student() -> Student:
    x, success, usage, tasks = problem()
    return Student.train(x, (success, usage), PRICES, tasks=tasks, hidden=(64,), epochs=15, batch=64, seed=1)


def test_it_learns_a_known_function(student: Student) -> None:
    x, success, usage, _ = problem(seed=9)
    found = student.gains(x)
    assert [part.shape for part in found] == [(3000, 3, 2)] * 2
    price = np.array(PRICES)[None, :, None]
    gain, true = found[0] - price * found[1], success - price * usage
    explained = 1 - ((gain - true) ** 2).sum((0, 2)) / ((true - true.mean(0)) ** 2).sum((0, 2))
    assert (explained > 0.9).all()
    np.testing.assert_allclose(explained, student.info["r2"], atol=0.03)  # new rows agree with held-out tasks
    assert np.abs(found[1] - usage).mean() < 0.1


def test_r2_is_measured_on_tasks_that_are_held_out() -> None:
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(40), 25)
    x = np.eye(40, dtype=np.float32)[tasks]  # the inputs name the task, and the gain is random per task
    gain = np.repeat(rng.normal(size=(40, 1, 1)), 25, axis=0)
    student = Student.train(x, (gain, np.zeros_like(gain)), [0.0], tasks=tasks, hidden=(64,), epochs=30, batch=64)
    assert student.info["r2"][0] < 0.3
    fit = student.gains(x)[0]
    assert 1 - ((fit - gain) ** 2).mean() / gain.var() > student.info["r2"][0] + 0.2


def test_the_seed_determines_the_result(student: Student) -> None:
    x, success, usage, tasks = problem()
    again = Student.train(x, (success, usage), PRICES, tasks=tasks, hidden=(64,), epochs=15, batch=64, seed=1)
    np.testing.assert_array_equal(again.gains(x[:5])[0], student.gains(x[:5])[0])
    short = [Student.train(x, (success, usage), PRICES, tasks=tasks, hidden=(8,), epochs=1, seed=s) for s in (1, 2)]
    assert not np.array_equal(short[0].gains(x[:5])[0], short[1].gains(x[:5])[0])


def test_small_cost_units_do_not_matter(student: Student) -> None:
    x, success, usage, tasks = problem()
    prices = np.array(PRICES) * 1e6
    small = Student.train(x, (success, usage * 1e-6), prices, tasks=tasks, hidden=(64,), epochs=15, batch=64, seed=1)
    np.testing.assert_allclose(small.gains(x[:50])[0], student.gains(x[:50])[0], atol=1e-3)
    np.testing.assert_allclose(small.gains(x[:50])[1] * 1e6, student.gains(x[:50])[1], atol=1e-3)


def test_inputs_that_make_the_training_diverge_are_refused() -> None:
    x, success, usage, tasks = problem(200)
    with pytest.raises(InvalidArgumentError, match="of about unit size"):
        Student.train(x * 1e30, (success, usage), PRICES, tasks=tasks, hidden=(8,), epochs=1)


def test_the_batch_does_not_matter(student: Student) -> None:
    x = problem()[0][:32]
    together = student.gains(x)[0]
    alone = np.concatenate([student.gains(row[None])[0] for row in x])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_saved_student_gives_the_same_gains(student: Student, tmp_path: Path) -> None:
    infos = [{"state_key": "s", "calls": np.zeros(2, np.int64), "steps_left": i} for i in range(5)]
    encoder = InputEncoder.fit(DecisionTable.from_infos(["text"] * 5, infos), ["steps_left"])
    x = problem()[0][:20]
    student.save(tmp_path / "plain")
    again = Student.load(tmp_path / "plain")
    for one, other in zip(student.gains(x), again.gains(x), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.info == student.info
    assert again.prices.tolist() == list(PRICES)
    assert again.encoder is None
    student.encoder = encoder
    student.save(tmp_path / "encoded")
    student.encoder = None
    restored = Student.load(tmp_path / "encoded").encoder
    assert restored is not None
    assert restored.names == ("steps_left",)


def test_damaged_files_are_refused(student: Student, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has none"):
        Student.load(tmp_path)
    student.save(tmp_path)
    record = tmp_path / "student.json"
    record.write_text(record.read_text().replace('"members": 2', '"members": 3'))
    with pytest.raises(CheckpointError, match="cannot be read"):
        Student.load(tmp_path)
    record.write_text(record.read_text().replace('"members": 3', '"members": 2'))
    weights = tmp_path / "student.safetensors"
    arrays = load_file(weights)
    save_file({**arrays, "0/0/bias": arrays["0/0/bias"] * np.nan}, weights)
    with pytest.raises(CheckpointError, match="NaN"):
        Student.load(tmp_path)
    save_file({**arrays, "1/0/weight": arrays["1/0/weight"][:, 1:].copy()}, weights)
    with pytest.raises(CheckpointError, match="networks of 5 and 6 inputs"):
        Student.load(tmp_path)
    weights.write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Student.load(tmp_path)


def test_wrong_arguments_are_refused(student: Student) -> None:
    with pytest.raises(InvalidArgumentError, match="finite"):
        student.gains(np.full((1, 6), np.inf))
    x, success, usage, tasks = problem(n=40)
    with pytest.raises(InvalidArgumentError, match="shapes"):
        Student.train(x, (success, usage[:, :2]), PRICES, tasks=tasks)
    with pytest.raises(InvalidArgumentError, match="P = 2 prices"):
        Student.train(x, (success, usage), PRICES[:2], tasks=tasks)
    with pytest.raises(InvalidArgumentError, match="at least two different ones"):
        Student.train(x, (success, usage), PRICES, tasks=np.zeros(40))
    with pytest.raises(InvalidArgumentError, match="finite"):
        Student.train(np.full_like(x, np.nan), (success, usage), PRICES, tasks=tasks)
    with pytest.raises(InvalidArgumentError, match="hidden"):
        Student.train(x, (success, usage), PRICES, tasks=tasks, hidden=())
    with pytest.raises(InvalidArgumentError, match=r"inputs \(n, 6\)"):
        student.gains(x[:, :3])
