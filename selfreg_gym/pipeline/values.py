"""The stage ``fit-values``: fitted values of the rollouts, and the helpers that are made from them.

It writes the folder ``values/``. Its folder ``teacher/`` has the fitted frontier, and each helper with
``Helper.of_values`` has a folder with its id as name. A minor helper is made only if ``evaluate.helpers`` names it.

With ``values.cap``, a second frontier is fitted under hard caps, and helpers with ``Helper.takes_cap`` follow it. All
other helpers, also the trained one, learn from the frontier without caps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.pipeline.candidates import helper_class, interventions_of
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.store.rollouts import Rollouts

if TYPE_CHECKING:
    from selfreg_gym.fitted import FittedFrontier

__all__ = ["fit_settings", "fit_values", "known_inputs", "named_helpers", "read_models"]


def read_models(config: RunConfig) -> tuple[str, ...]:
    """Names of the files that the stage reads besides the rollouts: ``prm`` if an input needs it."""
    c = config.values
    return ("prm",) if "prm" in c.inputs or ("embedding" in c.inputs and c.backbone == "prm") else ()


def fit_settings(config: RunConfig) -> dict[str, Any]:
    """The arguments of :func:`selfreg_gym.solve_fitted` that the section ``values`` sets for every fit."""
    c = config.values
    return {
        "prices": c.prices, "folds": c.folds, "members": c.members, "hidden": c.hidden, "rounds": c.rounds,
        "seed": c.seed,
    }  # fmt: skip


def fit_values(run: Run) -> dict[str, Any]:
    """Fit success and usage at all prices, and train the helpers that follow the fitted values or learn from them."""
    c = run.config.values
    made, left_out, warnings = [], [], []
    kinds = _helper_kinds(run)
    with Rollouts.open(run.path / "rollouts.sqlite") as rollouts, run.writing("fit-values", "values") as out:
        inputs = c.inputs or known_inputs(rollouts)
        teacher = _fitted(run, rollouts, inputs)
        teacher.save(out / "teacher")
        capped = None
        if c.cap and any(kind.takes_cap for kind in kinds.values()):
            capped = _fitted(run, rollouts, inputs, cap=c.cap)
        costs = [cost for _, cost in interventions_of(run)]
        options: dict[str, Any] = {"costs": costs, "seed": c.seed, "progress": run.progress}
        for name, kind in kinds.items():
            try:
                if capped is not None and kind.takes_cap:
                    helper = kind.train(rollouts, capped, cap=c.cap, **options)
                else:
                    helper = kind.train(rollouts, teacher, **options)
            except InvalidArgumentError as error:  # the rollouts lack an input of this helper
                left_out.append(name)
                if name in run.config.evaluate.helpers:
                    warnings.append(f"the helper {name!r} is not made: {error}")
                continue
            helper.save_pretrained(out / name)
            made.append(name)
    ends = teacher.rows()
    return {
        "inputs": ", ".join(inputs),
        "helpers": ", ".join(made),
        **({"hard cap on calls": c.cap} if capped is not None else {}),
        **({"left out (inputs are missing)": ", ".join(left_out)} if left_out else {}),
        "held-out success without help": next(row["success"] for row in ends if row["policy"] == "never"),
        "largest held-out success": max(row["success"] for row in ends),
        "warnings": [*teacher.warnings, *warnings],
    }


def named_helpers(run: Run) -> dict[str, Any]:
    """The minor helpers that the stage makes because the config names them, under the key ``helpers``; else empty."""
    found = sorted(name for name, kind in _helper_kinds(run).items() if kind.minor)
    return {"helpers": found} if found else {}


def _helper_kinds(run: Run) -> dict[str, Any]:
    """The classes of the helpers that the stage makes, by id."""
    kinds = {name: helper_class(name) for name in registry.names("helpers")}
    named = run.config.evaluate.helpers
    return {name: kind for name, kind in kinds.items() if kind.of_values and (not kind.minor or name in named)}


def _fitted(run: Run, rollouts: Rollouts, inputs: Sequence[str], *, cap: int | None = None) -> FittedFrontier:
    """The values of the rollouts; an interrupted fit continues."""
    from selfreg_gym.fitted import solve_fitted

    c = run.config.values
    return solve_fitted(
        rollouts,
        inputs=inputs,
        backbone=c.backbone,
        prm=run.path / "prm" if "prm" in read_models(run.config) else None,
        cap=cap,
        **fit_settings(run.config),
        folder=run.partial("fit-values") / ("iteration" if cap is None else "iteration-capped"),
        progress=run.progress,
    )


def known_inputs(rollouts: Any) -> tuple[str, ...]:
    """The inputs that the rollouts have: feature keys or vectors, steps left, and the actor's distribution.

    Without feature keys and vectors, an embedding of the text is added.
    """
    from selfreg_gym.inputs import DecisionTable

    table = DecisionTable.from_rollouts(rollouts)
    known = {
        "features": bool((table.feature_key.codes >= 0).any()) or table.feature_vector is not None,
        "steps_left": bool((table.steps_left >= 0).any()),
        "actor": table.actor_logprobs is not None and all(one is not None for one in table.actor_logprobs),
    }
    found = tuple(name for name, has in known.items() if has)
    return found if known["features"] else (*found, "embedding")
