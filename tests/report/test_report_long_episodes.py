"""The figure of one episode: numbers of interventions in wide squares, filled parts of narrow ones."""

from __future__ import annotations

from typing import Any

import pytest

from selfreg_gym.report import plots
from selfreg_gym.report.svg import figure


def drawn(action: int, *, longest: int, interventions: int) -> tuple[list[str], list[float]]:
    """The texts, and the heights of the filled patches, of the square of one step."""
    _, axes = figure(1, 1, size=(9.6, 2.0))
    axis: Any = axes[0, 0]
    step = {"t": 0, "action": action, "invalid": False, "p": None}
    plots._square(axis, step, 0.0, "#336699", longest, interventions)
    filled = [patch.get_height() for patch in axis.patches if patch.get_facecolor()[3] > 0]
    return [text.get_text() for text in axis.texts], filled


@pytest.mark.parametrize(
    ("action", "longest", "interventions", "texts", "share"),
    [
        (0, 100, 3, [], None),
        (1, 100, 1, [], 1.0),
        (1, 100, 3, [], 1 / 3),
        (2, 100, 3, [], 2 / 3),
        (3, 100, 3, [], 1.0),
        (2, 40, 3, ["2"], 1.0),
        (1, 40, 1, [], 1.0),
    ],
)
def test_the_intervention_of_a_step(
    action: int, longest: int, interventions: int, texts: list[str], share: float | None
) -> None:
    shown, filled = drawn(action, longest=longest, interventions=interventions)
    assert shown == texts
    assert filled == ([] if share is None else [pytest.approx(0.26 * share)])
