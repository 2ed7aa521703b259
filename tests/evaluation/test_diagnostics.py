"""The warnings of an evaluation, and the measures of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.evaluation import EpisodeTable, Evaluation
from selfreg_gym.evaluation.measures import EpisodeMeasures, measure
from selfreg_gym.helper import HelperKey
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, Transition

N = 600


def table(helpers, *, split="collected", n=N):
    """Helpers as ``{key: {measure: value or (n,) values}}`` on n episodes of 20 tasks."""
    plan = [EpisodeSpec(i % 20, i) for i in range(n)]
    played = {
        HelperKey.parse(key): [
            EpisodeMeasures(
                i % 20, i, "pnp", None, {"error": 0.0, "length": 10.0} | {m: at(v, i) for m, v in values.items()}
            )
            for i in range(n)
        ]
        for key, values in helpers.items()
    }
    return EpisodeTable.from_measures(
        dict.fromkeys(played, plan), played, split=split, fixed_tasks=split == "collected", resamples=300
    )


def at(values, i):
    return float(values[i]) if np.ndim(values) else float(values)


def flips(rate, n=N):
    return (np.random.default_rng(0).random(n) < rate).astype(float)


GOOD = {
    "never": {"success": flips(0.4), "usage": 0, "unseen": np.nan},
    "always": {"success": flips(0.9), "usage": 8, "unseen": np.nan},
    "dp@1": {"success": flips(0.7), "usage": flips(0.5) * 2, "unseen": 0},
}


def warned(helpers, expected=None, **more):
    return Evaluation({"collected": table(helpers, **more)}, expected={"collected": expected or {}}).warnings


def test_a_sound_evaluation_has_no_warnings():
    assert warned(GOOD, {"dp@1": {"usage": 1.0}}) == []


def test_usage_far_above_the_expected_one():
    runaway = GOOD | {"dp@1": {"success": flips(0.5), "usage": 4, "unseen": 5}}
    texts = warned(runaway, {"dp@1": {"usage": 1.0}})
    assert any("used 4.00 units per episode, 1.00 were expected" in text for text in texts)
    assert any("50% of decisions are in states unknown to the model" in text for text in texts)
    assert any("over budget are dp@1 (4.00)" in text for text in texts)


@pytest.mark.parametrize("scale", [0.001, 1000.0])
def test_warnings_do_not_depend_on_the_cost_unit(scale):
    """Usage of 4 calls where 1 was expected, and of 0.5 calls where 0.25 were: the first alone is far above."""

    def texts(unit):
        rows = {key: {**row, "usage": row["usage"] * unit, "helped": row["usage"]} for key, row in GOOD.items()}
        rows["a@1"] = {"success": flips(0.5), "usage": 4 * unit, "helped": 4, "unseen": 0}
        rows["b@1"] = {"success": flips(0.6), "usage": flips(0.5) * unit, "helped": flips(0.5), "unseen": 0}
        found = {"a@1": {"usage": unit}, "b@1": {"usage": 0.25 * unit}}
        cap = {key: unit for key in ("dp@1", "a@1", "b@1")}
        return Evaluation({"collected": table(rows)}, budgets=cap, expected={"collected": found}).warnings

    one, other = texts(1.0), texts(scale)
    assert [text.partition(":")[0] for text in one] == [text.partition(":")[0] for text in other]
    assert [text.partition(":")[0] for text in one if "were expected" in text] == ["collected, a@1"]
    assert any(f"used {4 * scale:.{2 if scale > 1 else 3}{'f' if scale > 1 else 'g'}} units" in text for text in other)


def test_few_episodes_are_reported_by_helper():
    assert any("every row has few episodes (100)" in text for text in warned(GOOD, n=100))
    few = Evaluation({"collected": table(GOOD)})
    more = Evaluation({"collected": table({"every-k": {"success": 1, "usage": 1}}, n=50)})
    texts = Evaluation.merge(few, more).warnings
    assert any("every-k have few episodes (50)" in text for text in texts)
    assert not any("every row" in text for text in texts)
    rest = Evaluation({"collected": table({"dp@1": GOOD["dp@1"]}, n=100)})
    texts = Evaluation.merge(more, rest).warnings
    assert any("every row has few episodes (50 to 100)" in text for text in texts)


def test_missing_anchors():
    assert any("no result of always asking, so" in text for text in warned({"never": GOOD["never"]}))


@pytest.mark.parametrize("scale", [0.001, 1.0, 1000.0])
def test_a_comparison_at_equal_usage_does_not_depend_on_the_cost_unit(scale):
    rows = {key: {**row, "usage": np.asarray(row["usage"]) * scale} for key, row in GOOD.items()}
    for usage in (2.04, 4.4):
        rows[f"random@{usage}"] = {"success": flips(0.5), "usage": usage * scale}
    rows["near@2"] = {"success": flips(0.6), "usage": 2 * scale}
    rows["far@4"] = {"success": flips(0.6), "usage": 4 * scale}
    evaluation = Evaluation({"collected": table(rows)})
    near, far = (evaluation.at_equal_usage(*point) for point in (("near@2",), ("far@4",)))
    assert near.direct
    assert not far.direct
    assert near.distance == pytest.approx(0.04 * scale)


def test_below_the_coin_line():
    bad = GOOD | {"lm@4": {"success": flips(0.4), "usage": 4, "unseen": np.nan}}
    assert any("lm@4: below the coin line" in text for text in warned(bad))


def step(t, action, invalid=False):
    return Transition(t, "", None, "s", None, None, action, "", float(action), 0.0, False, False, invalid)


def episode(pattern, invalid=(), **more):
    steps = tuple(step(t, int(a), t in invalid) for t, a in enumerate(pattern))
    options = {"error": None, "metrics": {}} | more
    return Episode(0, 1, "t", "pnp", None, True, (float(sum(map(int, pattern))),), steps, **options)


def test_measures_of_an_episode():
    values = measure(episode("0110010", invalid=(6,), metrics={"unseen": 2.0, "spl": 0.5})).values
    assert values["toggles"] == 1
    assert values["switches"] == 4
    assert values["helped"] == 3
    assert values["usage"] == values["usage_1"] == 3
    assert values["invalid"] == values["invalid_after_help"] == 1
    assert (values["unseen"], values["spl"], values["error"]) == (2.0, 0.5, 0.0)


def test_invalid_after_help_looks_back_three_steps_and_not_at_the_helper_itself():
    assert measure(episode("1000", invalid=(3,))).values["invalid_after_help"] == 1
    assert measure(episode("10000", invalid=(4,))).values["invalid_after_help"] == 0
    assert measure(episode("1", invalid=(0,))).values["invalid_after_help"] == 0
    assert measure(episode("000", invalid=(2,))).values["invalid_after_help"] == 0


def test_a_truncated_episode_has_no_measures():
    values = measure(episode("01", error="no connection")).values
    assert values.pop("error") == 1.0
    assert np.isnan(list(values.values())).all()


def test_an_empty_episode_can_be_measured():
    assert measure(episode("")).values["toggles"] == 0


def test_without_a_gap_there_is_no_share_of_it():
    hopeless = GOOD | {"always": {"success": flips(0.3), "usage": 8, "unseen": np.nan}}
    found = Evaluation({"collected": table(hopeless)})
    assert any("its shares are not meaningful" in text for text in found.warnings)
    (item,) = found.comparisons
    assert item["share"]["value"] is None
    assert item["share"]["ci"] == [None, None]
    assert np.isnan(found.recovery("dp@1").share.value)
