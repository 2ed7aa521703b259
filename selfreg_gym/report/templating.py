"""The templates of ``report.html``. Every value is escaped, and characters without a glyph are made visible."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfreg_gym.report.styles import COLOURS
from selfreg_gym.utils.printable import visible

__all__ = ["macros", "render"]


_environment = Environment(
    loader=PackageLoader("selfreg_gym.report"),
    autoescape=True,
    finalize=lambda value: value if isinstance(value, Markup) else visible(value, keep="\n\t"),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)

macros: Any = _environment.get_template("macros.html.j2").module
"""The macros of ``templates/macros.html.j2`` as functions that return HTML (``Markup``)."""


def render(template: str, **values: Any) -> str:
    """Render a template of the folder ``templates``."""
    return _environment.get_template(template).render(colours=COLOURS, **values)
