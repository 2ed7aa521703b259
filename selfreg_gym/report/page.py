"""The frame of ``report.html``: one file, no scripts, nothing fetched, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfreg_gym.report.palette import css_variables, to_css
from selfreg_gym.utils.printable import html

__all__ = ["figure", "page", "section"]

_CSS = """
:root { color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) { :root { DARK } }
* { box-sizing: border-box; }
html { background: var(--paper); }
body { margin: 0 auto; padding: 3.5rem 1.5rem 6rem; max-width: 68rem; color: var(--ink);
  font: 16px/1.55 Inter, "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
  font-feature-settings: "tnum" 1; }
h1 { font-size: 1.05rem; font-weight: 600; letter-spacing: .01em; margin: 0; color: var(--muted); }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 4rem 0 .4rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 2rem 0 .3rem; }
p { max-width: 44rem; margin: .4rem 0 1rem; }
p.lead { font-size: 1.62rem; line-height: 1.36; letter-spacing: -.012em; max-width: 56rem; margin: .8rem 0 1rem;
  font-weight: 500; text-wrap: pretty; }
p.note, figcaption { color: var(--muted); font-size: .875rem; max-width: 48rem; }
.facts { color: var(--muted); font-size: .875rem; margin: 0; max-width: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: 1px; margin: 2rem 0 0;
  border: 1px solid var(--grid); border-radius: .6rem; overflow: hidden; }
.tiles div { box-shadow: 0 0 0 1px var(--grid); padding: .9rem 1.1rem 1rem; }
.tiles b { display: block; font-size: 1.7rem; line-height: 1.2; font-weight: 600; letter-spacing: -.02em; }
.tiles span { display: block; font-size: .85rem; line-height: 1.35; margin-top: .15rem; }
.tiles small { display: block; color: var(--muted); margin-top: .25rem; line-height: 1.35; }
figure { margin: 1.2rem 0 0; }
figure svg { display: block; width: 100%; height: auto; }
figure.half svg { max-width: 46rem; }
figcaption { margin-top: .4rem; }
.scroll { overflow-x: auto; margin: .8rem 0 1rem; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; min-width: 100%; }
table.narrow { min-width: 28rem; }
th, td { text-align: right; padding: .42rem .5rem; vertical-align: baseline; white-space: nowrap; }
th { white-space: normal; font-weight: 500; color: var(--muted); border-bottom: 1px solid var(--muted);
  vertical-align: bottom; }
td { border-bottom: 1px solid var(--grid); }
th.l, td.l { text-align: left; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
td small { color: var(--muted); font-size: .78rem; }
td b { font-weight: 600; font-size: 1rem; }
.sure { color: var(--ink); font-weight: 600; }
.dot { display: inline-block; width: .6em; height: .6em; border-radius: 50%; margin-right: .55em; }
.warn { border-left: 3px solid var(--alarm); padding: .1rem 0 .1rem 1rem; margin: 2rem 0 0; font-size: .9rem; }
.warn ul { margin: .3rem 0 .2rem; padding-left: 1.1rem; } .warn li { margin: .15rem 0; max-width: 56rem; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--muted); }
pre { background: var(--soft); padding: 1rem 1.2rem; border-radius: .5rem; overflow-x: auto; font-size: .78rem;
  line-height: 1.5; max-height: 40rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem; max-width: 52rem; }
dt { font-weight: 600; } dd { margin: 0; color: var(--muted); }
.miss { color: var(--alarm); font-weight: 600; font-size: inherit; }
abbr { text-decoration: none; cursor: help; }
@media print { body { padding: 0; max-width: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
@media (max-width: 40rem) { p.lead { font-size: 1.25rem; } body { padding-top: 1.5rem; }
  figure { overflow-x: auto; } figure svg { min-width: 44rem; }
  td { white-space: normal; } th:first-child, td:first-child { min-width: 6rem; position: sticky; left: 0;
    background: var(--paper); } }
"""


def page(*, title: str, body: str) -> str:
    """Wrap the body; colours of the palette anywhere in it become variables."""
    css = _CSS.replace("LIGHT", css_variables(dark=False)).replace("DARK", css_variables(dark=True))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html(title)}</title>\n<style>{css}</style>\n</head>\n<body>\n{to_css(body)}\n</body>\n</html>\n"
    )


def section(title: str, *parts: str, note: str = "") -> str:
    """A heading, what to know about it, and its parts; empty when there are no parts."""
    content = "\n".join(part for part in parts if part)
    if not content:
        return ""
    told = f'<p class="note">{note}</p>\n' if note else ""
    return f"<section>\n<h2>{html(title)}</h2>\n{told}{content}\n</section>"


def figure(drawn: Any, png: Path, *, title: str, caption: str = "", half: bool = False) -> str:
    """A figure as SVG in the page, and as a PNG file beside it."""
    from selfreg_gym.report.plots import export

    below = f"<figcaption>{html(caption)}</figcaption>" if caption else ""
    return f"<figure{' class=half' if half else ''}>{export(drawn, png, title=title)}{below}</figure>"
