"""The stages that train: the process reward model, the helper, and reinforcement learners.

Each is a function from files to files; :mod:`selfreg_gym.pipeline.stages` lists all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from selfreg_gym import registry
from selfreg_gym.intervention_env.building import build_task
from selfreg_gym.pipeline.candidates import helper_class, interventions_of
from selfreg_gym.pipeline.checkpoints import actor_checkpoint, on_task
from selfreg_gym.pipeline.config_sections import TrainingConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.types import optional_member
from selfreg_gym.utils.json_text import dumps

__all__ = ["features_of", "helper_arguments", "train_helper", "train_prm", "train_rl"]


def train_prm(run: Run) -> dict[str, Any]:
    """Train p(success | observation), and a bag of words as the baseline that it should beat."""
    from selfreg_gym.prm import BagOfWords, ProcessRewardModel
    from selfreg_gym.store.rollouts import Rollouts

    c = run.config.prm
    common: dict[str, Any] = {"targets": c.targets, "seed": c.seed, "share": c.share}
    common["max_states"] = c.max_states or None
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("train-prm", "prm") as out:
        model = ProcessRewardModel.train(
            rollouts,
            backbone=c.backbone,
            actor=actor_checkpoint(run.config),
            epochs=c.epochs,
            lora=c.lora_rank or None,
            **_training(c),
            resume=run.partial("train-prm") / "training",
            progress=run.progress,
            **common,
        )
        model.info["run"] = _description(run)
        baseline: Mapping[str, Any] = BagOfWords.train(rollouts, **common).held_out or {}
        measured: Mapping[str, Any] = model.calibration()
        warnings = [
            *_single_outcome(measured, model.info),
            *_below_baseline(measured, baseline),
            *_unread_by_actor(run, model.info),
        ]
        if warnings:
            model.info["warnings"] = warnings
        model.save_pretrained(out)
        (out / "floor.json").write_text(dumps({"bag_of_words": baseline or None}, indent=1) + "\n")
    figures = {name: measured.get(name) for name in ("auc", "ece", "brier")}
    figures |= {"auc of a bag of words": baseline.get("auc")}
    return {**figures, **_backbone_figures(model.info), "warnings": warnings}


def _single_outcome(measured: Mapping[str, Any], info: Mapping[str, Any]) -> list[str]:
    """A warning if all held-out decisions have the same outcome, so that p(s) is neither scaled nor measured."""
    rate = measured.get("base_rate")
    if rate not in (0.0, 1.0):
        return []
    tasks = len(info["calibration_tasks"])
    return [
        f"all {measured['n']} held-out decisions of {tasks} task{'s' * (tasks > 1)} end in "
        f"{'success' if rate else 'failure'}, so p(s) is not scaled and its quality is unknown. Collect more tasks "
        "(collect.tasks), or hold out a larger share of them (prm.share)."
    ]


def _below_baseline(measured: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """A warning if the process reward model ranks held-out outcomes worse than a bag of words does."""
    auc, words = measured.get("auc"), baseline.get("auc")
    if auc is None or words is None or auc >= words:
        return []
    return [
        f"the process reward model's AUC is {auc:.3f} on {measured['n']} decisions of held-out tasks, below the "
        f"{words:.3f} of a logistic regression on word counts. More rollouts, more epochs (prm.epochs) or another "
        "backbone (prm.backbone) may help."
    ]


def _unread_by_actor(run: Run, info: dict[str, Any]) -> list[str]:
    """A warning if the actor is a language model whose vocabulary lacks too many of the task's tokens."""
    folder = actor_checkpoint(run.config)
    share = None if folder is None else info.get("backbones_passed_over", {}).get(folder.name)
    if not share:
        return []
    return [
        f"{share:.0%} of the task's tokens are unknown to the actor {run.config.actor.id!r}: choose an actor that can "
        "read this task (actor.id). The models of this run are trained on another backbone, which can read it."
    ]


def _backbone_figures(info: dict[str, Any]) -> dict[str, Any]:
    """Figures about the backbone of a trained model."""
    return {"unknown tokens": info["unknown_tokens"], "backbone": info["backbone"]}


def _training(c: TrainingConfig) -> dict[str, Any]:
    """The arguments that both trainings have."""
    return {
        "lr": c.lr or None,
        "batch_size": c.batch_size,
        "accumulate": c.accumulate,
        "patience": c.patience or None,
        "dtype": c.dtype,
        "device": c.device,
    }


def _description(run: Run) -> dict[str, Any]:
    """The run's description in a model card."""
    task, collected = run.config.task, run.config.collect
    return {
        "task": task.id,
        "task_kwargs": task.arguments,
        "splits": task.splits,
        "actor": run.config.actor.id,
        "interventions": list(run.config.interventions.names),
        "collected": f"{collected.tasks} tasks x {collected.episodes} episodes, seed {collected.seed}",
    }


def train_helper(run: Run) -> dict[str, Any]:
    """Fine-tune the helper on the labels, or on the gains of a teacher."""
    c = run.config.helper
    kind = helper_class(c.id)
    with run.writing("train-helper", "helper") as out, helper_arguments(run) as arguments:
        common = {**arguments, "resume": run.partial("train-helper") / "training"}
        helper = (_trained_on_gains if kind.learns == "gains" else _trained_on_labels)(run, kind, common)
        helper.info["run"] = _description(run)
        helper.save_pretrained(out)
    figures = {"steps": helper.info["steps"], "trained on": helper.info["trained_on"]}
    if helper.info.get("r2"):
        figures["explained variance of the gains"] = sum(helper.info["r2"]) / len(helper.info["r2"])
    return {**figures, **_backbone_figures(helper.info)}


@contextlib.contextmanager
def helper_arguments(run: Run) -> Iterator[dict[str, Any]]:
    """The arguments of the trainings of all helpers, by the section ``helper`` of the config.

    ``augment`` is a method of a task of the collected split. The task is closed at the end of the block.
    """
    c = run.config.helper
    arguments = {
        "backbone": c.backbone,
        "actor": actor_checkpoint(run.config),
        "epochs": c.epochs,
        "lora": c.lora_rank,
        **_training(c),
        "seed": c.seed,
        "costs": [cost for _, cost in interventions_of(run)],
        "progress": run.progress,
    }
    if not c.augment:
        yield {**arguments, "augment": None}
        return
    kwargs = run.env_kwargs()
    task = build_task(kwargs["task"], kwargs["task_kwargs"])
    try:
        yield {**arguments, "augment": optional_member(task, "augment")}
    finally:
        task.close()


def _trained_on_labels(run: Run, kind: Any, common: Mapping[str, Any]) -> Any:
    from selfreg_gym.labels import Labels

    c = run.config.helper
    return kind.train(
        Labels.load(run.path / "labels.jsonl"),
        **{**common, **on_task(run.config, backbone=c.backbone)},
        max_labels=c.max_labels or None,
        help_weight=c.help_weight,
        features=features_of(run) if c.features else None,
    )


def _trained_on_gains(run: Run, kind: Any, common: Mapping[str, Any]) -> Any:
    from selfreg_gym.fitted import FittedFrontier
    from selfreg_gym.store.rollouts import Rollouts

    c = run.config.helper
    teacher = FittedFrontier.load(run.path / "values" / "teacher")
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts:
        return kind.train(
            rollouts,
            teacher,
            **common,
            inputs=c.inputs,
            prm=run.path / "prm" if "prm" in (c.inputs or ()) else None,
            facts=c.facts,
            topics=c.features,
            max_decisions=c.max_decisions or None,
        )


def features_of(run: Run) -> dict[str, str]:
    """Observation -> feature key, for the collected observations that have one."""
    from selfreg_gym.store.rollouts import Rollouts

    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts:
        columns: dict[str, Any] = rollouts.columns("observation", "feature_key")
    text, feature = columns["observation"], columns["feature_key"]
    pairs = dict(zip(text.codes.tolist(), feature.codes.tolist(), strict=True))
    return {text.values[one]: feature.values[key] for one, key in pairs.items() if key >= 0}


def train_rl(run: Run) -> dict[str, Any]:
    """Train the reinforcement learners of ``rl.algorithms`` on the collected tasks; by default there are none."""
    c = run.config.rl
    steps: dict[str, Any] = {}
    with run.writing("train-rl", "rl") as out:
        out.mkdir(parents=True)
        for name in c.algorithms:
            learner = registry.load("helpers", name)
            trained = learner.train(
                run.env_kwargs(),
                tasks=range(run.config.collect.tasks),
                help_cost=c.help_cost,
                steps=c.steps,
                cap=c.cap if learner.needs_cap else None,
                seed=c.seed,
                progress=run.progress,
            )
            trained.save_pretrained(out / name)
            steps[f"steps of {name}"] = trained.info["steps"]
    return steps
