"""The compared helpers: each at every budget, built from a run's artifacts and named by a key.

A helper takes part by being registered. ``from_run(path, budget=, seed=)``, if it has one, builds it from what the run
has made; a helper with a knob is calibrated to each budget; one that has neither is compared as it is.

With several interventions, a helper that always asks the same one (class attribute ``asks_one``, and an argument
``intervention``) is compared once for each of them: ``every-k:expert@1``. ``always`` asks the most expensive one, since
no helper can use more: it is the upper end of the usage axis and the anchor of shares of the gap. The others are
``always:NAME``.
"""

from __future__ import annotations

import importlib.util
import re
from functools import partial
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper_class
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, UnknownNameError
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.building import build_interventions
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint
from selfreg_gym.pipeline.schema import EvaluateConfig

__all__ = ["build", "helper_names", "interventions_of", "is_decisive", "key_of", "sources"]


def helper_names(run: Run) -> list[str]:
    """Ids of the helpers that this run compares: those of the config, else every registered one.

    A helper that needs what not every run makes (a learner of its own, a server) says by ``made_in(run)`` whether it
    is there; without it, it takes part only where the config names it.

    Raises:
        UnknownNameError: the config names one that does not exist.
    """
    known = registry.names("helpers")
    chosen = run.config.evaluate.helpers or tuple(
        name for name in known if as_helper_class(registry.load("helpers", name)).made_in(run.path)
    )
    for name in chosen:
        if name not in known:
            raise UnknownNameError("helper", name, known)
    return list(chosen)


def key_of(name: str, budget: float | None) -> str:
    """``"lm@1"``: the point of a helper's curve at a budget; the name alone for a helper without one."""
    return name if budget is None else f"{name}@{budget:g}"


def is_decisive(name: str, config: EvaluateConfig) -> bool:
    """Whether a compared helper (``"lm"``, ``"every-k:expert"``) is measured at every budget with all episodes."""
    helper = name.partition(":")[0]
    return helper in config.decisive if config.decisive else helper not in config.minor


def interventions_of(run: Run) -> tuple[tuple[str, float], ...]:
    """``(name, cost units of a call)`` of each intervention of the run, as its collection noted them."""
    noted = run.manifest.data.get("interventions")
    if noted is None:  # collected by an earlier version
        kwargs = run.env_kwargs()
        built = build_interventions(kwargs["interventions"], kwargs.get("intervention_kwargs"))
        noted = [{"name": one.name, "cost": one.cost} for one in built]
    return tuple((one["name"], float(one["cost"])) for one in noted)


def build(run: Run, *, knobs_only: bool = False) -> dict[str, dict[float | None, Helper]]:
    """Build every helper for every budget it is compared at; ``{None: helper}`` if a budget means nothing to it.

    ``knobs_only`` leaves out those without a knob to calibrate.

    What can be shared is one object, so that what is read for one helper is remembered for the others: one helper
    serves all budgets unless it takes the budget in, a helper with ``for_budgets`` makes its own for all budgets, and
    those that score with the run's process reward model score with one.
    """
    models: dict[Path, Any] = {}
    found: dict[str, dict[float | None, Helper]] = {}
    for name in helper_names(run):
        if knobs_only and not as_helper_class(registry.load("helpers", name)).has_knob:
            continue
        for shown, kwargs in _variants(run, name):
            found[shown] = _build_one(run, name, kwargs)
            for helper in found[shown].values():
                source = getattr(helper.prm, "source", None)
                if source is not None:
                    helper.prm = models.setdefault(source, helper.prm)
    return found


def _variants(run: Run, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The names under which a helper is compared, each with its arguments: one per intervention where it asks one."""
    kwargs = dict(run.config.evaluate.kwargs.get(name, {}))
    several = len(run.config.interventions.ids) > 1
    asks_one = as_helper_class(registry.load("helpers", name)).asks_one
    if not several or not asks_one or "intervention" in kwargs:
        return [(name, kwargs)]
    people = interventions_of(run)
    most = max(people, key=lambda one: one[1])[0]
    found: dict[str, dict[str, Any]] = {}
    for number, (asked, _) in enumerate(people, 1):
        told = re.sub(r"[@#:\s\x00-\x1f]+", "-", asked)
        shown = name if name == "always" and asked == most else f"{name}:{told}"
        found[shown if shown not in found else f"{shown}-{number}"] = {**kwargs, "intervention": asked}
    return list(found.items())


def _build_one(run: Run, name: str, kwargs: dict[str, Any]) -> dict[float | None, Helper]:
    helper_class = as_helper_class(registry.load("helpers", name))
    c = run.config.evaluate
    budgets = c.budgets if is_decisive(name, c) else c.budgets_others
    from_run = partial(helper_class.from_run, run.path, seed=c.seed, **kwargs)
    try:
        if not helper_class.overrides("from_run"):
            helper = helper_class(**kwargs)
        elif not helper_class.takes_budget:
            helper = from_run(budget=None)
        else:
            built: dict[float | None, Helper] = {}
            for budget in budgets:
                built[budget] = from_run(budget=budget)
                if len(built) == 1 and (together := built[budget].for_budgets(budgets)):
                    return dict(together)
            return built
    except (SelfRegError, OSError) as error:
        error.add_note(f"(while the helper {name!r} was made)")
        raise
    except Exception as error:
        raise InvalidArgumentError(
            f"the helper {name!r} could not be made with the arguments {kwargs}: {type(error).__name__}: {error}."
        ) from error
    return dict.fromkeys(budgets, helper) if helper_class.has_knob else {None: helper}


def sources(run: Run) -> dict[str, str]:
    """Fingerprint of the file of every helper that is compared, so that an edited helper is measured again."""
    modules = {entry.name: entry.module for entry in registry.describe("helpers")}
    found = {}
    for name in helper_names(run):
        spec = importlib.util.find_spec(modules[name])
        path = Path(spec.origin) if spec is not None and spec.origin else None
        found[name] = fingerprint(path) if path is not None and path.is_file() else modules[name]
    return found
