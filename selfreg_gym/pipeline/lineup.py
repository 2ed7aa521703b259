"""Who is compared: every helper at every budget, built from a run's artifacts and set to spend what it should.

A helper takes part by being registered. ``from_run(path, budget=, seed=)``, if it has one, builds it from what the run
has made; a helper with a knob is calibrated to each budget; one that has neither is compared as it is.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import UnknownNameError
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint

__all__ = ["build", "helper_names", "key_of", "sources"]


def helper_names(run: Run) -> list[str]:
    """Ids of the helpers that this run compares: those of the config, else every registered one.

    Raises:
        UnknownNameError: the config names one that does not exist.
    """
    known = registry.names("helpers")
    chosen = run.config.evaluate.helpers or tuple(known)
    for name in chosen:
        if name not in known:
            raise UnknownNameError("helper", name, known)
    return list(chosen)


def key_of(name: str, budget: float | None) -> str:
    """``"lm@1"``: the point of a helper's curve at a budget; the name alone for a helper without one."""
    return name if budget is None else f"{name}@{budget:g}"


def build(run: Run, name: str) -> dict[float | None, Any]:
    """Build one helper for every budget it is compared at; ``{None: helper}`` if a budget means nothing to it.

    One object serves all budgets unless the helper takes the budget in, so that calibration can share its probes.
    """
    helper_class = registry.load("helpers", name)
    c = run.config.evaluate
    budgets: tuple[float | None, ...] = c.budgets if name in c.decisive else c.budgets_others
    from_run = getattr(helper_class, "from_run", None)
    if budgets and from_run and getattr(helper_class, "takes_budget", False):
        first = from_run(run.path, budget=budgets[0], seed=c.seed)
        if hasattr(first, "with_budget"):  # one model for all of them: a big one fits its GPU once
            return {budget: first.with_budget(budget) for budget in budgets}
        return {budget: from_run(run.path, budget=budget, seed=c.seed) for budget in budgets}
    helper = from_run(run.path, budget=None, seed=c.seed) if from_run else helper_class()
    return dict.fromkeys(budgets, helper) if hasattr(helper, "with_knob") else {None: helper}


def sources(run: Run) -> dict[str, str]:
    """Fingerprint of the file of every helper that is compared, so that an edited helper is measured again."""
    modules = {entry.name: entry.module for entry in registry.describe("helpers")}
    found = {}
    for name in helper_names(run):
        spec = importlib.util.find_spec(modules[name])
        path = Path(spec.origin) if spec is not None and spec.origin else None
        found[name] = fingerprint(path) if path is not None and path.is_file() else modules[name]
    return found
