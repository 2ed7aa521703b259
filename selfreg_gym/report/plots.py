"""The plots: each a function that returns a matplotlib figure, and :func:`export`, which makes SVG and PNG of it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.report.material import Material
from selfreg_gym.report.palette import ASKED, INK, style_of, to_css
from selfreg_gym.utils.printable import html, shorten, visible

__all__ = ["export", "frontier_figure", "reliability_figure", "trace_figure", "usage_figure"]

INK_, MUTED, GRID, HELP, ALARM = (INK[name][0] for name in ("ink", "muted", "grid", "help", "alarm"))
PAPER = INK["paper"][0]

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK_,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK_,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK_,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.usetex": False,
    "svg.fonttype": "path",  # the same shapes everywhere, whatever fonts the reader has
    "svg.hashsalt": "selfreg_gym",  # the same file for the same numbers
}


def _figure(*args: Any, **kwargs: Any) -> Any:
    """``plt.subplots`` without pyplot's global state."""
    import logging

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a missing font is no news
    with mpl.rc_context(_RC):
        rows, columns = args or (1, 1)
        figure = Figure(figsize=kwargs.pop("figsize"), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def export(figure: Any, png: Path, *, title: str) -> str:
    """Write ``png`` and return the figure as inline SVG whose colours are the page's CSS variables.

    Args:
        figure: from one of the functions here.
        png: where the PNG goes (its folder is made).
        title: read aloud in place of the picture.
    """
    import warnings

    import matplotlib as mpl

    png.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in another script is drawn as boxes
        figure.savefig(png, dpi=160)
        figure.patch.set_alpha(0.0)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    # Ids must be unique in the page: several figures each have a "figure_1".
    prefix = re.sub(r"\W+", "-", png.stem)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    return to_css(svg.replace("<svg ", f'<svg role="img" aria-label="{html(title, limit=200)}" ', 1))


def _label(text: str, limit: int = 32) -> str:
    """A name for a plot: every character has a glyph, and it is not too long for its place."""
    return shorten(visible(text, limit=4 * limit), limit)


# -- success against usage --------------------------------------------------------------------------------------------


def frontier_figure(material: Material) -> Any:
    """Success against usage, one panel per split: points with intervals, hulls, the anchors and the coin line."""
    import matplotlib as mpl
    from matplotlib.ticker import PercentFormatter

    evaluation, splits = material.evaluation, material.splits
    width = 3.6 * max(2, len(splits)) + 0.5
    figure, axes = _figure(1, len(splits), figsize=(width, 4.1), sharey=True)
    shown: dict[str, Any] = {}
    with mpl.rc_context(_RC):
        for axis, split in zip(axes[0], splits, strict=True):
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            rows = [row for row in material.rows(split) if row["usage"] is not None]
            _coin_line(axis, rows)
            helpers = sorted(evaluation.helpers(split), key=lambda h: style_of(h).order)
            for helper in helpers:
                points = [row for row in rows if row["helper"] == helper]
                handle = _helper_points(axis, helper, points, material, split)
                shown.setdefault(helper, handle)
            axis.set_title(_label(material.title(split), 36))
            axis.set_xlabel(f"usage U ({material.unit} per episode)")
        axes[0, 0].set_ylabel("success rate SR")
        order = sorted(shown.keys() - {"never", "always"}, key=lambda h: -style_of(h).order)
        handles = [shown[helper] for helper in order]
        labels = [_label(style_of(helper).label) for helper in order]
        _legend(figure, handles, labels)
    return figure


def _legend(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend above the panels, in as many columns as fit; the figure grows by its height."""
    renderer = figure.canvas.get_renderer()
    for columns in range(max(1, min(len(labels), 6)), 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=columns, handletextpad=0.5)
        size = legend.get_window_extent(renderer)
        if size.width <= 0.98 * figure.bbox.width or columns == 1:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + size.height / figure.dpi)


def _coin_line(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """The two anchors, named, and the line between them."""
    anchors = {row["helper"]: (row["usage"], row["success_rate"]) for row in rows}
    if not {"never", "always"} <= set(anchors):
        return
    (x0, y0), (x1, y1) = anchors["never"], anchors["always"]
    axis.plot([x0, x1], [y0, y1], color=MUTED, lw=1, ls=(0, (1, 2)), zorder=1)
    axis.set_xlim(x0 - 0.04 * (x1 - x0), x1 + 0.06 * (x1 - x0))
    told = {"ha": "left", "va": "top", "textcoords": "offset points", "fontsize": 8}
    axis.annotate("never", (x0, y0), xytext=(7, 1), color=INK_, **told)
    axis.annotate("always", (x1, y1), xytext=(-7, 3), color=INK_, **(told | {"ha": "right", "va": "bottom"}))
    middle = (x0 + 0.66 * (x1 - x0), y0 + 0.66 * (y1 - y0))
    axis.annotate("one coin per episode", middle, xytext=(4, -5), color=MUTED, **(told | {"ha": "left"}))


def _helper_points(axis: Any, helper: str, rows: Sequence[Mapping[str, Any]], material: Material, split: str) -> Any:
    """Draw one helper; return its handle for the legend."""
    from matplotlib.patheffects import withStroke

    style = style_of(helper)
    u, s = np.array([r["usage"] for r in rows]), np.array([r["success_rate"] for r in rows])
    main = style.order >= 6
    for row in rows if style.order >= 5 else ():  # intervals of all baselines would hide the others
        (x0, x1), (y0, y1) = row["usage_ci"], row["success_rate_ci"]
        bar = {"color": style.light, "lw": 1, "alpha": 0.55, "zorder": 2}
        if None not in (x0, x1, y0, y1):
            axis.plot([x0, x1], [row["success_rate"]] * 2, **bar)
            axis.plot([row["usage"]] * 2, [y0, y1], **bar)
    for point, budgets in _budgets_at(rows).items() if style.main else ():
        axis.annotate(
            budgets,
            point,
            xytext=(4, -10) if style.deployable else (-4, 6),
            textcoords="offset points",
            ha="left" if style.deployable else "right",
            fontsize=7.5,
            color=style.light,
            path_effects=[withStroke(linewidth=2, foreground=PAPER)],  # readable where lines and markers meet
            zorder=20,
        )
    if main and len(rows) and {"never", "always"} <= set(material.evaluation.helpers(split)):
        x, y = material.evaluation.curve(helper, split=split).hull
        axis.plot(x, y, color=style.light, lw=1.4 if helper != "random" else 1, ls=style.line, alpha=0.75, zorder=2)
    (handle,) = axis.plot(
        u,
        s,
        style.marker,
        color=style.light,
        ms=9 if style.marker in "12" else 6.5 if main else 5,
        mew=1.4 if style.marker in "x12" else 0.8,
        mec=style.light if style.marker in "x12" else PAPER,
        zorder=3 + style.order,
    )
    return handle


def _budgets_at(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[float, float], str]:
    """The budgets to write beside each point of one helper: those of rows at the same point share one label."""
    found: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        if row["budget"] is not None:
            found.setdefault((row["usage"], row["success_rate"]), []).append(row["budget"])
    return {point: ", ".join(f"{budget:g}" for budget in sorted(budgets)) for point, budgets in found.items()}


# -- reliability ------------------------------------------------------------------------------------------------------


def reliability_figure(tables: Mapping[str, Mapping[str, Any]]) -> Any:
    """Predicted against observed success, one panel per model, with the mass of each bin below.

    Args:
        tables: model name -> calibration table (``mean``, ``rate``, ``count``).
    """
    import matplotlib as mpl

    n = len(tables)
    figure, axes = _figure(
        2, n, figsize=(3.4 * n + 0.4, 4.6), sharex=True, sharey="row", gridspec_kw={"height_ratios": [4, 1]}
    )
    with mpl.rc_context(_RC):
        for (top, bottom), (name, table) in zip(axes.T, tables.items(), strict=True):
            mean, rate, count = (np.asarray(table[key], dtype=float) for key in ("mean", "rate", "count"))
            error = 1.96 * np.sqrt(np.clip(rate * (1 - rate), 0, None) / np.maximum(count, 1))
            top.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (1, 2)))
            top.vlines(mean, np.clip(rate - error, 0, 1), np.clip(rate + error, 0, 1), color=HELP, lw=1, alpha=0.5)
            top.plot(mean, rate, "o-", color=HELP, ms=5, lw=1.2, mec=PAPER, mew=0.7)
            top.set_title(_label(name))
            top.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            bottom.vlines(mean, 0, count, color=HELP, lw=4, alpha=0.7)
            bottom.set(xlim=(-0.02, 1.02), ylim=(0, None))
            bottom.set_xlabel("predicted p(s)")
            bottom.grid(False)
        axes[0, 0].set_ylabel("observed success rate")
        axes[1, 0].set_ylabel("decisions")
    return figure


# -- traces -----------------------------------------------------------------------------------------------------------


def trace_figure(
    traces: Sequence[Mapping[str, Any]], *, longest: int, numbered: bool = False, unit: str = "cost units"
) -> Any:
    """One episode under several helpers: a square per step (filled: help), above it p(s) before the step.

    Args:
        traces: the records of one (task, seed), one per helper.
        longest: steps on the axis.
        numbered: write the number of the intervention that was asked into its square.
        unit: what usage is counted in.
    """
    import matplotlib as mpl
    from matplotlib.patches import FancyBboxPatch

    figure, axes = _figure(1, 1, figsize=(9.6, 0.95 * len(traces) + 0.75))
    axis = axes[0, 0]
    with mpl.rc_context(_RC):
        for i, trace in enumerate(traces):
            base = len(traces) - 1 - i
            style = style_of(trace["key"].partition("@")[0])
            for step in trace["steps"]:
                given = step["action"] > 0
                axis.add_patch(
                    FancyBboxPatch(
                        (step["t"] + 0.1, base),
                        0.8,
                        0.26,
                        boxstyle="round,pad=0,rounding_size=0.08",
                        mutation_aspect=0.4,
                        facecolor=style.light if given else "none",
                        edgecolor=ALARM if step["invalid"] else style.light if given else MUTED,
                        lw=1.4 if step["invalid"] else 0.8,
                    )
                )
                if numbered and given:
                    size = min(8.0, 130 / max(1, longest))  # of the font, so that a digit fits its square
                    place = {"ha": "center", "va": "center", "fontsize": size, "color": PAPER, "fontweight": "bold"}
                    axis.text(step["t"] + 0.5, base + 0.125, str(step["action"]), **place)
                if step["invalid"]:
                    axis.plot(step["t"] + 0.5, base + 0.13, "x", color=ALARM, ms=6, mew=1.6)
            known = [(step["t"] + 0.5, step["p"]) for step in trace["steps"] if step["p"] is not None]
            if known:
                t, p = np.array(known).T
                axis.plot(t, base + 0.36 + 0.42 * p, color=MUTED, lw=1)
                axis.plot(t, base + 0.36 + 0.42 * p, ".", color=MUTED, ms=3)
                axis.hlines([base + 0.36, base + 0.78], 0, longest, color=GRID, lw=0.6, zorder=0)
            end = "success" if trace["success"] else "failure"
            axis.text(
                max(len(trace["steps"]), 1) + 0.25,
                base + 0.13,
                f"{end}, {trace['usage']:.4g} {unit[:-1] if trace['usage'] == 1 else unit}",
                va="center",
                fontsize=8.5,
                color=INK_ if trace["success"] else ALARM,
            )
        labels = [_trace_label(trace) for trace in traces]
        axis.set(xlim=(0, 1.22 * longest), ylim=(-0.2, len(traces)))
        axis.set_yticks([len(traces) - 1 - i + 0.13 for i in range(len(traces))], labels)
        axis.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK_)
        axis.set_xlabel("step")
        axis.grid(False)
        axis.spines["left"].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _trace_label(trace: Mapping[str, Any]) -> str:
    helper, _, budget = trace["key"].partition("@")
    budget = budget.partition("#")[0]
    return _label(style_of(helper).short, 28) + (f", C = {budget}" if budget else "")


# -- usage by intervention --------------------------------------------------------------------------------------------


def usage_figure(material: Material) -> Any:
    """Cost units per episode of each intervention, stacked: one bar per helper and budget, one panel per split."""
    import matplotlib as mpl
    from matplotlib.patches import Patch

    names = material.interventions
    keys: dict[str, Mapping[str, Any]] = {}  # the same bars in every panel
    for split in material.splits:
        for row in material.rows(split):
            if any(material.by_intervention(row, "usage")):
                keys.setdefault(row["key"], row)
    n = max(1, len(keys))
    size = (3.4 * len(material.splits) + 2.2, 0.24 * n + 1.3)
    figure, axes = _figure(1, len(material.splits), figsize=size, sharey=True)
    with mpl.rc_context(_RC):
        for axis, split in zip(axes[0], material.splits, strict=True):
            rows = {row["key"]: row for row in material.rows(split)}
            for i, key in enumerate(keys):
                left = 0.0
                for k, usage in enumerate(material.by_intervention(rows[key], "usage") if key in rows else ()):
                    axis.barh(i, usage or 0.0, left=left, height=0.62, color=ASKED[k % len(ASKED)][0])
                    left += usage or 0.0
                budget = keys[key]["budget"]
                if budget is not None:
                    axis.plot([budget] * 2, [i - 0.42, i + 0.42], color=INK_, lw=1.4)
            axis.set_title(_label(material.title(split), 36))
            axis.set_xlabel("cost units per episode")
            axis.grid(False, axis="y")
            axis.set_ylim(-0.6, n - 0.4)
        labels = [_bar_label(row) for row in keys.values()]
        axes[0, 0].set_yticks(range(len(keys)), labels)
        for axis in axes[0]:
            axis.tick_params(axis="y", length=0, labelcolor=INK_)
        patches = [Patch(color=ASKED[k % len(ASKED)][0]) for k in range(len(names))]
        shown = [_label(name) for name in names]
        figure.legend(patches, shown, loc="outside upper left", ncols=max(1, min(5, len(names))), handletextpad=0.5)
    return figure


def _bar_label(row: Mapping[str, Any]) -> str:
    budget = "" if row["budget"] is None else f", C = {row['budget']:g}"
    return _label(style_of(row["helper"]).short, 28) + budget
