"""The documentation is true: its code runs, its links lead somewhere, its site builds without network."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from selfreg_gym import InterventionVectorEnv, collect, registry
from selfreg_gym.errors import SelfRegError

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")])
PYTHON = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
NOT_HERE = ("not run: needs ", "run by tests/")
HEADINGS = ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End")
PLUGIN = ("# agents/", "# envs/")  # files of CONTRIBUTING, and the checks after them, are run by test_readme.py


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def runnable(page: Path) -> list[str]:
    """The Python blocks of a page that this test runs, in order."""
    return [match["code"] for match in PYTHON.finditer(page.read_text(encoding="utf-8")) if not match["mark"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the run of the demo has collected a few episodes."""
    root = tmp_path_factory.mktemp("pages")
    (root / "runs" / "demo").mkdir(parents=True)
    env = InterventionVectorEnv(8, "selfreg/Coin-v0", lambda _: "heads", ["expert"], autoreset_mode="Disabled")
    collect(env, store=root / "runs/demo/rollouts.sqlite", tasks=range(4), episodes=22, seed=0, progress=False)
    return root


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CONTRIBUTING.md" and runnable(page)], ids=name_of
)
def test_python_blocks_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, one after the other, as a reader would paste them into one session."""
    monkeypatch.chdir(folder)
    namespace: dict[str, Any] = {}
    for text in re.findall(r"^>>> (from .* import .*|import .*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        exec(text, namespace)
    for code in runnable(page):
        exec(compile(code, name_of(page), "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")], ids=name_of)
def test_examples_print_what_they_say(page: Path) -> None:
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 8
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for match in PYTHON.finditer(page.read_text(encoding="utf-8")):
        assert not match["mark"] or match["mark"].startswith(NOT_HERE), match["mark"]
        ast.parse(match["code"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        generated = target.startswith("api/")
        assert generated or (page.parent / target).exists(), target


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", REPOSITORY / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_class_of_tasks_has_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (REPOSITORY / "docs" / "tasks").glob("*.md"))
    shown = set(re.findall(r"<!-- class of (\S+) -->", pages))
    own = [entry for entry in registry.describe("envs") if entry.origin == "selfreg_gym"]
    known = {entry.attribute for entry in own if entry.name in shown}
    assert {entry.attribute for entry in own} == known


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs" / "tasks").glob("*.md")), ids=name_of)
def test_transcripts_are_those_of_the_tasks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.name == "index.md" or "<!-- transcript of " in text, "a page of a task has a transcript"
    try:
        assert _script("transcripts").rewritten(text) == text, "run `make transcripts`"
    except SelfRegError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))


def test_headings_of_a_task_have_a_line_of_their_own() -> None:
    """In Markdown, a heading is its whole line."""
    own = {entry.attribute: entry.name for entry in registry.describe("envs") if entry.origin == "selfreg_gym"}
    for name in own.values():
        headings = re.findall(r"^## (.*)$", inspect.getdoc(registry.load("envs", name)) or "", re.MULTILINE)
        assert set(HEADINGS) <= set(headings), name


def test_every_source_file_has_its_line() -> None:
    script = _script("files")
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run `make files`"
    for path in script.files():
        assert script.line_of(path), f"{path} needs a docstring whose first sentence says what it is"


def test_docs_name_the_stages() -> None:
    from selfreg_gym.pipeline import STAGES

    text = (REPOSITORY / "docs" / "run_directory.md").read_text(encoding="utf-8")
    for stage in STAGES:
        for output in stage.outputs:
            assert f"`{output}" in text, f"docs/run_directory.md says nothing of {output}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    result = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return out


def test_the_site_is_complete_and_searchable(site: Path) -> None:
    import selfreg_gym

    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    reference = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    for page in (REPOSITORY / "docs" / "tasks").glob("*.md"):
        text = (site / "tasks" / f"{page.stem}.html").read_text(encoding="utf-8")
        for name in re.findall(r"<!-- class of (\S+) -->", page.read_text(encoding="utf-8")):
            assert name.partition("/")[2] in index
            for heading in HEADINGS:
                assert heading in text, f"the docstring of {name} lacks the heading {heading}"
    for name in set(selfreg_gym.__all__) - {"errors", "testing"}:
        assert f'id="selfreg_gym.{name}"' in reference or f'.{name}"' in reference, f"{name} is not in the reference"
    assert "<math" in (site / "maths.html").read_text(encoding="utf-8")


def test_the_site_fetches_nothing(site: Path) -> None:
    for path in site.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", path.read_text(encoding="utf-8")
        )
        assert not fetched, (path.name, fetched)
