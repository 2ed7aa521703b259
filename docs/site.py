"""Hooks of the documentation site: text from docstrings, and formulas as MathML, without network."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import selfreg_gym
from selfreg_gym import registry

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "Environments and playing": (
        "intervention_env",
        "playing",
        "spaces",
        "types",
        "wrappers",
        "tasks",
        "helper",
        "adapters",
    ),
    "Data and models": ("collection", "store", "prm", "transitions", "averagers", "labels", "inputs", "fitted"),
    "Solving and comparing": (
        "solver",
        "off_policy",
        "forks",
        "calibration",
        "evaluation",
        "report",
        "agents",
        "experiments",
    ),
    "Errors and contract checks": ("errors", "testing"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages: the API reference by group."""
    for name, page in reference().items():
        files.append(File.generated(config, name, content=page))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Insert sections of CONTRIBUTING.md and docstrings of tasks; write links to files outside the site as text."""
    markdown = re.sub(r"<!-- class of (\S+) -->", _docstring, markdown)
    markdown = re.sub(r"<!-- section of CONTRIBUTING.md: (.+?) -->", _section, markdown)
    return re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!images)[^)]*\.(?:py|toml)\)", r"`\1`", markdown)


def _section(match: re.Match[str]) -> str:
    """The text below a heading of CONTRIBUTING.md, with links relative to docs/how_to."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    body = text.split(f"\n## {match[1]}\n")[1].split("\n## ")[0]
    return re.sub(r"\]\(docs/", "](../", body)


def _docstring(match: re.Match[str]) -> str:
    """The docstring of the class of a task."""
    return (inspect.getdoc(registry.load("envs", match[1])) or "").replace("``", "`")


def on_page_content(html: str, **_: Any) -> str:
    """Render formulas as MathML, and drop the roles of reStructuredText in docstrings."""
    html = re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', _formula, html, flags=re.DOTALL)
    return re.sub(r":(?:class|func|mod|meth|attr|data|exc):(<code>)~?", r"\1", html)


def _formula(match: re.Match[str]) -> str:
    from html import unescape

    text = unescape(match[2]).strip()
    display = "block" if match[1] == "div" else "inline"
    return convert(
        text.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]"), display=display
    )


def reference() -> dict[str, str]:
    """``{page: Markdown}`` of the public names, in the groups of ``GROUPS``."""
    tree = ast.parse(Path(selfreg_gym.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = [
        (node.module, alias.name) for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    pages = {}
    for title, packages in GROUPS.items():
        own = [
            f"{module or name}" if module is None else f"{module}.{name}"
            for module, name in names
            if (module or name).split(".")[0] in packages
        ]
        slug = title.lower().replace(" ", "_")
        pages[f"api/{slug}.md"] = (
            f"# {title}\n\n" + "\n\n".join(f"::: selfreg_gym.{name}" for name in sorted(own)) + "\n"
        )
    return pages
