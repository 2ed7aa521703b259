"""The distribution: what sdist and wheel hold, and that it installs beside another top-level ``agents``."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

FOLDERS = {"selfreg_gym": "selfreg_gym", "agents": "selfreg_gym.agents", "envs": "selfreg_gym.envs"}


def run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def packages_on_disk(repository: Path) -> set[str]:
    """Import names of all folders with an ``__init__.py``, the links left out."""
    found = set()
    for folder, name in FOLDERS.items():
        for init in (repository / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(repository / folder).parts
            if folder == "selfreg_gym" and parts and parts[0] in ("agents", "envs"):
                continue  # seen through the link; counted at its own place
            found.add(".".join((name, *parts)))
    return found


def test_package_list_is_complete(repository: Path) -> None:
    listed = project(repository)["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages_on_disk(repository))


def test_folders_of_modules_are_packages(repository: Path) -> None:
    """A folder without ``__init__.py`` would work from the checkout and be missing from the wheel."""
    for folder in FOLDERS:
        for module in (repository / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module.parent} needs an __init__.py"


@pytest.mark.parametrize("name", ["agents", "envs"])
def test_links_point_to_the_folders(repository: Path, name: str) -> None:
    link = repository / "selfreg_gym" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    tracked = subprocess.run(
        ["git", "ls-files", "-s", f"selfreg_gym/{name}"], cwd=repository, capture_output=True, text=True, check=False
    )
    if tracked.returncode == 0:  # not in an unpacked archive
        assert tracked.stdout.startswith("120000"), "the link must be committed as a link"


def test_import_is_light() -> None:
    """`import selfreg_gym` loads none of the heavy libraries and takes under half a second of CPU."""
    script = (
        "import sys, time; import selfreg_gym; "
        "heavy = {'torch', 'transformers', 'peft', 'stable_baselines3', 'numba', 'matplotlib', 'scipy', 'openai'}; "
        "print(sorted(heavy & set(sys.modules)), time.process_time())"
    )
    best = min(_parse(run(sys.executable, "-c", script)) for _ in range(2))
    assert best[0] == "[]", f"import selfreg_gym loaded {best[0]}"
    assert best[1] < 0.5, f"import selfreg_gym took {best[1]:.2f} s"


def _parse(line: str) -> tuple[str, float]:
    loaded, seconds = line.strip().rsplit(" ", 1)
    return loaded, float(seconds)


PYTHONS = ("3.11", "3.12", "3.13")


@pytest.mark.parametrize("version", PYTHONS)
def test_constraints_name_versions_only(repository: Path, version: str) -> None:
    """No address, no path and no local version: the file serves every machine."""
    pins = {}
    text = (repository / f"constraints/py{version.replace('.', '')}.txt").read_text()
    assert f"Python {version} " in text.splitlines()[0]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, pinned = line.split("==")
            assert all(part.isalnum() for part in pinned.split(".")), line
            pins[name] = pinned
    assert pins["torch"] == "2.13.0"
    table = project(repository)["project"]
    entries = [*table["dependencies"], *(entry for extra in table["optional-dependencies"].values() for entry in extra)]
    names = {entry.split("[")[0].split(">")[0] for entry in entries}
    assert names <= set(pins), f"not pinned: {names - set(pins)}"


def test_every_supported_python_is_named(repository: Path) -> None:
    classifiers = project(repository)["project"]["classifiers"]
    found = [line.split(" :: ")[-1] for line in classifiers if line.startswith("Programming Language :: Python :: 3.")]
    assert tuple(found) == PYTHONS
    files = {path.stem for path in (repository / "constraints").glob("*.txt")}
    assert files == {f"py{version.replace('.', '')}" for version in PYTHONS}


def test_make_takes_the_constraints_of_the_interpreter(repository: Path, tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for version, expected in (("3.12", "py312"), ("3.13", "py313"), ("3.99", "py313")):
        python = tmp_path / f"python{version}"
        python.write_text(f"#!/bin/sh\necho py{version.replace('.', '')}\n")
        python.chmod(0o755)
        out = run("make", "-n", "install", f"PYTHON={python}", f"VENV={tmp_path / 'none'}", cwd=repository)
        assert f"-c constraints/{expected}.txt " in out


@pytest.fixture(scope="module")
def source(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, because a build leaves files behind."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")
    for name in (*FOLDERS, ".ci", "benchmarks", "constraints", "docs", "examples", "tests"):
        shutil.copytree(repository / name, copy / name, symlinks=True, ignore=ignore)
    for name in (
        "pyproject.toml",
        "MANIFEST.in",
        "Makefile",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    ):
        shutil.copy(repository / name, copy / name)
    return copy


def build(source: Path, hook: str, out: Path) -> Path:
    """Call one hook of the build backend, as pip does."""
    script = f"import sys; sys.path.insert(0, '.ci'); import build_backend; build_backend.{hook}({str(out)!r})"
    run(sys.executable, "-c", script, cwd=source)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "build_wheel", tmp_path_factory.mktemp("wheel"))


def test_sdist_holds_everything(source: Path, tmp_path: Path) -> None:
    """All that tests and documentation need, and the links as links."""
    held = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    with tarfile.open(build(source, "build_sdist", tmp_path)) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 and later
        archive.extractall(tmp_path / "unpacked", **safe)
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    missing = [path for path in held if not (unpacked / path).is_file()]
    missing = [path for path in missing if not {"build", "selfreg_gym.egg-info", "__pycache__"} & set(path.parts)]
    assert not missing, f"missing from the sdist: {missing[:10]}"
    for name in ("agents", "envs"):
        assert os.readlink(unpacked / "selfreg_gym" / name) == f"../{name}"


def test_editable_install_is_visible_without_its_hook(source: Path, tmp_path: Path) -> None:
    """Type checkers read paths and run no import hooks; the path holds our package and nothing else."""
    with zipfile.ZipFile(build(source, "build_editable", tmp_path)) as archive:
        text = archive.read("__editable___selfreg_gym_types.pth").decode()
        (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
        assert "__editable___selfreg_gym_types.pth,sha256=" in archive.read(record).decode()
    folder = Path(text.strip())
    assert [path.name for path in folder.iterdir()] == ["selfreg_gym"]
    for inside in ("py.typed", "agents/actors/tiny.py", "envs/coin.py"):
        assert (folder / "selfreg_gym" / inside).is_file()


def test_wheel_holds_all_modules_and_data(repository: Path, wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = set()
    for folder, name in FOLDERS.items():
        for path in (repository / folder).rglob("*"):
            inside = path.relative_to(repository / folder)
            through_link = folder == "selfreg_gym" and inside.parts[0] in ("agents", "envs")
            if path.is_file() and not through_link and "__pycache__" not in path.parts:
                expected.add("/".join((name.replace(".", "/"), *inside.parts)))
    assert expected <= held, f"missing from the wheel: {sorted(expected - held)[:10]}"
    tops = {name.split("/")[0] for name in held}
    assert not tops & {"agents", "envs", "tests", "examples", "benchmarks"}, tops


def _fake_distribution(folder: Path) -> Path:
    """A wheel that, like openai-agents, ships a top-level package ``agents``."""
    files = {
        "agents/__init__.py": b"class Runner:\n    pass\n",
        "lookalike-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: lookalike\nVersion: 1.0\n",
        "lookalike-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    path = folder / "lookalike-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("lookalike-1.0.dist-info/RECORD", record + "lookalike-1.0.dist-info/RECORD,,\n")
    return path


def _empty_venv(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def _install(python: Path, *what: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *what)


# Runs inside the other environment: our packages under our name only, and the other `agents` as it was.
BESIDE = """
import importlib, pkgutil, agents, selfreg_gym
assert agents.Runner, agents
assert "selfreg_gym" not in (agents.__file__ or ""), agents.__file__
for name in {packages!r}:
    module = importlib.import_module(name)
    assert {site!r} in module.__file__, module.__file__
import gymnasium
env = gymnasium.make("selfreg/Coin-v0")
env.reset(seed=0)
print(selfreg_gym.__version__)
"""


SOLVE = """
import numpy as np, selfreg_gym
step = np.array([[0, 1.0], [0, 0]])
model = selfreg_gym.TransitionModel(P=[step, step], success=np.array([[0, 0.5], [0, 0.9]]), start=np.array([1.0, 0]))
selfreg_gym.solve(model, help_cost=0.1)
"""


def test_wheel_installs_beside_another_agents(repository: Path, wheel: Path, tmp_path: Path) -> None:
    python = _empty_venv(tmp_path / "venv")
    _install(python, "--no-index", _fake_distribution(tmp_path), wheel)
    light = [name for name in packages_on_disk(repository) if name.count(".") < 2]
    script = BESIDE.format(packages=light, site=str(tmp_path))
    libraries = next(path for path in sys.path if path.endswith("site-packages"))  # numpy, gymnasium, ...
    version = run(python, "-c", script, cwd=tmp_path, PYTHONPATH=libraries)
    assert version.strip() == project(repository)["project"]["version"]
    for command in ([tmp_path / "venv/bin/selfreg"], [python, "-m", "selfreg_gym"]):
        assert version.strip() in run(*command, "--version", cwd=tmp_path, PYTHONPATH=libraries)

    # Used and uninstalled, it leaves nothing that could be imported.
    run(python, "-c", SOLVE, cwd=tmp_path, PYTHONPATH=libraries, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert list((tmp_path / "cache").rglob("*.nbi")), "the solver was compiled"
    run(sys.executable, "-m", "pip", "--python", python, "uninstall", "-q", "-y", "selfreg-gym")
    assert not list((tmp_path / "venv").rglob("selfreg_gym*"))


@pytest.mark.slow
def test_wheel_installs_beside_openai_agents(repository: Path, wheel: Path, tmp_path: Path) -> None:
    """The same with the real neighbour, both orders of installation. Needs a package registry."""
    for order in (("openai-agents", wheel), (wheel, "openai-agents")):
        folder = tmp_path / str(order.index(wheel))
        python = _empty_venv(folder)
        for what in order:
            _install(python, what)
        site = next(folder.glob("lib/python*/site-packages"))
        assert "Runner" in (site / "agents" / "__init__.py").read_text()
        assert (site / "agents" / "run.py").exists()
        assert (site / "selfreg_gym" / "agents" / "actors" / "__init__.py").exists()
