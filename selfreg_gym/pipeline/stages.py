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
from typing import Any

from selfreg_gym.errors import StoreError
from selfreg_gym.pipeline.candidates import helper_class, sources
from selfreg_gym.pipeline.checkpoints import some_models
from selfreg_gym.pipeline.comparison import calibrate_helpers, evaluate_helpers
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.execution import Stage
from selfreg_gym.pipeline.schema import RunConfig
from selfreg_gym.pipeline.selection import select_helper
from selfreg_gym.pipeline.training import train_helper, train_prm, train_rl
from selfreg_gym.pipeline.values import fit_values, named_helpers, read_models

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
        help_shares=c.help_shares or None,
        abort_probability=c.abort_probability,
        seed=c.seed,
        workers=c.workers,
        num_envs=c.num_envs,
        ask_actor_always=c.ask_actor_always,
        progress=run.progress,
    )
    with rollouts:
        if not rollouts.is_complete:
            failures = rollouts.failures()
            last = f" The last error: {failures[-1][1].rstrip('.')}." if failures else ""
            raise StoreError(
                f"a collection must be complete, because the episodes without errors are a biased sample, and "
                f"{len(rollouts.missing())} of {c.tasks * c.episodes} episodes ended in errors.{last} Remove the cause "
                "(Rollouts.failures() lists all errors) and run again; only the missing episodes are played."
            )
        return {"episodes": rollouts.count()}


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


def _learns_labels(config: RunConfig) -> bool:
    """Whether the trained helper of this config learns from labels."""
    return helper_class(config.helper.id).learns == "labels"


def _training_data(config: RunConfig) -> tuple[str, ...]:
    """The artifacts that the helper of this config is trained on, besides the rollouts."""
    if _learns_labels(config):
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
          more=lambda run: some_models(run, "values") | named_helpers(run)),
    Stage("label", label_states, ("rollouts.sqlite", "transitions.npz", "solution.npz"), ("labels.jsonl",), ("label",),
          needed=_learns_labels),
    Stage("train-helper", train_helper, ("rollouts.sqlite",), ("helper",), ("helper",), reads=_training_data,
          more=lambda run: some_models(run, "helper")),
    Stage("train-rl", train_rl, (), ("rl",), (*_ENV, "collect", "rl"), more=_actor_models),
    Stage("calibrate", calibrate_helpers, _MODELS, ("calibration.json",), ("calibrate", "evaluate"), more=_compared),
    Stage("select", select_helper, (*_MODELS, "calibration.json"), ("selection.json",), ("select", "evaluate"),
          more=_compared),
    Stage("evaluate", evaluate_helpers, (*_MODELS, "calibration.json"), ("evaluation.json",), ("task", "evaluate"),
          splits=True, more=_compared),
    Stage("report", write_report, ("evaluation.json", "calibration.json", "prm"), ("report.html", "plots"), (),
          reads=_selection, more=lambda run: run.config.task.titles),
)
# fmt: on
