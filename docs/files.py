"""Write docs/files.md, one line per source file from the first sentence of its docstring: ``make files``."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "files.md"
FOLDERS = ("selfreg_gym", "agents", "envs", "examples", "benchmarks")
HEAD = """# Source files

One line per file, from its docstring. Written by `make files`; a test compares it with the folders.
"""


def files() -> list[Path]:
    """Every module with content, relative to the repository, folder by folder; not through the links."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT)
            through_link = inside.parts[0] == "selfreg_gym" and inside.parts[1] in ("agents", "envs")
            if not through_link and "__pycache__" not in inside.parts and path.read_text(encoding="utf-8").strip():
                found.append(inside)
    return sorted(found, key=lambda path: (FOLDERS.index(path.parts[0]), path.parent.as_posix(), path.name))


def line_of(path: Path) -> str:
    """The first paragraph of a module's docstring, without reST marks."""
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    return re.sub(r":[a-z]+:`~?", "`", text.split("\n\n")[0].replace("\n", " ").replace("``", "`")).strip()


def page() -> str:
    """The page as Markdown."""
    lines, folder = [HEAD], None
    for path in files():
        if path.parent != folder:
            folder = path.parent
            lines.append(f"\n## {folder}/\n")
        lines.append(f"- `{path.name}` {line_of(path)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
