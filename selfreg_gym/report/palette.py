"""One colour per helper, the same in every plot and table, for light and dark pages and for the colour-blind.

Plots are drawn once, in the colours of a light page. In the page each colour is a CSS variable, so a dark page has its
own, lighter set. The hues are those of Okabe and Ito (2008), which people with any colour vision can tell apart;
helpers also differ in marker and line.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from selfreg_gym.utils.printable import visible

__all__ = ["ASKED", "INK", "Style", "css_variables", "style_of", "to_css"]


@dataclass(frozen=True)
class Style:
    """How a helper is drawn.

    Attributes:
        label: its name in tables and legends.
        light, dark: its colour on light and on dark pages.
        marker, line: of its points and of their hull (Matplotlib's codes).
        order: higher is drawn on top and listed first. From 5 on with intervals, from 6 on with a hull, from 8 on in
            bold, with its budgets written beside its points and with its traces.
        deployable: it may be used on new tasks: neither a baseline nor a policy whose table names the tasks.
    """

    label: str
    light: str
    dark: str
    marker: str
    line: str
    order: float
    deployable: bool = False

    @property
    def main(self) -> bool:
        """Whether the helper is among those that the report is about."""
        return self.order >= 8

    @property
    def short(self) -> str:
        """The label without what stands in brackets."""
        return self.label.partition(" (")[0]


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
    "lm": Style("LM helper", "#0072b2", "#56a9e4", "o", "-", 9, True),
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
    "ppo": Style("PPO on features", "#557a2b", "#a9cf7f", "<", ":", 4),
    "dqn": Style("DQN on features", "#8c4f2b", "#d9a07f", ">", ":", 4),
    "maskable-ppo": Style("maskable PPO", "#2b7a6f", "#7fcfc3", "p", ":", 4),
    "recurrent-ppo": Style("recurrent PPO", "#7a2b5f", "#cf7fb4", "*", ":", 4),
    "endpoint": Style("endpoint helper", "#4d4dc9", "#a3a3f5", "d", "-", 8.8, True),
}
_SPARE = (
    ("#2f7d32", "#7fc983"), ("#a33b3b", "#f08f8f"), ("#3d5a98", "#93aee6"), ("#6d6d00", "#c9c94f"),
    ("#a0522d", "#e0a080"), ("#008b8b", "#5fd0d0"), ("#8b008b", "#d880d8"),
)  # fmt: skip
_MARKERS = ("h", "X", "v", "^", "P")

ASKED = (
    ("#4477aa", "#7fb0e0"), ("#cc8844", "#f0b880"), ("#44886a", "#86cfae"), ("#994455", "#e09aa8"),
    ("#887a33", "#d5c77a"), ("#6a5a99", "#b7a8e6"),
)  # fmt: skip
"""Colours (light, dark) of the interventions 1, 2, ... where usage is shown by intervention."""


def style_of(helper: str) -> Style:
    """The style of a helper id.

    A helper without a style of its own (of another distribution, or a new file) is shown as a main helper: by its name,
    in bold, with intervals, hull and traces. Its colour and marker are chosen by its name.
    """
    if helper in _KNOWN:
        return _KNOWN[helper]
    number = zlib.crc32(helper.encode("utf-8", "surrogatepass"))
    light, dark = _SPARE[number % len(_SPARE)]
    base, _, variant = helper.partition(":")
    if base in _KNOWN:  # one intervention of several: "every-k:strong"
        known = _KNOWN[base]
        label = f"{known.label}: {visible(variant, limit=30)}"
        return replace(known, label=label, light=light, dark=dark, order=known.order - 0.1)
    return Style(visible(helper, limit=40), light, dark, _MARKERS[number // 7 % len(_MARKERS)], "-", 8.5, True)


def _pairs() -> dict[str, tuple[str, str, str]]:
    """Light colour -> (CSS name, light, dark). Light colours are distinct, so a drawn colour says what it is."""
    named = [(name, *colours) for name, colours in INK.items()]
    named += [(f"h-{name}", style.light, style.dark) for name, style in _KNOWN.items()]
    named += [(f"s-{i}", *colours) for i, colours in enumerate(_SPARE)]
    named += [(f"i-{i}", *colours) for i, colours in enumerate(ASKED)]
    return {light: (name, light, dark) for name, light, dark in named}


def css_variables(dark: bool) -> str:
    """The declarations for ``:root``."""
    return " ".join(f"--{name}: {night if dark else day};" for name, day, night in _pairs().values())


def to_css(svg: str) -> str:
    """Replace every drawn colour of the palette by its variable."""
    for light, (name, _, _) in _pairs().items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
