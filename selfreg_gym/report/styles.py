"""Styles of helpers: one label, colour and marker per helper, equal in all plots and tables.

Helpers declare label, colour and marker (:class:`selfreg_gym.Helper`); what they leave open is chosen here by their id.
Figures are drawn in the colours of a light page and refer to CSS variables in the page, so a dark page has a lighter
set. The hues are those of Okabe and Ito (2008), which remain distinct in all common forms of colour blindness.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from selfreg_gym.helper import HelperDescription
from selfreg_gym.utils.printable import visible

__all__ = ["COLOURS", "INK", "INTERVENTION_COLOURS", "PALETTE", "Style", "styles_of", "to_css_variables"]

INK = {
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#5b6570", "#a2abb5"),
    "grid": ("#e3e6ea", "#2f353d"),
    "paper": ("#fdfdfe", "#15181c"),
    "soft": ("#f3f5f7", "#1e2329"),
    "help": ("#0071b1", "#62b5ee"),
    "alarm": ("#c33c00", "#ff8a50"),
}
"""Name: (light, dark) of text, secondary text, rules, page, panels, curves of p(s), and warnings."""

PALETTE = {
    "blue": ("#0072b2", "#56a9e4"),
    "orange": ("#d55e00", "#ff9350"),
    "pink": ("#b0488a", "#e08cc0"),
    "green": ("#009e73", "#45cfa5"),
    "yellow": ("#b58900", "#e8c34a"),
    "indigo": ("#4d4dc9", "#a3a3f5"),
    "teal": ("#4b8a9a", "#85c4d4"),
    "violet": ("#7a6bb0", "#b3a6e6"),
    "brown": ("#8a6d3b", "#cfae76"),
    "olive": ("#557a2b", "#a9cf7f"),
    "rust": ("#8c4f2b", "#d9a07f"),
    "sea": ("#2b7a6f", "#7fcfc3"),
    "plum": ("#7a2b5f", "#cf7fb4"),
    "forest": ("#2f7d32", "#7fc983"),
    "brick": ("#a33b3b", "#f08f8f"),
    "navy": ("#3d5a98", "#93aee6"),
    "moss": ("#6d6d00", "#c9c94f"),
    "clay": ("#a0522d", "#e0a080"),
    "cyan": ("#008b8b", "#5fd0d0"),
    "purple": ("#8b008b", "#d880d8"),
    "grey": ("#767d85", "#9aa3ad"),
    "black": ("#1b1f25", "#e8eaee"),
}
"""Name: (light, dark) of the colours that a helper may declare."""

AUTOMATIC = ("forest", "brick", "navy", "moss", "clay")
"""Colours of helpers that declare none."""

INTERVENTION_COLOURS = (
    ("#4477aa", "#7fb0e0"), ("#cc8844", "#f0b880"), ("#44886a", "#86cfae"), ("#994455", "#e09aa8"),
    ("#887a33", "#d5c77a"), ("#6a5a99", "#b7a8e6"),
)  # fmt: skip
"""(light, dark) of the interventions 1, 2, ... where usage is shown by intervention."""

COLOURS = INK | PALETTE | {f"intervention-{k}": pair for k, pair in enumerate(INTERVENTION_COLOURS, 1)}
"""All colours by the name of their CSS variable. Light colours are distinct, so each stands for one variable."""

MARKERS = tuple("ov^<>1234sp*hHDdPX8+x")
"""Matplotlib's codes of the markers that a helper may declare."""

AUTOMATIC_MARKERS = ("h", "X", "v", "^", "P")
"""Markers of helpers that declare none."""


@dataclass(frozen=True)
class Style:
    """How a helper is drawn.

    Attributes:
        label: its name in tables and legends.
        colour: a name in :data:`PALETTE`.
        marker: Matplotlib's code.
        declared: the description that the helper declares.
    """

    label: str
    colour: str
    marker: str
    declared: HelperDescription

    @property
    def light(self) -> str:
        """Its colour on a light page, in which figures are drawn."""
        return PALETTE[self.colour][0]

    @property
    def short(self) -> str:
        """The label without its part in brackets."""
        return self.label.partition(" (")[0]

    @property
    def rank(self) -> int:
        """Helpers of a low rank are listed first and drawn on top."""
        if self.declared.minor:
            return 5
        if self.declared.reference in ("lower", "upper"):
            return 4
        if self.declared.reference == "random":
            return 3
        return {"deployable": 0, "yardstick": 1}.get(self.declared.role, 2)

    @property
    def emphasised(self) -> bool:
        """Whether its rows are bold and its points are labelled with their budgets."""
        return self.declared.role != "baseline" and not self.declared.minor

    @property
    def has_hull(self) -> bool:
        """Whether the hull of its points is drawn."""
        return self.rank <= 3

    @property
    def traced(self) -> bool:
        """Whether its steps are shown in the figure of one episode."""
        return self.rank <= 2


def styles_of(declared: Mapping[str, HelperDescription]) -> dict[str, Style]:
    """The style of each helper, by id. Labels are distinct, and colours as long as there are enough of them."""
    labels = {helper: _label(helper, one.label) for helper, one in declared.items()}
    count = Counter(labels.values())
    colours: dict[str, str] = {}
    for helper, one in declared.items():  # a colour is taken once, except by the two ends of the usage axis
        if one.colour in PALETTE and (one.colour not in colours.values() or one.reference in ("lower", "upper")):
            colours[helper] = one.colour
    found = {}
    for helper, one in declared.items():
        number = zlib.crc32(helper.encode("utf-8", "surrogatepass"))
        start = number % len(AUTOMATIC)
        candidates = [*AUTOMATIC[start:], *AUTOMATIC[:start], *PALETTE]
        free = [colour for colour in candidates if colour not in colours.values()]
        colour = colours.setdefault(helper, (free or candidates)[0])
        label = labels[helper] if count[labels[helper]] == 1 else visible(helper, limit=40)
        marker = one.marker if one.marker in MARKERS else AUTOMATIC_MARKERS[number // 7 % len(AUTOMATIC_MARKERS)]
        found[helper] = Style(label, colour, marker, one)
    return found


def _label(helper: str, label: str) -> str:
    """The declared label; for one intervention of several (``"every-k:strong"``) with the intervention's name."""
    variant = helper.partition(":")[2]
    if not label:
        return visible(helper, limit=40)
    return visible(label, limit=40) + (f": {visible(variant, limit=30)}" if variant else "")


def to_css_variables(svg: str) -> str:
    """Replace the drawn colours by CSS variables."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
