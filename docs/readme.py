"""Renew the list of files in README.md from the first line of each file's docstring: ``make readme``."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("selfreg_gym", "agents", "envs", "examples", "benchmarks")
BEGIN, END = "<!-- files: written by `make readme` -->", "<!-- end of files -->"


def files() -> list[Path]:
    """Every module (relative to the repository) that says what it is, folder by folder; not through the links."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT)
            through_link = inside.parts[0] == "selfreg_gym" and inside.parts[1] in ("agents", "envs")
            if not through_link and "__pycache__" not in inside.parts and path.read_text(encoding="utf-8").strip():
                found.append(inside)
    return sorted(found, key=lambda path: (FOLDERS.index(path.parts[0]), path.parent.as_posix(), path.name))


def line_of(path: Path) -> str:
    """The first sentence of a module's docstring, without its reST marks."""
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    return re.sub(r":[a-z]+:`~?", "`", text.split("\n\n")[0].replace("\n", " ").replace("``", "`")).strip()


def section() -> str:
    """The list as Markdown."""
    lines, folder = [], None
    for path in files():
        if path.parent != folder:
            folder = path.parent
            lines.append(f"\n**{folder}/**\n")
        lines.append(f"- `{path.name}` {line_of(path)}")
    return "\n".join(lines).strip() + "\n"


def main() -> None:
    """Write the section into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        sys.exit(f"README.md must hold the lines {BEGIN!r} and {END!r}")
    before, rest = text.split(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n\n{section()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
