"""The stages of the method, each a function from files to files.

====================  =========================================  ==================
stage                 reads                                      writes
====================  =========================================  ==================
collect               the task, the actor, the interventions     rollouts.sqlite
train-prm             rollouts.sqlite                            prm/
fit                   rollouts.sqlite                            transitions.npz
solve                 transitions.npz                            solution.npz
label                 rollouts, transitions, solution            labels.jsonl
train-helper          labels.jsonl                               helper/
calibrate             all of the above                           calibration.json
evaluate              all of the above                           evaluation.json
report                all of the above                           report.html, plots/
====================  =========================================  ==================

How stages are skipped, resumed and kept whole is :mod:`selfreg_gym.pipeline.directory`;
:mod:`selfreg_gym.pipeline.running` runs them.
"""

from __future__ import annotations

import json
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import StoreError
from selfreg_gym.pipeline.checkpoints import some_models
from selfreg_gym.pipeline.config import TrainingConfig
from selfreg_gym.pipeline.directory import Run, Stage
from selfreg_gym.pipeline.lineup import build, helper_names, key_of, sources

__all__ = ["STAGES"]


# -- the stages, in order ---------------------------------------------------------------------------------------------


def collect_rollouts(run: Run) -> dict[str, Any]:
    """Play the collected tasks with random help; resumes with the missing episodes."""
    from selfreg_gym.collection import collect

    c = run.config.collect
    run.manifest.note(env_spec=_env_spec(run))
    rollouts = collect(
        run.env_kwargs(),
        store=run.path / "rollouts.sqlite",
        tasks=range(c.tasks),
        episodes=c.episodes,
        help_probabilities=c.help_probabilities,
        seed=c.seed,
        workers=c.workers,
        num_envs=c.num_envs,
        progress=run.progress,
    )
    with rollouts:
        if not rollouts.is_complete:
            # The episodes that did get played are a biased sample: nothing may be fitted to them.
            raise StoreError(
                f"{len(rollouts.missing())} of {c.tasks * c.episodes} planned episodes ended in errors, so the "
                "collection is not whole. Repair what failed (Rollouts.failures() lists it) and run again; only the "
                "missing ones are played."
            )
        return {"episodes": rollouts.count()}


def train_prm(run: Run) -> dict[str, Any]:
    """Train p(success | observation), and beside it the bag of words that it has to beat."""
    from selfreg_gym.dataset import Rollouts
    from selfreg_gym.prm import BagOfWords, ProcessRewardModel

    c = run.config.prm
    common = {"targets": c.targets, "seed": c.seed, "share": c.share, "max_states": c.max_states or None}
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("train-prm", "prm") as out:
        model = ProcessRewardModel.train(
            rollouts,
            backbone=c.backbone,
            epochs=c.epochs,
            lora=c.lora_rank or None,
            **_training(c),
            resume=run.partial("train-prm") / "training",
            progress=run.progress,
            **common,
        )
        model.info["run"] = _about(run)
        model.save_pretrained(out)
        floor = BagOfWords.train(rollouts, **common).held_out
        (out / "floor.json").write_text(json.dumps({"bag_of_words": floor}, indent=1) + "\n")
    measured = model.calibration()
    figures = {name: measured.get(name) for name in ("auc", "ece", "brier")}
    return {**figures, "auc of a bag of words": floor.get("auc") if floor else None}


def _training(c: TrainingConfig) -> dict[str, Any]:
    """What the trainings of both models take alike."""
    return {
        "lr": c.lr or None,
        "batch_size": c.batch_size,
        "accumulate": c.accumulate,
        "patience": c.patience or None,
        "dtype": c.dtype,
        "device": c.device,
    }


def _about(run: Run) -> dict[str, Any]:
    """What a model card says of the run that made the model."""
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
    """Turn counts into P(s' | s, a)."""
    from selfreg_gym.dataset import Rollouts
    from selfreg_gym.transitions import TransitionModel

    c = run.config.model
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("fit", "transitions.npz") as out:
        model = TransitionModel.fit(
            rollouts,
            key=c.key,
            backoff=c.backoff or None,
            prior=c.prior,
            min_visits=c.min_visits,
            horizon=c.horizon or None,
        )
        model.save(out)
        return {"states": model.n, **model.coverage()}


def solve(run: Run) -> dict[str, Any]:
    """Find the whole frontier of success against usage, to a certified gap."""
    from selfreg_gym.solver import solve_frontier
    from selfreg_gym.transitions import TransitionModel

    model = TransitionModel.load(run.path / "transitions.npz")
    frontier = solve_frontier(model, gap=run.config.solve.gap)
    with run.writing("solve", "solution.npz") as out:
        frontier.save(out)
    return {"points": len(frontier.usage), "gap": float(frontier.gap)}


def label_states(run: Run) -> dict[str, Any]:
    """Say for each collected state and budget what the solution does there."""
    from selfreg_gym.dataset import Rollouts
    from selfreg_gym.labels import label
    from selfreg_gym.solver import Frontier
    from selfreg_gym.transitions import TransitionModel

    c = run.config.label
    model = TransitionModel.load(run.path / "transitions.npz")
    frontier = Frontier.load(run.path / "solution.npz", model)
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("label", "labels.jsonl") as out:
        labels = label(rollouts, frontier, model=model, budgets=c.budgets, scope=c.scope)
        labels.save(out)
        return {"labels": len(labels), "help": sum(one.action > 0 for one in labels) / max(1, len(labels))}


def train_helper(run: Run) -> dict[str, Any]:
    """Fine-tune the language model that will be deployed."""
    from selfreg_gym.labels import Labels

    c = run.config.helper
    with run.writing("train-helper", "helper") as out:
        helper = registry.load("helpers", "lm").train(
            Labels.load(run.path / "labels.jsonl"),
            backbone=c.backbone,
            epochs=c.epochs,
            lora=c.lora_rank,
            **_training(c),
            seed=c.seed,
            max_labels=c.max_labels or None,
            help_weight=c.help_weight,
            interventions=len(run.config.interventions.ids),
            resume=run.partial("train-helper") / "training",
            progress=run.progress,
        )
        helper.info["run"] = _about(run)
        helper.save_pretrained(out)
    return {"steps": helper.info["steps"], "trained on": helper.info["trained_on"]}


def calibrate_helpers(run: Run) -> dict[str, Any]:
    """Find, for each helper and budget, the knob at which fresh training episodes use what the budget allows.

    A helper that reads text is calibrated on training tasks which nothing was collected on: on those it was trained on
    it may spend what it would not spend elsewhere. One whose table names the tasks (``knows_tasks``) knows no others.
    """
    from selfreg_gym.calibration import calibrate_many

    c = run.config.calibrate
    requests: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for name in helper_names(run):
        for budget, helper in build(run, name).items():
            if budget is not None and hasattr(helper, "with_knob"):
                requests[bool(getattr(helper, "knows_tasks", False))][key_of(name, budget)] = (helper, budget)
    collected = run.config.collect.tasks
    found: dict[str, Any] = {}
    for known, part in requests.items():
        # More workers than helpers would only load models for nothing.
        found |= calibrate_many(
            part,
            run.env_kwargs(),
            tasks=range(min(c.tasks, collected)) if known else range(collected, collected + c.tasks),
            episodes=c.episodes,
            seed=c.seed,
            workers=min(c.workers, len({id(helper) for helper, _ in part.values()}) or 1),
            num_envs=c.num_envs,
            progress=lambda key: run.say(f"    {key} calibrated"),
        )
    with run.writing("calibrate", "calibration.json") as out:
        out.write_text(json.dumps({key: helper.calibration for key, helper in found.items()}, indent=1) + "\n")
    return {"points": len(found), "met": sum(helper.calibration["met"] for helper in found.values())}


def evaluate_helpers(run: Run) -> dict[str, Any]:
    """Let every helper play the same fresh episodes of every split. Finished splits survive an interruption."""
    from selfreg_gym.evaluation import Evaluation

    calibrations = json.loads((run.path / "calibration.json").read_text())
    parts = []
    for split in run.config.task.splits:
        part = run.partial("evaluate") / f"{split}.json"
        if not part.exists():
            _play_split(run, split, calibrations).save(part)
        parts.append(Evaluation.load(part))
    evaluation = Evaluation.merge(*parts)
    with run.writing("evaluate", "evaluation.json") as out:
        evaluation.save(out)
    return {"rows": len(evaluation.rows)}


def _play_split(run: Run, split: str, calibrations: dict[str, Any]) -> Any:
    """Evaluate every helper on one split, in one call: what the actor remembers of a task serves them all."""
    from selfreg_gym.calibration import apply_calibration
    from selfreg_gym.evaluation import evaluate
    from selfreg_gym.prm import ProcessRewardModel

    c = run.config.evaluate
    # The collected tasks may be fewer: more episodes of each then, so that rows of all splits rest on as many.
    tasks = min(c.tasks, run.config.collect.tasks) if split == "collected" else c.tasks
    helpers: dict[str, Any] = {}
    episodes: dict[str, int] = {}
    for name in helper_names(run):
        each = c.episodes if name in c.decisive else c.episodes_others
        for budget, helper in build(run, name).items() if each else ():
            key = key_of(name, budget)
            helpers[key] = apply_calibration(helper, calibrations[key]) if key in calibrations else helper
            episodes[key] = -(-each * c.tasks // tasks)
    return evaluate(
        run.env_kwargs(split),
        helpers,
        tasks=range(tasks),
        episodes=episodes,
        seed=c.seed,
        split=split,
        traces=1,
        prm=ProcessRewardModel.from_pretrained(run.path / "prm"),
        workers=c.workers,
        num_envs=c.num_envs,
        progress=run.progress,
        warn=False,
    )


def write_report(run: Run) -> dict[str, Any]:
    """Write report.html and plots/."""
    from selfreg_gym.report import write_report as write

    write(run.path)
    return {}


def _env_spec(run: Run) -> dict[str, Any] | None:
    """The env as Gymnasium's ``spec.to_json()`` says it."""
    import gymnasium as gym

    env = gym.make("selfreg/Intervention-v0", **run.env_kwargs())
    try:
        return json.loads(env.spec.to_json()) if env.spec is not None else None
    finally:
        env.close()


def _actors(run: Run) -> dict[str, str]:
    return some_models(run, "actor", "intervention")


def _compared(run: Run) -> dict[str, Any]:
    return {"models": _actors(run), "helpers": sources(run)}


STAGES = (
    Stage(
        "collect",
        collect_rollouts,
        (),
        ("rollouts.sqlite",),
        ("task", "actor", "interventions", "collect"),
        in_place=True,
        more=_actors,
    ),
    Stage("train-prm", train_prm, ("rollouts.sqlite",), ("prm",), ("prm",), more=lambda run: some_models(run, "prm")),
    Stage("fit", fit, ("rollouts.sqlite",), ("transitions.npz",), ("model",)),
    Stage("solve", solve, ("transitions.npz",), ("solution.npz",), ("solve",)),
    Stage("label", label_states, ("rollouts.sqlite", "transitions.npz", "solution.npz"), ("labels.jsonl",), ("label",)),
    Stage(
        "train-helper",
        train_helper,
        ("labels.jsonl",),
        ("helper",),
        ("helper",),
        more=lambda run: some_models(run, "helper"),
    ),
    Stage(
        "calibrate",
        calibrate_helpers,
        ("rollouts.sqlite", "prm", "transitions.npz", "solution.npz", "helper"),
        ("calibration.json",),
        ("calibrate", "evaluate"),
        more=_compared,
    ),
    Stage(
        "evaluate",
        evaluate_helpers,
        ("rollouts.sqlite", "prm", "transitions.npz", "solution.npz", "helper", "calibration.json"),
        ("evaluation.json",),
        ("task", "evaluate"),
        more=_compared,
    ),
    Stage("report", write_report, ("evaluation.json", "prm"), ("report.html", "plots"), ()),
)
