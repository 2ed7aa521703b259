"""The distribution: what the wheel holds, and that it lives beside a top-level ``agents`` of somebody else."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
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


def test_constraints_name_versions_only(repository: Path) -> None:
    """No address, no path and no local version: the file serves every machine."""
    pins = {}
    for line in (repository / "constraints/py311.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert all(part.isalnum() for part in version.split(".")), line
            pins[name] = version
    assert pins["torch"] == "2.13.0"
    names = [entry.split("[")[0].split(">")[0] for entry in project(repository)["project"]["dependencies"]]
    assert set(names) <= set(pins), f"not pinned: {set(names) - set(pins)}"


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources (a build leaves files behind)."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(repository / folder, source / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    script = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    run(sys.executable, "-c", script, cwd=source)
    return next(out.glob("*.whl"))


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


def test_wheel_installs_beside_another_agents(repository: Path, wheel: Path, tmp_path: Path) -> None:
    python = _empty_venv(tmp_path / "venv")
    _install(python, "--no-index", _fake_distribution(tmp_path), wheel)
    light = [name for name in packages_on_disk(repository) if name.count(".") < 2]
    script = BESIDE.format(packages=light, site=str(tmp_path))
    libraries = next(path for path in sys.path if path.endswith("site-packages"))  # numpy, gymnasium, ...
    version = run(python, "-c", script, cwd=tmp_path, PYTHONPATH=libraries)
    assert version.strip() == project(repository)["project"]["version"]
    helptext = run(tmp_path / "venv/bin/selfreg", "--version", cwd=tmp_path, PYTHONPATH=libraries)
    assert version.strip() in helptext


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
