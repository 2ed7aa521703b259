"""The plots of a page: logarithmic axes have plain numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from selfreg_gym.experiments.findings import Plot
from selfreg_gym.experiments.page import _save
from selfreg_gym.report.svg import style


@pytest.mark.parametrize(
    ("measured", "expected"),
    [([146, 440, 1320], ["146", "440", "1320"]), (list(range(1, 100)), ["1", "10"])],
)
def test_logarithmic_axes_have_plain_numbers(tmp_path: Path, measured: list[int], expected: list[str]) -> None:
    with style():
        figure = Figure()
        axes = figure.subplots()
    axes.plot(measured, [float(x) for x in measured])
    axes.set(xscale="log", xlim=(0.9, 2000))
    _save(Plot("curve", "A curve.", figure), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 0
    labels = [label.get_text() for label in axes.get_xticklabels() if 0.9 <= label.get_position()[0] <= max(measured)]
    assert labels == expected
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
