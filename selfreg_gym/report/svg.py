"""Matplotlib figures without global state, and their export to PNG and to inline SVG."""

from __future__ import annotations

import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from selfreg_gym.report.styles import INK, to_css_variables
from selfreg_gym.utils.printable import visible

__all__ = ["export", "figure", "style"]

_INK, _MUTED, _GRID, _PAPER = (INK[name][0] for name in ("ink", "muted", "grid", "paper"))
_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.facecolor": _PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.parse_math": False,  # a dollar sign in a name stays a dollar sign
    "text.usetex": False,
    "svg.fonttype": "path",  # the same shapes with any fonts
    "svg.hashsalt": "selfreg_gym",  # the same numbers give the same file
}

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # about fonts of the list that are missing


def style() -> Any:
    """The context in which figures are drawn."""
    return mpl.rc_context(_RC)


def figure(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> Any:
    """A figure of ``size`` (inches) and its axes ``(rows, columns)``, as ``plt.subplots`` without pyplot's state."""
    with style():
        made = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(made)
        return made, made.subplots(rows, columns, squeeze=False, **options)


def export(drawn: Figure, png: Path, *, title: str) -> Markup:
    """Write a PNG file, and return the figure as inline SVG whose colours are the CSS variables of the page.

    Args:
        drawn: the figure.
        png: the file; its folder is made.
        title: what a screen reader reads in place of the figure.
    """
    png.parent.mkdir(parents=True, exist_ok=True)
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # such characters are drawn as boxes
        drawn.savefig(png, dpi=160)
        drawn.patch.set_alpha(0.0)
        buffer = io.StringIO()
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
    prefix = re.sub(r"\W+", "-", png.stem)  # ids must be unique in the page, and each figure has a "figure_1"
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    label = escape(visible(title, limit=200))
    return Markup(to_css_variables(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)))
