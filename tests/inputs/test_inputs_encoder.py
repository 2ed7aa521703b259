"""InputEncoder: the columns of each input by hand, unseen values, files, subsets, errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from selfreg_gym.errors import CheckpointError, InvalidArgumentError, UnknownNameError
from selfreg_gym.inputs import INPUTS, DecisionTable, InputEncoder
from selfreg_gym.types import Act

ACTIONS = ("Go left", "Go right", "Done!")


class Length:
    """p(s) as a function of the text's length."""

    def score(self, observations: Sequence[str]) -> np.ndarray:
        return np.array([1 / (1 + len(text)) for text in observations])


def info(feature: str | None, left: int | None, calls: tuple[int, ...] = (0,), **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"state_key": f"task|{feature}", "calls": np.array(calls), "admissible_actions": ACTIONS}
    found |= {} if feature is None else {"feature_key": feature}
    found |= {} if left is None else {"steps_left": left}
    return {**found, **more}


def act(*p: float) -> Act:
    return Act("Done!", tuple(np.log(p).tolist()))


def table(*rows: dict[str, Any], acts: Sequence[Any] | None = None) -> DecisionTable:
    return DecisionTable.from_infos([f"text {'x' * i}" for i in range(len(rows))], rows, acts)


ROWS = (info("a", 3), info("b", 2, (1,)), info("a", 0, (5,)))
ACTS = (act(0.5, 0.3, 0.2), act(0.1, 0.1, 0.8), act(0.2, 0.2, 0.6))


def test_features_and_steps_left_by_hand() -> None:
    encoder = InputEncoder.fit(table(*ROWS), ["features", "steps_left"])
    assert encoder.names == ("features", "steps_left")
    assert encoder.blocks == {"features": slice(0, 2), "steps_left": slice(2, 7)}
    assert encoder.width == 7
    x = encoder.encode(table(*ROWS))
    assert x.dtype == np.float32
    expected = [[1, 0, 0, 0, 0, 1, 1], [0, 1, 0, 0, 1, 0, 2 / 3], [1, 0, 1, 0, 0, 0, 0]]
    np.testing.assert_allclose(x, expected, rtol=1e-6)


def test_a_value_that_did_not_occur_in_fitting_is_all_zero() -> None:
    encoder = InputEncoder.fit(table(*ROWS), ["features", "state", "steps_left"])
    x = encoder.encode(table(info("new", 9), info(None, None)))
    np.testing.assert_array_equal(x[:, encoder.blocks["features"]], 0)
    np.testing.assert_array_equal(x[:, encoder.blocks["state"]], 0)
    np.testing.assert_allclose(x[:, encoder.blocks["steps_left"]], [[0, 0, 0, 1, 3.0], [0, 0, 0, 0, 0]])


def test_rare_keys_beyond_the_limit_are_all_zero() -> None:
    rows = [info(f"key {i}", 1) for i in range(2100)]
    decisions = table(*rows, *rows[60:])
    encoder = InputEncoder.fit(decisions, ["features"])
    assert encoder.width == 2048
    x = encoder.encode(decisions)
    assert x[:60].sum() == 8  # the first ones of those that occur once
    assert (x[60:].sum(axis=1) == 1).all()


def test_large_numbers_of_steps_share_the_last_column() -> None:
    encoder = InputEncoder.fit(table(info("a", 600), info("a", 10)), ["steps_left"])
    assert encoder.width == 66
    x = encoder.encode(table(info("a", 600), info("a", 64), info("a", 63)))
    assert x[:, :-1].argmax(axis=1).tolist() == [64, 64, 63]
    np.testing.assert_allclose(x[:, -1], [1.0, 64 / 600, 63 / 600], rtol=1e-6)


def test_calls_of_each_intervention() -> None:
    rows = [info("a", 1, calls) for calls in ((0, 0), (2, 1), (7, 0))]
    encoder = InputEncoder.fit(table(*rows), ["calls_so_far"])
    assert encoder.interventions == 2
    expected = [
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 2 / 7, 0, 1, 0, 0, 1],
        [0, 0, 0, 1, 1, 1, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(encoder.encode(table(*rows)), expected, rtol=1e-6)
    with pytest.raises(InvalidArgumentError, match="fitted with 2 interventions, and the env has 1"):
        encoder.encode(table(*ROWS))


def test_the_actors_distribution_by_hand() -> None:
    decisions = table(*ROWS, acts=ACTS)
    encoder = InputEncoder.fit(decisions, ["actor"], action_kinds=("Go", "Done"))
    assert encoder.needs_actor
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    ordered = np.sort(p, axis=1)
    entropy = -(p * np.log(p)).sum(axis=1)
    numbers = np.stack([p.max(1), ordered[:, 2] - ordered[:, 1], entropy, p[:, 0] + p[:, 1], p[:, 2]], axis=1)
    expected = (numbers - numbers.mean(0)) / numbers.std(0)
    np.testing.assert_allclose(encoder.encode(decisions), expected, atol=2e-5)
    ended = table(*ROWS, acts=[ACTS[0], None, Act("", error="broken")])
    np.testing.assert_array_equal(encoder.encode(ended)[1:], 0)


def test_small_log_probabilities_are_normalised_and_impossible_ones_refused() -> None:
    wanted = InputEncoder.fit(table(*ROWS, acts=ACTS), ["actor"]).encode(table(*ROWS, acts=ACTS))
    low = [Act(one.text, tuple(x - 900 for x in one.logprobs or ())) for one in ACTS]
    found = InputEncoder.fit(table(*ROWS, acts=low), ["actor"]).encode(table(*ROWS, acts=low))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    for bad in ((-np.inf,) * 3, (np.nan, -1.0, -1.0)):
        with pytest.raises(InvalidArgumentError, match="at least one of them finite"):
            InputEncoder.fit(table(*ROWS, acts=[*ACTS[:2], Act("Done!", bad)]), ["actor"])
    with pytest.raises(InvalidArgumentError, match="received 2 for 3 actions"):
        InputEncoder.fit(table(*ROWS, acts=[*ACTS[:2], act(0.5, 0.5)]), ["actor"], action_kinds=("Go",))


def test_log_probabilities_are_needed_in_fitting_and_in_use() -> None:
    with pytest.raises(InvalidArgumentError, match=r"3 of 3 have none.*ask_actor_always"):
        InputEncoder.fit(table(*ROWS), ["actor"])
    with pytest.raises(InvalidArgumentError, match="1 of 3 have none"):
        InputEncoder.fit(table(*ROWS, acts=[*ACTS[:2], None]), ["actor"])
    encoder = InputEncoder.fit(table(*ROWS, acts=ACTS), ["actor"])
    with pytest.raises(InvalidArgumentError, match="these decisions have none"):
        encoder.encode(table(*ROWS))
    for silent in ("Done!", Act("Done!")):
        with pytest.raises(InvalidArgumentError, match="gives log-probabilities"):
            encoder.observe(["text"], [ROWS[0]], [silent])
    assert encoder.observe(["text"], [ROWS[0]], [ACTS[0]]).shape == (1, 3)
    assert encoder.observe([], [], []).shape == (0, 3)


def test_feature_vectors_are_standardised() -> None:
    rows = [info(None, 1, feature_vector=np.array(v)) for v in ([1.0, 5.0], [3.0, 5.0])]
    encoder = InputEncoder.fit(table(*rows), ["features"])
    np.testing.assert_allclose(encoder.encode(table(*rows)), [[-1, 0], [1, 0]])  # a constant column becomes 0
    with pytest.raises(InvalidArgumentError, match="vectors of length 2, received none"):
        encoder.encode(table(info(None, 1)))


def test_small_units_and_large_means_of_feature_vectors_are_no_constants() -> None:
    small = np.array([1e-9, 3e-9, 2e-9], np.float32)
    large = np.array([5e6, 5e6 + 2, 5e6 + 1], np.float32)
    constant = np.full(3, 0.1, np.float32)
    vectors = np.stack([small, large, constant], axis=1)
    rows = [info("a", 3, feature_vector=vector) for vector in vectors]
    x = InputEncoder.fit(table(*rows), ["features"]).encode(table(*rows))[:, 1:]
    np.testing.assert_allclose(x[:, 0], np.sqrt([1.5, 1.5, 0]) * [-1, 1, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(x[:, 1], np.sqrt([1.5, 1.5, 0]) * [-1, 1, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(x[:, 2], 0)


def test_the_process_reward_model_gives_probability_and_logit(tmp_path: Path) -> None:
    decisions = table(*ROWS)
    encoder = InputEncoder.fit(decisions, ["prm"], prm=Length())
    p = Length().score(decisions.observation.values)
    logit = np.log(p / (1 - p))
    expected = np.stack([p, (logit - logit.mean()) / logit.std()], axis=1)
    np.testing.assert_allclose(encoder.encode(decisions), expected, rtol=1e-5)
    with pytest.raises(InvalidArgumentError, match="Length has none"):
        encoder.save(tmp_path / "encoder")


def test_subset_keeps_the_constants_and_columns_finds_them() -> None:
    decisions = table(*ROWS, acts=ACTS)
    encoder = InputEncoder.fit(decisions, ["state", "features", "steps_left", "actor"])
    part = encoder.subset(["actor", "features"])
    np.testing.assert_array_equal(
        part.encode(decisions), encoder.encode(decisions)[:, encoder.columns(["actor", "features"])]
    )
    with pytest.raises(UnknownNameError, match="input of this encoder"):
        encoder.subset(["prm"])


def test_a_saved_encoder_gives_the_same_numbers(tmp_path: Path) -> None:
    rows = [{**row, "feature_vector": np.array([i, 2.0])} for i, row in enumerate(ROWS)]
    decisions = table(*rows, acts=ACTS)
    names = ["features", "steps_left", "calls_so_far", "actor", "state"]
    encoder = InputEncoder.fit(decisions, names, action_kinds=("Go",))
    encoder.save(tmp_path / "inputs")
    again = InputEncoder.load(tmp_path / "inputs")
    assert again.names == tuple(names)
    assert again.blocks == encoder.blocks
    new = table({**info("b", 7, (2,)), "feature_vector": np.array([9.0, 1.0])}, *rows, acts=[ACTS[1], *ACTS])
    np.testing.assert_array_equal(again.encode(new), encoder.encode(new))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has none"):
        InputEncoder.load(tmp_path)
    InputEncoder.fit(table(*ROWS, acts=ACTS), ["actor"]).save(tmp_path)
    file = tmp_path / "inputs.safetensors"
    arrays = load_file(file)
    for damaged in (arrays["actor/mean"] * np.nan, arrays["actor/mean"][1:].copy()):
        save_file({**arrays, "actor/mean": damaged}, file)
        with pytest.raises(CheckpointError, match="cannot be read"):
            InputEncoder.load(tmp_path)
    file.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        InputEncoder.load(tmp_path)
    record = tmp_path / "inputs.json"
    record.write_text(record.read_text().replace("inputs-1", "inputs-9"))
    with pytest.raises(CheckpointError, match="format"):
        InputEncoder.load(tmp_path)


def test_names_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'features'"):
        InputEncoder.fit(table(*ROWS), ["feature"])
    for names in ("features", [], ["state", "state"]):
        with pytest.raises(InvalidArgumentError, match="different names"):
            InputEncoder.fit(table(*ROWS), names)
    with pytest.raises(InvalidArgumentError, match="needs backbone"):
        InputEncoder.fit(table(*ROWS), ["embedding"])
    with pytest.raises(InvalidArgumentError, match="score"):
        InputEncoder.fit(table(*ROWS), ["prm"])
    assert set(INPUTS) == {"features", "steps_left", "calls_so_far", "actor", "state", "embedding", "prm"}


@pytest.mark.parametrize(("name", "key"), [("features", "feature_key"), ("steps_left", "steps_left")])
def test_an_input_that_the_task_does_not_report(name: str, key: str) -> None:
    with pytest.raises(InvalidArgumentError, match=key):
        InputEncoder.fit(table(info(None, None)), [name])
