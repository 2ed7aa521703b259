"""One colour per helper, the same in every plot and table, for light and dark pages and for the colour-blind.

Plots are drawn once, in the colours of a light page. In the page each colour is a CSS variable, so a dark page has its
own, lighter set. The hues are those of Okabe and Ito (2008), which people with any colour vision can tell apart;
helpers also differ in marker and line.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INK", "Style", "css_variables", "style_of", "to_css"]


@dataclass(frozen=True)
class Style:
    """How a helper is drawn: its name on paper, colour on light and on dark pages, marker, line, order on top."""

    label: str
    light: str
    dark: str
    marker: str
    line: str
    order: int


INK = {
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#5b6570", "#a2abb5"),
    "grid": ("#e3e6ea", "#2f353d"),
    "paper": ("#fdfdfe", "#15181c"),
    "soft": ("#f3f5f7", "#1e2329"),
    "help": ("#0071b1", "#62b5ee"),
    "alarm": ("#c33c00", "#ff8a50"),
}
"""Name -> (light, dark): text, lesser text, rules, page, panels, help given, something went wrong."""

_KNOWN = {
    "lm": Style("LM helper", "#0072b2", "#56a9e4", "o", "-", 9),
    "dp": Style("DP policy (privileged)", "#d55e00", "#ff9350", "D", "-", 8),
    "prm-threshold": Style("PRM threshold", "#b0488a", "#e08cc0", "s", "-", 7),
    "random": Style("random help", "#767d85", "#9aa3ad", "x", "--", 6),
    "never": Style("never", "#1b1f25", "#e8eaee", "o", "", 5),
    "always": Style("always", "#1b1f26", "#e8eaef", "o", "", 5),
    "prm-per-task": Style("PRM, once per task", "#b58900", "#e8c34a", "v", ":", 4),
    "quantile": Style("PRM quantile", "#8a6d3b", "#cfae76", "^", ":", 4),
    "actor-confidence": Style("actor confidence", "#009e73", "#45cfa5", "P", ":", 4),
    "every-k": Style("every k-th step", "#4b8a9a", "#85c4d4", "1", ":", 3),
    "wait-n": Style("wait n steps", "#7a6bb0", "#b3a6e6", "2", ":", 3),
}
_SPARE = (("#2f7d32", "#7fc983"), ("#a33b3b", "#f08f8f"), ("#3d5a98", "#93aee6"), ("#6d6d00", "#c9c94f"))


def style_of(helper: str) -> Style:
    """The style of a helper id; helpers that are not known here share four spare colours, by name."""
    if helper in _KNOWN:
        return _KNOWN[helper]
    light, dark = _SPARE[sum(map(ord, helper)) % len(_SPARE)]
    return Style(helper, light, dark, "h", ":", 2)


def _pairs() -> dict[str, tuple[str, str, str]]:
    """Light colour -> (CSS name, light, dark). Light colours are distinct, so a drawn colour says what it is."""
    named = [(name, *colours) for name, colours in INK.items()]
    named += [(f"h-{name}", style.light, style.dark) for name, style in _KNOWN.items()]
    named += [(f"s-{i}", *colours) for i, colours in enumerate(_SPARE)]
    return {light: (name, light, dark) for name, light, dark in named}


def css_variables(dark: bool) -> str:
    """The declarations for ``:root``."""
    return " ".join(f"--{name}: {night if dark else day};" for name, day, night in _pairs().values())


def to_css(svg: str) -> str:
    """Replace every drawn colour of the palette by its variable."""
    for light, (name, _, _) in _pairs().items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
