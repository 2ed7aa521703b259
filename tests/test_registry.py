"""The registry: names without imports, errors, plug-ins of other distributions."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import gymnasium as gym
import pytest

from selfreg_gym import registry
from selfreg_gym.errors import RegistryError, UnknownNameError


class _Point:
    """An entry point of another distribution, as ``importlib.metadata`` gives it."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value
        self.module, _, self.attr = value.partition(":")
        self.dist = type("Distribution", (), {"name": "other-package"})()


def _with_points(monkeypatch: pytest.MonkeyPatch, group: str, *points: _Point) -> None:
    name = f"selfreg_gym.{group}"
    monkeypatch.setattr(registry, "_installed", lambda found, _: points if found == name else ())


def test_names_are_file_names_with_hyphens_and_ids() -> None:
    assert "selfreg/Coin-v0" in registry.names("envs")
    assert {"never", "always", "random"} <= set(registry.names("helpers"))
    assert all("_" not in name for group in ("actors", "interventions", "helpers") for name in registry.names(group))


def test_load_returns_the_class() -> None:
    assert registry.load("helpers", "never").__name__ == "Never"
    assert registry.load("envs", "selfreg/Coin-v0").__name__ == "Coin"


def test_describe_gives_the_origin_of_a_plug_in() -> None:
    entry = next(entry for entry in registry.describe("helpers") if entry.name == "never")
    assert (entry.group, entry.module, entry.origin) == ("helpers", "selfreg_gym.agents.helpers.never", "selfreg_gym")
    assert entry.summary.startswith("Never ask")


def test_unknown_names_suggest_the_closest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown helper: received 'nevr'. Did you mean 'never'\?"):
        registry.load("helpers", "nevr")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'helpers'\?"):
        registry.names("helper")
    with pytest.raises(gym.error.NameNotFound, match="Did you mean: `Coin`"):
        gym.make("selfreg/Coinn-v0")


def test_entry_points_add_plugins_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_points(monkeypatch, "helpers", _Point("sometimes", "no_such_module:Sometimes"))
    assert "sometimes" in registry.names("helpers")
    entry = next(entry for entry in registry.describe("helpers") if entry.name == "sometimes")
    assert (entry.module, entry.attribute, entry.origin) == ("no_such_module", "Sometimes", "other-package")
    with pytest.raises(ModuleNotFoundError):
        registry.load("helpers", "sometimes")


def test_entry_point_tasks_are_registered_with_gymnasium(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_points(monkeypatch, "envs", _Point("other/Coin-v3", "selfreg_gym.envs.coin:Coin"))
    try:
        registry.register_tasks()
        assert gym.make("other/Coin-v3").reset(seed=0, options={"episode": 0})[1]["task_id"] == "coin-0"
    finally:
        gym.registry.pop("other/Coin-v3", None)


def test_two_plug_ins_with_one_name_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_points(monkeypatch, "helpers", _Point("never", "elsewhere:Never"))
    with pytest.raises(RegistryError, match=r"two have 'never': selfreg_gym.agents.helpers.never .* elsewhere"):
        registry.names("helpers")


def test_a_task_id_registered_by_another_package_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_points(monkeypatch, "envs", _Point("CartPole-v1", "mine:Task"))
    with pytest.raises(RegistryError, match="'CartPole-v1' of mine is registered for"):
        registry.register_tasks()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("__all__ = ['One', 'Two']\nclass One: pass\nclass Two: pass", "exactly one class"),
        ("class One: pass", "exactly one class"),
        ("__all__ = ['one']\none = 1", "must be a class, received"),
        ("__all__ = ['Gone']", "must be a class, received"),
    ],
)
def test_a_module_that_does_not_export_one_class_raises(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"plugins_{abs(hash(source))}"
    _package(tmp_path, package, "broken", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "helpers", package)
    with pytest.raises(RegistryError, match=message):
        registry.load("helpers", "broken")


def test_new_files_are_found_and_private_files_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, "dropped", "every_other", "__all__ = ['EveryOther']\nclass EveryOther: pass")
    (tmp_path / "dropped" / "_shared.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "helpers", "dropped")
    assert registry.names("helpers") == ["every-other"]
    assert registry.load("helpers", "every-other").__name__ == "EveryOther"
    (tmp_path / "dropped" / "later.py").write_text("__all__ = ['Later']\nclass Later:\n    follows_policy = True")
    assert registry.names("helpers") == ["every-other", "later"], "a file added after the first look is found"
    assert registry.names("helpers", flag="follows_policy") == ["later"]


def test_folders_are_parsed_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, "edited", "task", "IDS = ('a/Old-v0',)\nENTRY = 'Task'")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "envs", "edited")
    parsed: list[str] = []
    parse = registry._parse
    monkeypatch.setattr(registry, "_parse", lambda found: parsed.append(found.name) or parse(found))
    assert registry.names("envs") == registry.names("envs") == ["a/Old-v0"]
    assert parsed == ["task"]
    file = tmp_path / "edited" / "task.py"
    file.write_text("IDS = ('a/New-v0',)\nENTRY = 'Task'")
    os.utime(file, ns=(1, 1))
    assert registry.names("envs") == ["a/New-v0"]
    assert parsed == ["task", "task"]


def test_flags_of_classes_are_read_from_the_source() -> None:
    assert "dp" in registry.names("helpers", flag="follows_policy")
    assert registry.names("actors", flag="default_backbone") == ["tiny"]
    assert registry.names("helpers", flag="no_such_flag") == []


def test_task_files_without_literals_and_broken_files_are_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _package(tmp_path, "tasks_a", "half", "IDS = tuple(range(3))\nENTRY = 'Half'")
    (tmp_path / "tasks_a" / "torn.py").write_text("IDS = (")
    (tmp_path / "tasks_a" / "good.py").write_text(
        "IDS: tuple = ('a/Good-v0', 'a/Good-v1')\nENTRY = 'Good'\nclass Good: 1"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "envs", "tasks_a")
    with pytest.warns(RuntimeWarning) as caught:
        assert registry.names("envs") == ["a/Good-v0", "a/Good-v1"]
    told = " ".join(str(warning.message) for warning in caught)
    assert "tasks_a.half has" in told
    assert "'torn' is skipped, because it is not valid Python" in told
    assert f"({tmp_path / 'tasks_a' / 'torn.py'}, line 1)" in told


def test_ids_of_one_class_can_have_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import gymnasium as gym\nIDS = {'many/Low-v0': {'level': 1}, 'many/High-v0': {'level': 9}}\nENTRY = 'Task'\n"
        "class Task(gym.Env):\n    def __init__(self, level=0):\n        self.level = level\n"
    )
    _package(tmp_path, "many_ids", "task", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "envs", "many_ids")
    assert registry.names("envs") == ["many/High-v0", "many/Low-v0"]
    try:
        registry.register_tasks()
        assert gym.make("many/High-v0", disable_env_checker=True).unwrapped.level == 9
        assert gym.make("many/High-v0", disable_env_checker=True, level=4).unwrapped.level == 4
    finally:
        for name in ("many/Low-v0", "many/High-v0"):
            gym.registry.pop(name, None)


def test_scanning_reads_zip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("zipped/__init__.py", "")
        zipped.writestr("zipped/task.py", "IDS = ('z/Task-v0',)\nENTRY = 'Task'\nclass Task: pass")
    monkeypatch.syspath_prepend(str(archive))
    monkeypatch.setitem(registry.GROUPS, "envs", "zipped")
    assert registry.load("envs", "z/Task-v0").__name__ == "Task"


def test_this_checkout_scans_without_a_warning() -> None:
    registry._plugins.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for group in registry.GROUPS:
            assert registry.names(group)


# --- the package ------------------------------------------------------------------------------------------------------


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_no_heavy_library_and_no_plug_in() -> None:
    heavy = _python(
        """
        import sys, selfreg_gym
        heavy = set("torch transformers peft stable_baselines3 numba matplotlib scipy rich pandas pydantic".split())
        plugins = [m for m in sys.modules if m.startswith(("selfreg_gym.envs.", "selfreg_gym.agents."))]
        print(sorted(heavy & set(sys.modules)) + plugins)
        """
    )
    assert heavy == "[]"


def test_importing_the_package_takes_less_than_half_a_second() -> None:
    # CPU time of this package's own part (Gymnasium is there already), the best of three: the machine may be busy.
    code = "import gymnasium, time; t = time.process_time(); import selfreg_gym; print(time.process_time() - t)"
    assert min(float(_python(code)) for _ in range(3)) < 0.5


def test_every_public_name_can_be_imported() -> None:
    import selfreg_gym

    for name in selfreg_gym.__all__:
        assert getattr(selfreg_gym, name) is not None, name
        assert name in dir(selfreg_gym)


def test_no_public_name_is_shadowed_by_a_submodule() -> None:
    import pkgutil

    import selfreg_gym

    submodules = {module.name for module in pkgutil.iter_modules(selfreg_gym.__path__)}
    assert submodules & set(selfreg_gym.__all__) == {"errors", "testing"}, "these are public modules"


def test_public_names_survive_the_import_of_every_submodule() -> None:
    assert (
        _python(
            """
        import importlib, pkgutil, selfreg_gym
        for module in pkgutil.iter_modules(selfreg_gym.__path__):
            if module.name != "__main__":
                importlib.import_module("selfreg_gym." + module.name)
        print(all(callable(getattr(selfreg_gym, n)) for n in ("label", "collect", "evaluate", "solve", "calibrate")))
        """
        )
        == "True"
    )


def test_a_misspelt_attribute_suggests_the_right_one() -> None:
    import selfreg_gym

    with pytest.raises(AttributeError, match=r"no attribute 'InterventionEnvv'. Did you mean 'InterventionEnv'\?"):
        _ = selfreg_gym.InterventionEnvv
    with pytest.raises(ImportError):
        from selfreg_gym import not_there  # noqa: F401


def test_gymnasium_can_import_the_package_by_the_id() -> None:
    code = "import gymnasium as gym; print(gym.make('selfreg_gym:selfreg/Coin-v0').reset(seed=0)[1]['kind'])"
    assert _python(code) == "coin"


def test_version_agrees_with_the_distribution() -> None:
    import selfreg_gym

    assert selfreg_gym.__version__ == importlib.metadata.version("selfreg-gym")


def _package(folder: Path, name: str, module: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    (folder / name / f"{module}.py").write_text(source)


def test_a_file_of_this_repository_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _package(tmp_path, "helpers_a", "mine", "import no_such_module\n__all__ = ['Mine']")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.GROUPS, "helpers", "helpers_a")
    file = re.escape(str(tmp_path / "helpers_a" / "mine.py"))
    with pytest.raises(RegistryError, match=f"Install the packages that it needs, or repair {file}"):
        registry.load("helpers", "mine")


def test_a_module_that_fails_names_its_distribution(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "fails_when_imported.py").write_text('"""Nice words."""\nraise OSError("no driver")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    _with_points(monkeypatch, "actors", _Point("driver", "fails_when_imported:Driver"))
    with pytest.raises(RegistryError, match=r"'other-package' cannot be imported.*OSError.*no driver"):
        registry.load("actors", "driver")


def test_plugins_of_other_distributions_are_described_without_importing_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('imported')\n")
    (package / "parts.py").write_text('"""The module."""\nclass Mine:\n    """Says nothing.\n\n    More."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    _with_points(monkeypatch, "actors", _Point("theirs", "their_package.parts:Mine"))
    (entry,) = (entry for entry in registry.describe("actors") if entry.name == "theirs")
    assert (entry.summary, entry.origin) == ("Says nothing.", "other-package")
    assert "their_package" not in sys.modules


@pytest.mark.parametrize("name", ["a[/b]c", "a b", "a\x1b[31m", "", "x" * 300])
def test_an_invalid_name_is_skipped_with_a_warning(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_points(monkeypatch, "actors", _Point(name, "fails_when_imported:Driver"))
    with pytest.warns(RuntimeWarning, match="'other-package' is skipped"):
        names = registry.names("actors")
    assert name not in names
