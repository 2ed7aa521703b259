"""The figures of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from selfreg_gym.report.data import ReportData
from selfreg_gym.report.styles import INK, INTERVENTION_COLOURS, Style
from selfreg_gym.report.svg import figure, style
from selfreg_gym.utils.printable import shorten, visible

__all__ = ["NARROW", "reliability", "success_and_usage", "traces", "usage_by_intervention"]

_INK, _MUTED, _GRID, _HELP, _ALARM, _PAPER = (
    INK[name][0] for name in ("ink", "muted", "grid", "help", "alarm", "paper")
)
_DOTTED = (0, (1, 2))
CLOSE = 0.2
"""Share of the usage of always below which the points at all budgets are shown enlarged."""
NARROW = 40
"""Steps of the longest episode above which the squares of :func:`traces` are too narrow for a number."""


def _label(text: str, limit: int = 32) -> str:
    """A text for a plot: characters without a glyph are escaped, and its middle is left out if it is long."""
    return shorten(visible(text, limit=4 * limit), limit)


def _at_budget(helper: Style, budget: float | None) -> str:
    return _label(helper.short, 28) + ("" if budget is None else f", C = {budget:g}")


def success_and_usage(data: ReportData) -> Any:
    """Success against usage, one panel per split: points with intervals, hulls, and the line from never to always.

    If all budgets are far below the usage of always, as in long episodes, a second row of panels shows them enlarged.
    """
    splits, limit = data.splits, _close_up(data)
    rows = 1 if limit is None else 2
    size = (3.6 * max(2, len(splits)) + 0.5, 4.1 if limit is None else 7.4)
    drawn, axes = figure(rows, len(splits), size=size, sharey="row")
    handles: dict[str, Any] = {}
    with style():
        for row, panels in enumerate(axes):
            for axis, split in zip(panels, splits, strict=True):
                axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
                _coin_line(axis, data.end(split, "lower"), data.end(split, "upper"))
                for helper in reversed(data.helpers(split)):
                    handles.setdefault(helper, _points(axis, data, split, helper, named=row == rows - 1))
                axis.set_title("" if row else _label(data.title(split), 36))
                axis.set_xlabel(f"usage U ({data.unit} per episode)" + (", enlarged" if row else ""))
                if row and limit is not None:
                    axis.set(xlim=(-0.04 * limit, limit), ylim=_success_up_to(data, limit))
            panels[0].set_ylabel("success rate SR")
        named = dict.fromkeys(helper for split in splits for helper in data.compared(split))
        order = sorted(named, key=lambda helper: data.style(helper).rank)
        _legend(drawn, [handles[helper] for helper in order], [_label(data.style(helper).label) for helper in order])
    return drawn


def _close_up(data: ReportData) -> float | None:
    """The largest usage of the enlarged panels; None if the points at budgets are not close together."""
    used = [row["usage"] for split in data.splits for row in data.rows(split) if row["budget"] is not None]
    ends = [row["usage"] for split in data.splits if (row := data.end(split, "upper")) is not None]
    largest, end = (max((usage for usage in found if usage), default=0.0) for found in (used, ends))
    return 1.3 * largest if 0 < largest < CLOSE * end else None


def _success_up_to(data: ReportData, limit: float) -> tuple[float, float]:
    """The range of success of the points with a usage up to ``limit`` and their intervals, with a margin."""
    rows = [row for split in data.splits for row in data.rows(split)]
    near = [row for row in rows if row["usage"] is not None and row["usage"] <= limit]
    ends = [end for row in near for end in (row["success_rate"], *row["success_rate_ci"]) if end is not None]
    low, high = min(ends), max(ends)
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin


def _legend(drawn: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend above the panels, in as many columns as fit; the figure grows by its height."""
    renderer = drawn.canvas.get_renderer()
    for columns in range(max(1, min(len(labels), 6)), 0, -1):
        legend = drawn.legend(handles, labels, loc="outside upper left", ncols=columns, handletextpad=0.5)
        size = legend.get_window_extent(renderer)
        if size.width <= 0.98 * drawn.bbox.width or columns == 1:
            break
        legend.remove()
    width, height = drawn.get_size_inches()
    drawn.set_size_inches(width, height + size.height / drawn.dpi)


def _coin_line(axis: Any, lower: Mapping[str, Any] | None, upper: Mapping[str, Any] | None) -> None:
    """The two ends of the usage axis, named, and the line between them."""
    if lower is None or upper is None or None in (lower["usage"], upper["usage"]):
        return
    (x0, y0), (x1, y1) = ((end["usage"], end["success_rate"]) for end in (lower, upper))
    axis.plot([x0, x1], [y0, y1], color=_MUTED, lw=1, ls=_DOTTED, zorder=1)
    axis.set_xlim(x0 - 0.04 * (x1 - x0), x1 + 0.06 * (x1 - x0))
    text = {"textcoords": "offset points", "fontsize": 8}
    axis.annotate("never", (x0, y0), xytext=(7, 1), color=_INK, ha="left", va="top", **text)
    axis.annotate("always", (x1, y1), xytext=(-7, 3), color=_INK, ha="right", va="bottom", **text)
    middle = (x0 + 0.66 * (x1 - x0), y0 + 0.66 * (y1 - y0))
    axis.annotate("coin flip per episode", middle, xytext=(4, -5), color=_MUTED, ha="left", va="top", **text)


def _points(axis: Any, data: ReportData, split: str, helper: str, *, named: bool) -> Any:
    """Draw one helper, with its budgets if ``named``; return its handle for the legend."""
    rows = [row for row in data.rows(split) if row["helper"] == helper and row["usage"] is not None]
    look = data.style(helper)
    for row in () if look.declared.minor else rows:  # the intervals of all helpers would hide each other
        (x0, x1), (y0, y1) = row["usage_ci"], row["success_rate_ci"]
        if None not in (x0, x1, y0, y1):
            bar = {"color": look.light, "lw": 1, "alpha": 0.55, "zorder": 2}
            axis.plot([x0, x1], [row["success_rate"]] * 2, **bar)
            axis.plot([row["usage"]] * 2, [y0, y1], **bar)
    deployable = look.declared.role == "deployable"
    for point, budgets in _budgets_at(rows).items() if named and look.emphasised else ():
        axis.annotate(
            budgets,
            point,
            xytext=(4, -10) if deployable else (-4, 6),
            textcoords="offset points",
            ha="left" if deployable else "right",
            fontsize=7.5,
            color=look.light,
            path_effects=[withStroke(linewidth=2, foreground=_PAPER)],  # legible where lines and markers meet
            zorder=20,
        )
    random = look.declared.reference == "random"
    if look.has_hull and rows and data.has_gap(split):
        x, y = data.evaluation.curve(helper, split=split).hull
        line = {"lw": 1.0, "ls": "--"} if random else {"lw": 1.4, "ls": "-"}
        axis.plot(x, y, color=look.light, alpha=0.75, zorder=2, **line)
    strokes = look.marker in list("x+1234|_")  # markers without a face
    (handle,) = axis.plot(
        [row["usage"] for row in rows],
        [row["success_rate"] for row in rows],
        ls="",
        marker=look.marker,
        color=look.light,
        ms=9 if look.marker in list("1234") else 6.5 if look.has_hull else 5,
        mew=1.4 if strokes else 0.8,
        mec=look.light if strokes else _PAPER,
        zorder=9 - look.rank,
    )
    return handle


def _budgets_at(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[float, float], str]:
    """The budgets at each point of one helper: rows at the same point share one label."""
    found: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        if row["budget"] is not None:
            found.setdefault((row["usage"], row["success_rate"]), []).append(row["budget"])
    return {point: ", ".join(f"{budget:g}" for budget in sorted(budgets)) for point, budgets in found.items()}


def reliability(models: Mapping[str, Mapping[str, Any]]) -> Any:
    """Observed against predicted success, one panel per model, with the number of decisions in each bin below.

    Args:
        models: reliability table of each model (``mean``, ``rate`` and ``count`` by bin).
    """
    n = len(models)
    ratios = {"height_ratios": [4, 1]}
    drawn, axes = figure(2, n, size=(3.4 * n + 0.4, 4.6), sharex=True, sharey="row", gridspec_kw=ratios)
    with style():
        for (top, bottom), (name, table) in zip(axes.T, models.items(), strict=True):
            mean, rate, count = (np.asarray(table[key], dtype=float) for key in ("mean", "rate", "count"))
            error = 1.96 * np.sqrt(np.clip(rate * (1 - rate), 0, None) / np.maximum(count, 1))
            top.plot([0, 1], [0, 1], color=_MUTED, lw=1, ls=_DOTTED)
            top.vlines(mean, np.clip(rate - error, 0, 1), np.clip(rate + error, 0, 1), color=_HELP, lw=1, alpha=0.5)
            top.plot(mean, rate, "o-", color=_HELP, ms=5, lw=1.2, mec=_PAPER, mew=0.7)
            top.set_title(_label(name))
            top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            bottom.vlines(mean, 0, count, color=_HELP, lw=4, alpha=0.7)
            bottom.set(xlim=(-0.02, 1.02), ylim=(0, None))
            bottom.set_xlabel("predicted p(s)")
            bottom.grid(False)
        axes[0, 0].set_ylabel("observed success rate")
        axes[1, 0].set_ylabel("decisions")
    return drawn


def traces(records: Sequence[Mapping[str, Any]], data: ReportData, *, longest: int) -> Any:
    """One episode under several helpers: a square per step, filled with help; above it, p(s) before the step.

    With several interventions, a filled square has the number of the intervention; of long episodes, whose squares are
    too narrow for a number, the k-th of K interventions fills the square to k/K.

    Args:
        records: the traces of one task and seed, one per helper.
        data: styles, interventions and the unit of usage.
        longest: steps on the axis.
    """
    drawn, axes = figure(1, 1, size=(9.6, 0.95 * len(records) + 0.75))
    axis = axes[0, 0]
    bases = range(len(records) - 1, -1, -1)  # the first record is on top
    labels = []
    with style():
        for base, record in zip(bases, records, strict=True):
            key = data.identity(record)
            look = data.style(key.name)
            labels.append(_at_budget(look, key.budget))
            for step in record["steps"]:
                _square(axis, step, base, look.light, longest, len(data.interventions))
            known = [(step["t"] + 0.5, step["p"]) for step in record["steps"] if step["p"] is not None]
            if known:
                t, p = np.array(known).T
                axis.plot(t, base + 0.36 + 0.42 * p, ".-", color=_MUTED, lw=1, ms=3)
                axis.hlines([base + 0.36, base + 0.78], 0, longest, color=_GRID, lw=0.6, zorder=0)
            unit = data.unit[:-1] if record["usage"] == 1 else data.unit
            axis.text(
                max(len(record["steps"]), 1) + 0.25,
                base + 0.13,
                f"{'success' if record['success'] else 'failure'}, {record['usage']:.4g} {unit}",
                va="center",
                fontsize=8.5,
                color=_INK if record["success"] else _ALARM,
            )
        axis.set(xlim=(0, 1.22 * longest), ylim=(-0.2, len(records)))
        axis.set_yticks([base + 0.13 for base in bases], labels)
        axis.tick_params(axis="y", length=0, labelsize=9, labelcolor=_INK)
        axis.set_xlabel("step")
        axis.grid(False)
        axis.spines["left"].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= longest])
    return drawn


def _square(axis: Any, step: Mapping[str, Any], base: float, colour: str, longest: int, interventions: int) -> None:
    """The square of one step of ``longest`` on the axis, with the number of the intervention if there are several.

    A cross marks an invalid action, a bar the end of an aborted episode.
    """
    aborted = bool(step.get("aborted"))
    helped = step["action"] > 0 and not aborted
    narrow = longest > NARROW
    partly = helped and narrow and step["action"] < interventions
    axis.add_patch(
        FancyBboxPatch(
            (step["t"] + 0.1, base),
            0.8,
            0.26,
            boxstyle="round,pad=0,rounding_size=0.08",
            mutation_aspect=0.4,
            facecolor=colour if helped and not partly else "none",
            edgecolor=_ALARM if step["invalid"] else colour if helped else _MUTED,
            lw=(0.8 if narrow else 1.4) if step["invalid"] else 0.5 if narrow else 0.8,
        )
    )
    if partly:
        height = 0.26 * step["action"] / interventions
        axis.add_patch(Rectangle((step["t"] + 0.1, base), 0.8, height, facecolor=colour, lw=0))
    elif interventions > 1 and helped and not narrow:
        size = min(8.0, 130 / max(1, longest))  # of the font, so that a digit fits the square
        text = {"ha": "center", "va": "center", "fontsize": size, "color": _PAPER, "fontweight": "bold"}
        axis.text(step["t"] + 0.5, base + 0.125, str(step["action"]), **text)
    if step["invalid"] or aborted:
        mark, colour = ("|", _MUTED) if aborted else ("x", _ALARM)
        axis.plot(step["t"] + 0.5, base + 0.13, mark, color=colour, ms=min(6.0, 300 / longest), mew=1.6)


def usage_by_intervention(data: ReportData) -> Any:
    """Cost units per episode of each intervention, stacked: one bar per helper and budget, one panel per split."""
    keys: dict[str, Mapping[str, Any]] = {}  # the same bars in every panel
    for row in (row for split in data.splits for row in reversed(data.rows(split))):
        if any(row["usage_by_intervention"]):
            keys.setdefault(row["key"], row)
    n = max(1, len(keys))
    size = (3.4 * len(data.splits) + 2.2, 0.24 * n + 1.3)
    drawn, axes = figure(1, len(data.splits), size=size, sharey=True)
    colours = [INTERVENTION_COLOURS[k % len(INTERVENTION_COLOURS)][0] for k in range(len(data.interventions))]
    with style():
        for axis, split in zip(axes[0], data.splits, strict=True):
            rows = {row["key"]: row for row in data.rows(split)}
            for i, key in enumerate(keys):
                left = 0.0
                used = rows[key]["usage_by_intervention"] if key in rows else []
                for colour, usage in zip(colours, used, strict=False):
                    axis.barh(i, usage or 0.0, left=left, height=0.62, color=colour)
                    left += usage or 0.0
                budget = keys[key]["budget"]
                if budget is not None:
                    axis.plot([budget] * 2, [i - 0.42, i + 0.42], color=_INK, lw=1.4)
            axis.set_title(_label(data.title(split), 36))
            axis.set_xlabel("cost units per episode")
            axis.grid(False, axis="y")
            axis.set_ylim(-0.6, n - 0.4)
            axis.tick_params(axis="y", length=0, labelcolor=_INK)
        labels = [_at_budget(data.style(row["helper"]), row["budget"]) for row in keys.values()]
        axes[0, 0].set_yticks(range(len(keys)), labels)
        patches = [Patch(color=colour) for colour in colours]
        names = [_label(name) for name in data.interventions]
        drawn.legend(patches, names, loc="outside upper left", ncols=max(1, min(5, len(names))), handletextpad=0.5)
    return drawn
