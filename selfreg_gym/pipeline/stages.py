"""The stages of the pipeline, each a function from files to files.

====================  =========================================  ==================
stage                 reads                                      writes
====================  =========================================  ==================
collect               the task, the actor, the interventions     rollouts.sqlite
train-prm             rollouts.sqlite                            prm/
fit                   rollouts.sqlite                            transitions.npz
solve                 transitions.npz                            solution.npz
solve-features        rollouts.sqlite                            features/
fit-values            rollouts.sqlite                            values/
label                 rollouts, transitions, solution            labels.jsonl
train-helper          rollouts, labels.jsonl, values/            helper/
train-rl              the task, the actor, the interventions     rl/
calibrate             all of the above                           calibration.json
select                all of the above                           selection.json
evaluate              all of the above                           evaluation.json
report                all of the above                           report.html, plots/
====================  =========================================  ==================

They are run, skipped and resumed by :mod:`selfreg_gym.pipeline.execution`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import StoreError
from selfreg_gym.pipeline.candidates import helper_class, interventions_of, sources
from selfreg_gym.pipeline.checkpoints import actor_checkpoint, some_models
from selfreg_gym.pipeline.comparison import calibrate_helpers, evaluate_helpers
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage
from selfreg_gym.pipeline.schema import RunConfig, TrainingConfig
from selfreg_gym.pipeline.selection import select_helper
from selfreg_gym.pipeline.values import fit_values, read_models
from selfreg_gym.types import optional_member
from selfreg_gym.utils.json_text import dumps

__all__ = ["STAGES"]

_ENV = ("task", "actor", "interventions")
_MODELS = ("rollouts.sqlite", "prm", "transitions.npz", "solution.npz", "features", "values", "helper", "rl")


def collect_rollouts(run: Run) -> dict[str, Any]:
    """Play the collected tasks with random help; continues with the missing episodes."""
    from selfreg_gym.collection import collect

    c = run.config.collect
    run.manifest.note(**_env_description(run))
    rollouts = collect(
        run.env_kwargs(),
        store=run.path / "rollouts.sqlite",
        tasks=range(c.tasks),
        episodes=c.episodes,
        help_probabilities=c.help_probabilities,
        seed=c.seed,
        workers=c.workers,
        num_envs=c.num_envs,
        ask_actor_always=c.ask_actor_always,
        progress=run.progress,
    )
    with rollouts:
        if not rollouts.is_complete:
            failures = rollouts.failures()
            last = f" The last error: {failures[-1][1]}." if failures else ""
            raise StoreError(
                f"a collection must be complete, because the episodes without errors are a biased sample, and "
                f"{len(rollouts.missing())} of {c.tasks * c.episodes} episodes ended in errors.{last} Remove the cause "
                "(Rollouts.failures() lists all errors) and run again; only the missing episodes are played."
            )
        return {"episodes": rollouts.count()}


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
        warnings = [*_below_baseline(measured, baseline), *_unread_by_actor(run, model.info)]
        if warnings:
            model.info["warnings"] = warnings
        model.save_pretrained(out)
        (out / "floor.json").write_text(dumps({"bag_of_words": baseline or None}, indent=1) + "\n")
    figures = {name: measured.get(name) for name in ("auc", "ece", "brier")}
    figures |= {"auc of a bag of words": baseline.get("auc")}
    return {**figures, **_backbone_figures(model.info), "warnings": warnings}


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
        "task_kwargs": task.kwargs,
        "splits": task.splits,
        "actor": run.config.actor.id,
        "interventions": list(run.config.interventions.ids),
        "collected": f"{collected.tasks} tasks x {collected.episodes} episodes, seed {collected.seed}",
    }


def fit(run: Run) -> dict[str, Any]:
    """Fit P(s' | s, a) to the transition counts."""
    from selfreg_gym.store.rollouts import Rollouts
    from selfreg_gym.transitions import TransitionModel

    c = run.config.transitions
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("fit", "transitions.npz") as out:
        model = TransitionModel.fit(
            rollouts,
            key=c.key,
            backoff=c.backoff or None,
            prior=c.prior,
            min_visits=c.min_visits,
            horizon=c.horizon or None,
            time_buckets=c.time_buckets or None,
        )
        model.save(out)
        return {"states": model.n, **model.coverage()}


def solve(run: Run) -> dict[str, Any]:
    """Solve for the frontier of success against usage, to a certified gap."""
    from selfreg_gym.solver import solve_frontier
    from selfreg_gym.transitions import TransitionModel

    model = TransitionModel.load(run.path / "transitions.npz")
    frontier = solve_frontier(model, gap=run.config.solve.gap)
    with run.writing("solve", "solution.npz") as out:
        frontier.save(out)
    return {"points": len(frontier.usage), "gap": float(frontier.gap)}


def solve_features(run: Run) -> dict[str, Any]:
    """Fit and solve a second model, over feature keys and steps left, whose policy can be used on new tasks.

    Without feature keys the folder is empty.
    """
    from selfreg_gym.solver import solve_frontier
    from selfreg_gym.store.rollouts import Rollouts
    from selfreg_gym.transitions import TransitionModel
    from selfreg_gym.transitions.table import tabulate, with_time

    c = run.config.transitions
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("solve-features", "features") as out:
        out.mkdir(parents=True)
        if (rollouts.columns("feature_key")["feature_key"].codes < 0).any():  # type: ignore[union-attr]
            return {"feature keys": 0}
        table = tabulate(rollouts, key="feature", horizon=c.horizon or None)
        if c.features_time_buckets > 1 and (table.steps_left >= 0).all():
            table = with_time(table, c.features_time_buckets)
        model = TransitionModel.fit(table, key="feature", backoff=None, prior=c.prior, horizon=c.horizon or None)
        model.save(out / "transitions.npz")
        frontier = solve_frontier(model, gap=run.config.solve.gap)
        frontier.save(out / "solution.npz")
        return {"states": model.n, "points": len(frontier.usage), "gap": float(frontier.gap)}


def label_states(run: Run) -> dict[str, Any]:
    """Label each collected state with the solution's action at each budget."""
    from selfreg_gym.labels import label
    from selfreg_gym.solver import Frontier
    from selfreg_gym.store.rollouts import Rollouts
    from selfreg_gym.transitions import TransitionModel

    c = run.config.label
    model = TransitionModel.load(run.path / "transitions.npz")
    frontier = Frontier.load(run.path / "solution.npz", model)
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("label", "labels.jsonl") as out:
        labels = label(rollouts, frontier, model=model, budgets=run.config.label_budgets, scope=c.scope)
        labels.save(out)
        return {"labels": len(labels), "help": sum(one.action > 0 for one in labels) / max(1, len(labels))}


def train_helper(run: Run) -> dict[str, Any]:
    """Fine-tune the helper on the labels, or on the gains of a teacher."""
    c = run.config.helper
    kind = helper_class(c.id)
    with run.writing("train-helper", "helper") as out:
        common: dict[str, Any] = {
            "backbone": c.backbone,
            "actor": actor_checkpoint(run.config),
            "epochs": c.epochs,
            "lora": c.lora_rank,
            **_training(c),
            "seed": c.seed,
            "costs": [cost for _, cost in interventions_of(run)],
            "augment": _augment(run) if c.augment else None,
            "resume": run.partial("train-helper") / "training",
            "progress": run.progress,
        }
        helper = (_trained_on_gains if kind.learns == "gains" else _trained_on_labels)(run, kind, common)
        helper.info["run"] = _description(run)
        helper.save_pretrained(out)
    figures = {"steps": helper.info["steps"], "trained on": helper.info["trained_on"]}
    if helper.info.get("r2"):
        figures["explained variance of the gains"] = sum(helper.info["r2"]) / len(helper.info["r2"])
    return {**figures, **_backbone_figures(helper.info)}


def _trained_on_labels(run: Run, kind: Any, common: Mapping[str, Any]) -> Any:
    from selfreg_gym.labels import Labels

    c = run.config.helper
    return kind.train(
        Labels.load(run.path / "labels.jsonl"),
        **common,
        max_labels=c.max_labels or None,
        help_weight=c.help_weight,
        features=_features(run) if c.features else None,
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


def _features(run: Run) -> dict[str, str]:
    """Observation -> feature key, for the collected observations that have one."""
    from selfreg_gym.store.rollouts import Rollouts

    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts:
        columns: dict[str, Any] = rollouts.columns("observation", "feature_key")
    text, feature = columns["observation"], columns["feature_key"]
    pairs = dict(zip(text.codes.tolist(), feature.codes.tolist(), strict=True))
    return {text.values[one]: feature.values[key] for one, key in pairs.items() if key >= 0}


def _augment(run: Run) -> Any:
    """The ``augment`` of the collected split's task, or None."""
    import gymnasium as gym

    kwargs = run.env_kwargs()
    task = gym.make(kwargs["task"], **kwargs["task_kwargs"])
    return optional_member(task, "augment")


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


def write_report(run: Run) -> dict[str, Any]:
    """Write report.html and plots/."""
    from selfreg_gym.report import write_report as write

    write(run.path)
    return {}


def _env_description(run: Run) -> dict[str, Any]:
    """The env's ``spec.to_json()`` as ``env_spec``, and the name and cost units of each of its ``interventions``."""
    import gymnasium as gym

    env = gym.make("selfreg/Intervention-v0", **run.env_kwargs())
    base: Any = env.unwrapped
    try:
        return {
            "env_spec": json.loads(env.spec.to_json()) if env.spec is not None else None,
            "interventions": [{"name": one.name, "cost": one.cost} for one in base.interventions],
        }
    finally:
        env.close()


def _actor_models(run: Run) -> dict[str, str]:
    return some_models(run, "actor", "intervention")


def _compared(run: Run) -> dict[str, Any]:
    return {"models": _actor_models(run), "helpers": sources(run)}


def _training_data(config: RunConfig) -> tuple[str, ...]:
    """The artifacts that the helper of this config is trained on, besides the rollouts."""
    if helper_class(config.helper.id).learns == "labels":
        return ("labels.jsonl",)
    return ("values", "prm") if "prm" in (config.helper.inputs or ()) else ("values",)


def _selection(config: RunConfig) -> tuple[str, ...]:
    """The record of the selection, if it was made on validation splits; the calibration is read in any case."""
    return ("selection.json",) if config.select.splits else ()


# fmt: off
STAGES = (  # name, function, inputs, outputs, sections of the config
    Stage("collect", collect_rollouts, (), ("rollouts.sqlite",), (*_ENV, "collect"), in_place=True, more=_actor_models),
    Stage("train-prm", train_prm, ("rollouts.sqlite",), ("prm",), ("prm",), background=True,
          more=lambda run: some_models(run, "prm")),
    Stage("fit", fit, ("rollouts.sqlite",), ("transitions.npz",), ("transitions",)),
    Stage("solve", solve, ("transitions.npz",), ("solution.npz",), ("solve",)),
    Stage("solve-features", solve_features, ("rollouts.sqlite",), ("features",), ("transitions", "solve")),
    Stage("fit-values", fit_values, ("rollouts.sqlite",), ("values",), ("values",), reads=read_models,
          more=lambda run: some_models(run, "values")),
    Stage("label", label_states, ("rollouts.sqlite", "transitions.npz", "solution.npz"), ("labels.jsonl",), ("label",)),
    Stage("train-helper", train_helper, ("rollouts.sqlite",), ("helper",), ("helper",), reads=_training_data,
          more=lambda run: some_models(run, "helper")),
    Stage("train-rl", train_rl, (), ("rl",), (*_ENV, "collect", "rl"), more=_actor_models),
    Stage("calibrate", calibrate_helpers, _MODELS, ("calibration.json",), ("calibrate", "evaluate"), more=_compared),
    Stage("select", select_helper, (*_MODELS, "calibration.json"), ("selection.json",), ("select", "evaluate"),
          more=_compared),
    Stage("evaluate", evaluate_helpers, (*_MODELS, "calibration.json"), ("evaluation.json",), ("task", "evaluate"),
          more=_compared),
    Stage("report", write_report, ("evaluation.json", "calibration.json", "prm"), ("report.html", "plots"), (),
          reads=_selection, more=lambda run: run.config.task.titles),
)
# fmt: on
