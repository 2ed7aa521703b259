"""The section of the report about the process reward model: reliability, and hard tasks."""

from __future__ import annotations

from pathlib import Path

from selfreg_gym.report import tables
from selfreg_gym.report.material import Material
from selfreg_gym.report.page import figure, section
from selfreg_gym.utils.printable import html

__all__ = ["prm_section"]


def prm_section(material: Material, plots: Path) -> str:
    """Reliability on held-out tasks; empty if it was not measured."""
    from selfreg_gym.report.plots import reliability_figure

    floor = material.floor
    model = material.prm.get("held_out")
    measured = {"Process reward model": model, "Bag of words (the floor)": floor}
    known = {name: table for name, table in measured.items() if table and table.get("mean")}
    if not known:
        return ""
    body = [
        [
            html(name),
            *(tables.number(table.get(k), 3) for k in ("auc", "ece", "brier", "base_rate")),
            f"{table['n']:,}",
        ]
        for name, table in known.items()
    ]
    return section(
        "Process reward model",
        figure(
            reliability_figure(known),
            plots / "reliability.png",
            title="Predicted against observed success",
            half=True,
        ),
        tables.html_table(["Model", "AUC", "ECE", "Brier", "base rate", "decisions"], body),
        _hard_tasks(material),
        note="p(s) is the probability that the actor succeeds from here without help, measured on held-out tasks. Bins "
        "of equal mass; bars are 95 % binomial intervals that take decisions as independent, so they are too narrow.",
    )


def _hard_tasks(material: Material) -> str:
    """Precision and recall of "hard task" at the thresholds that the helper prm-per-task was calibrated to."""
    from selfreg_gym.prm.hard_tasks import hard_tasks

    tasks = material.prm.get("held_out_tasks")
    if not tasks:
        return ""
    chosen = {
        f"prm-per-task at C = {found['budget']:g}": found.get("knob", max(found.get("knobs", [0.5])))
        for key, found in material.calibration.items()
        if key.partition("@")[0] == "prm-per-task" and found.get("budget") is not None
    }
    body = []
    for name, threshold in {"one half": 0.5, **chosen}.items():
        found = hard_tasks(tasks, threshold)
        body.append([
            html(name),
            tables.number(found["threshold"], 3),
            *(str(found[count]) for count in ("tasks", "hard", "flagged", "both")),
            tables.percent(found["precision"]),
            tables.percent(found["recall"]),
        ])  # fmt: skip
    rollouts = sum(tasks["rollouts"]) / len(tasks["rollouts"])
    return (
        "<h3>Hard tasks</h3>"
        + tables.html_table(
            ["Threshold", "x", "tasks", "hard", "flagged", "both", "precision", "recall"], body, narrow=True
        )
        + '<p class="note">Of the held-out tasks: hard if the actor alone succeeds in less than x of its rollouts '
        f"({rollouts:.1f} per task), flagged if p at reset is below x. A mixture counts with its higher threshold.</p>"
    )
