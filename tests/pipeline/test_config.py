"""The config of a run: validation, error messages, overrides, and which configs are the same run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from selfreg_gym.errors import ConfigError, UnknownNameError
from selfreg_gym.pipeline import open_run
from selfreg_gym.pipeline.config import (
    RunConfig,
    differences,
    from_dict,
    load_config,
    parse_overrides,
    preset_names,
    to_dict,
)


@pytest.mark.parametrize("preset", preset_names())
def test_presets_are_valid(preset: str) -> None:
    config = load_config(preset=preset)
    assert "collected" in config.task.splits
    assert len(config.task.splits) > 1, "helpers are evaluated on new tasks too"
    assert config.select.splits, "helpers are chosen on validation tasks"
    seeds = {config.collect.seed, config.calibrate.seed, config.evaluate.seed}
    assert len(seeds) == 3, "collection, calibration and evaluation must not share their seeds"


def test_examples_are_valid(repository: Path) -> None:
    paths = sorted((repository / "examples").glob("*.toml"))
    assert paths
    for path in paths:
        assert load_config(path=path) != RunConfig(), path


def test_round_trip_through_plain_values() -> None:
    config = load_config(preset="tiny", overrides=["transitions.horizon=12", "transitions.prior=3"])
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert config.transitions.horizon == 12
    assert config.transitions.prior == 3.0
    assert load_config(overrides=["transitions.horizon=true"]).transitions.horizon is True


def test_overrides_replace_values_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[collect]\nepisodes = 7\ntasks = 5\n")
    config = load_config(path=path, overrides=["collect.episodes=9", "actor.id=scripted", "evaluate.budgets=[1, 2]"])
    assert (config.collect.tasks, config.collect.episodes) == (5, 9)
    assert config.actor.id == "scripted"
    assert config.evaluate.budgets == (1.0, 2.0)
    assert config.solve == RunConfig().solve


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("collct.episodes=1", r"unknown key: received 'collct'. Did you mean 'collect'\?"),
        ("collect.episods=1", r"received 'collect.episods'. Did you mean 'episodes'\?"),
        ("collect.episodes=many", "collect.episodes must be an integer, received 'many'"),
        ("collect.episodes=1.5", "an integer"),
        ("collect.episodes=true", "an integer"),
        ("collect.episodes=0", "collect.episodes must be at least 1, received 0"),
        ("collect.help_probabilities=[0.5, 2]", r"help_probabilities\[1\] must be at most 1, received 2"),
        ("collect.help_probabilities=[]", "help_probabilities must be non-empty"),
        ("collect.help_probabilities=0.5", r"must be a list, received 0.5. Write \[0.5\], in a shell: --set \"collect"),
        ("task.splits={a={split=val}}", r"received '\{a=.* put the whole in quotes.* --set \"task.splits=\{ x"),
        ("evaluate.helpers=[never, lm]", r"--set \"evaluate.helpers=\['never', 'lm'\]\""),
        ("evaluate.budgets=[-1]", r"evaluate.budgets\[0\] must be greater than 0, received -1"),
        ("evaluate.seed=1", "different seeds"),
        ("actor.id=3", "actor.id must be a text"),
        ("transitions.prior=true", "transitions.prior must be a number or 'auto', received True"),
        ("prm.targets=help", "'nohelp' or 'mixture'"),
        ("task.splits={ }", "task.splits must be non-empty"),
        ("task.splits={collected={}, ''={}}", "a name that is not empty"),
        ("collect.seed=-1", "collect.seed must be at least 0"),
        ("collect.seed=18446744073709551616", "collect.seed must be an integer of at most 64 bits"),
        ("rl.seed=4294967296", "rl.seed must be less than 4294967296"),
        ("helper.help_weight=-1", "helper.help_weight must be at least 0"),
        ("helper.help_weight=nan", "helper.help_weight must be a finite number, received nan"),
        ("solve.gap=inf", "solve.gap must be a finite number, received inf"),
        (
            "prm.lr=1" + "0" * 400,
            r"prm.lr must be an integer of at most 64 bits, received 10+\.\.\. \(401 characters\)",
        ),
        ("evaluate.budgets=[]", "evaluate.budgets or label.budgets must name at least one budget"),
        (
            "evaluate.budgets=[1, 1.0000001]",
            "evaluate.budgets must be different numbers, also if rounded to six digits",
        ),
        ("transitions.key=sate", "transitions.key must be 'state', 'feature' or 'observation', received 'sate'"),
        ("transitions.backoff=none", "transitions.backoff must be 'feature' or ''"),
        ("transitions.prior=-1", "transitions.prior must be at least 0 or 'auto'"),
        ("transitions.prior=none", "transitions.prior must be a number or 'auto'"),
        ("transitions.horizon=-1", "transitions.horizon must be true or false or at least 0"),
        ("task.kwargs.size=nan", "task.kwargs.size must be a finite number"),
        ("task.kwargs={a={b=[2020-01-01]}}", "task.kwargs.a.b must be a text, .*of type date. Put quotes around it"),
        ("actor.kwargs={a='\udce4'}", "actor.kwargs.a must be text without NUL and without surrogates"),
        ("actor.id=x\0", "actor.id must be text without NUL"),
        ("actor=tiny", "section.key=value.*'actor' is a section with the keys id, kwargs"),
        ("episodes=3", "Did you mean collect.episodes or calibrate.episodes or select.episodes or evaluate.episodes"),
        ("collect.episodes", "section.key=value"),
    ],
)
def test_messages_of_invalid_values(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(overrides=[override])


def test_the_former_name_of_a_section(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[model]\nprior = 3\n")
    with pytest.warns(DeprecationWarning, match=r"\[model\] of a config is now \[transitions\]"):
        assert load_config(path=path).transitions.prior == 3
    with pytest.warns(DeprecationWarning, match="transitions"):
        assert load_config(overrides=["model.key=feature"]).transitions.key == "feature"
    path.write_text("[model]\nprior = 3\n[transitions]\nkey = 'state'\n")
    with pytest.raises(ConfigError, match="received both"):
        load_config(path=path)


def test_budgets_of_labels_are_those_of_the_evaluation_unless_they_are_given() -> None:
    config = load_config(overrides=["evaluate.budgets=[1, 4]"])
    assert config.label_budgets == (1.0, 4.0)
    assert load_config(overrides=["label.budgets=[2]"]).label_budgets == (2.0,)
    assert differences(config, load_config(overrides=["evaluate.budgets=[1, 4]", "label.budgets=[1, 4]"])) == []


def test_the_json_schema_describes_every_key() -> None:
    schema = RunConfig.model_json_schema()
    episodes = schema["$defs"]["CollectConfig"]["properties"]["episodes"]
    assert (episodes["minimum"], episodes["default"]) == (1, 110)
    assert "Episodes per task" in episodes["description"]
    json.dumps(schema)


def test_unknown_presets_and_invalid_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny'"):
        load_config(preset="tinny")
    with pytest.raises(ConfigError, match="received both"):
        load_config(preset="tiny", path="x.toml")
    with pytest.raises(ConfigError, match="No such file"):
        load_config(path=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[collect\n")
    with pytest.raises(ConfigError, match="TOML"):
        load_config(path=tmp_path / "bad.toml")


def test_any_split_names() -> None:
    config = load_config(overrides=["task.splits={collected={}, 'large maps'={size=9}}"])
    assert list(config.task.splits) == ["collected", "large maps"]
    assert load_config(preset="tiny", overrides=["task.splits={collected={}, seen={}}"]).task.titles.keys() == {
        "collected", "seen",
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match="Did you mean 'collected'"):
        load_config(overrides=["task.titles.colected=x"])


def test_without_a_split_named_collected_rollouts_are_collected_on_the_first() -> None:
    config = load_config(overrides=["task.splits={train={size=4}, test={size=9}}"])
    assert config.task.collected == "train"
    assert load_config(overrides=["task.splits={test={}, collected={}}"]).task.collected == "collected"
    other = load_config(overrides=["task.splits={test={size=9}, train={size=4}}"])
    assert differences(config, other) == [("task.collected", "train", "test")], "their order matters here"
    assert from_dict(json.loads(json.dumps(to_dict(config)))).task.collected == "train"


def test_arguments_of_another_task_are_dropped(tmp_path: Path) -> None:
    for base in ({"preset": "smoke"}, {"preset": "tiny"}):
        config = load_config(**base, overrides=["task.id=selfreg/Coin-v0"])
        assert (config.task.kwargs, config.task.splits, config.task.titles) == ({}, {"collected": {}}, {})
        assert config.actor == load_config(**base).actor
    kept = ["task.kwargs.heads=0.3", "task.id=selfreg/Coin-v0", "task.splits={collected={}, biased={heads=0.9}}"]
    config = load_config(preset="smoke", overrides=kept)
    assert config.task.kwargs == {"heads": 0.3}, "what the user gave is kept, whatever the order"
    assert config.task.splits == {"collected": {}, "biased": {"heads": 0.9}}
    same = load_config(preset="smoke", overrides=["task.id=selfreg/SIF-v0"])
    assert same == load_config(preset="smoke")


def test_validation_splits_of_the_task_are_added_unless_they_are_evaluated() -> None:
    declared = {"val-seen": {"split": "val-seen"}, "val-unseen": {"split": "val-unseen"}}
    config = load_config(preset="smoke")
    assert config.select.splits == declared
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert load_config(overrides=["task.id=selfreg/Coin-v0"]).select.splits == {}, "it declares none"
    assert load_config(overrides=["task.kwargs.split=train"]).select.splits == {}, "they would replace an argument"
    evaluated = load_config(overrides=["task.splits={collected={}, last={split='val-unseen'}}"])
    assert evaluated.select.splits == {"val-seen": {"split": "val-seen"}}
    assert load_config(overrides=["select.splits={}"]).select.splits == {}
    with pytest.raises(ConfigError, match=r"must differ in name and arguments from the evaluated splits.*test-seen"):
        load_config(overrides=["select.splits={mine={split='test-seen'}}"])


def test_a_run_of_a_version_without_validation_splits_continues() -> None:
    table = to_dict(load_config(preset="tiny"))
    del table["select"]
    older = from_dict(table)
    assert older.select.splits == {}
    assert differences(older, from_dict(to_dict(older))) == []


def test_arguments_of_other_agents_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        "[actor]\nid='lm'\nkwargs={path='x'}\n[interventions]\nids=['expert', 'strong']\n"
        "[interventions.kwargs]\nexpert={cost=2}\nstrong={cost=0.3}\n"
        "[evaluate]\nhelpers=['every-k','wait-n']\n[evaluate.kwargs]\nevery-k={k=3}\nwait-n={n=2}\n"
    )
    config = load_config(
        path=path, overrides=["actor.id=tiny", "interventions.ids=['strong']", "evaluate.helpers=['wait-n']"]
    )
    assert config.actor.kwargs == {}
    assert config.interventions.kwargs == {"strong": {"cost": 0.3}}
    assert config.evaluate.kwargs == {"wait-n": {"n": 2}}
    assert load_config(path=path, overrides=["actor.id=lm"]).actor.kwargs == {"path": "x"}


def test_titles_are_not_part_of_the_identity() -> None:
    base = load_config(preset="tiny")
    assert differences(base, load_config(preset="tiny", overrides=["task.titles.seen=New"])) == []


def test_speed_keys_are_not_part_of_the_identity() -> None:
    base = load_config(preset="tiny")
    faster = load_config(preset="tiny", overrides=["collect.workers=7", "evaluate.num_envs=3"])
    other = load_config(preset="tiny", overrides=["collect.seed=11"])
    assert differences(base, faster) == []
    assert differences(base, other) == [("collect.seed", base.collect.seed, 11)]


def test_parse_overrides_alone() -> None:
    assert parse_overrides(["task.kind=pnp", "task.limit=3"]) == {"task": {"kind": "pnp", "limit": 3}}


def test_presets_are_shipped_as_data(repository: Path) -> None:
    data = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "presets/*.toml" in data["selfreg_gym.pipeline"]


def test_a_run_that_begins_without_a_preset_prints_a_note(tmp_path: Path) -> None:
    """A misspelt --out would begin the ten minutes of the preset tiny unnoticed."""
    said: list[str] = []
    open_run(tmp_path / "misspelt", progress=False, say=said.append)
    assert len(said) == 1
    assert "misspelt has no run yet: starting a new run of the preset tiny" in said[0]
    open_run(tmp_path / "misspelt", progress=False, say=said.append)
    open_run(tmp_path / "named", preset="smoke", progress=False, say=said.append)
    assert len(said) == 1


def test_the_history_of_a_task_is_an_argument_of_its_env(tmp_path: Path) -> None:
    base = load_config(preset="smoke")
    assert "history" not in base.task.identity()  # runs of earlier versions can continue
    for value, history in (("8", 8), ("{tokens=300}", {"tokens": 300})):
        config = load_config(preset="smoke", overrides=[f"task.history={value}"])
        run = open_run(tmp_path / f"{len(value)}", preset="smoke", overrides=[f"task.history={value}"], progress=False)
        assert run.env_kwargs("seen")["task_kwargs"]["history"] == history
        assert differences(base, config) == [("task.history", None, history)]
    assert load_config(preset="smoke", overrides=["task.id=selfreg/Coin-v0"]).task.history is None
    with pytest.raises(ConfigError, match=r"task\.history"):
        load_config(preset="smoke", overrides=["task.history=long"])


def test_a_task_brings_its_own_splits_and_headings() -> None:
    declared = load_config(overrides=["task.id=selfreg/SIF-v0"]).task
    assert declared.splits["unseen"] == {"split": "test-unseen"}
    assert declared.titles["unseen"] == "New tasks, unseen houses"
    assert load_config(preset="tiny").task.splits == declared.splits
    assert load_config(overrides=["task.id=selfreg/Coin-v0"]).task.splits == {"collected": {}}
    assert load_config(overrides=["task.splits={ all = {} }"]).task.splits == {"all": {}}
    assert load_config(overrides=["task.kwargs.split=test-seen"]).task.splits == {"collected": {}}
