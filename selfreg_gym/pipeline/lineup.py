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

    A helper that needs what not every run makes (a learner of its own, a server) says by ``made_in(run)`` whether it
    is there; without it, it takes part only where the config names it.

    Raises:
        UnknownNameError: the config names one that does not exist.
    """
    known = registry.names("helpers")
    chosen = run.config.evaluate.helpers or tuple(
        name for name in known if getattr(registry.load("helpers", name), "made_in", _always)(run.path)
    )
    for name in chosen:
        if name not in known:
            raise UnknownNameError("helper", name, known)
    return list(chosen)


def _always(run: Path) -> bool:
    return True


def key_of(name: str, budget: float | None) -> str:
    """``"lm@1"``: the point of a helper's curve at a budget; the name alone for a helper without one."""
    return name if budget is None else f"{name}@{budget:g}"


def build(run: Run, *, knobs_only: bool = False) -> dict[str, dict[float | None, Any]]:
    """Build every helper for every budget it is compared at; ``{None: helper}`` if a budget means nothing to it.

    ``knobs_only`` leaves out those that there is nothing to calibrate of.

    What can be shared is one object, so that what is read for one helper is remembered for the others: one helper
    serves all budgets unless it takes the budget in, a helper with ``for_budgets`` makes its own for all budgets, and
    those that score with the run's process reward model score with one.
    """
    models: dict[Path, Any] = {}
    found: dict[str, dict[float | None, Any]] = {}
    for name in helper_names(run):
        if knobs_only and not hasattr(registry.load("helpers", name), "with_knob"):
            continue
        found[name] = _build_one(run, name)
        for helper in found[name].values():
            source = getattr(getattr(helper, "prm", None), "source", None)
            if source is not None:
                helper.prm = models.setdefault(source, helper.prm)
    return found


def _build_one(run: Run, name: str) -> dict[float | None, Any]:
    helper_class = registry.load("helpers", name)
    c = run.config.evaluate
    budgets: tuple[float | None, ...] = c.budgets if name in c.decisive else c.budgets_others
    from_run = getattr(helper_class, "from_run", None)
    kwargs = c.kwargs.get(name, {})
    if from_run and getattr(helper_class, "takes_budget", False):
        if budgets and hasattr(helper_class, "for_budgets"):
            return from_run(run.path, budget=budgets[0], seed=c.seed, **kwargs).for_budgets(budgets)
        return {budget: from_run(run.path, budget=budget, seed=c.seed, **kwargs) for budget in budgets}
    helper = from_run(run.path, budget=None, seed=c.seed, **kwargs) if from_run else helper_class(**kwargs)
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
