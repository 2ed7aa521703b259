"""The compared helpers of a run, built from its artifacts at every budget, and which of them can be selected.

Every registered helper takes part, or those of ``evaluate.helpers``. :class:`~selfreg_gym.helper.Helper` documents
``from_run``, which builds it; a helper with a knob is calibrated to each budget, and one without is compared as it is.

With several interventions, a helper that always asks the same one (``asks_one``) is compared once for each of them:
``every-k:expert@1``. The upper reference (``always``) of the most expensive intervention keeps its plain name, because
it is the upper end of the usage axis; the others are ``always:NAME``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfreg_gym import registry
from selfreg_gym.adapters import as_helper, as_helper_class
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, UnknownNameError
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.intervention_env.interventions import build_interventions
from selfreg_gym.pipeline.config_sections import EvaluateConfig
from selfreg_gym.pipeline.directory import Run
from selfreg_gym.pipeline.manifest import fingerprint
from selfreg_gym.types import optional_member

__all__ = [
    "build", "build_helper", "errors_named", "helper_class", "helper_names", "interventions_of", "is_candidate",
    "is_decisive", "share_model", "sources", "upper_arguments",
]  # fmt: skip


def helper_class(name: str) -> type[Helper]:
    """Return the class of a registered helper."""
    return as_helper_class(registry.load("helpers", name))


@contextmanager
def errors_named(name: str, kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Name the helper in the errors of its constructor, or of ``from_run``."""
    try:
        yield
    except OSError:
        raise
    except UnknownNameError as error:
        raise InvalidArgumentError(f"the helper {name!r} cannot be built: {error}") from error
    except SelfRegError as error:
        raise type(error)(f"the helper {name!r} cannot be built: {error}") from error
    except Exception as error:  # the constructor of a plug-in may raise anything
        raise InvalidArgumentError(
            f"the helper {name!r} cannot be built with the arguments {dict(kwargs)}: {type(error).__name__}: {error}."
        ) from error


def helper_names(run: Run) -> list[str]:
    """Return the ids of the compared helpers.

    Without ``evaluate.helpers`` they are the registered ones, apart from those for which the run lacks something
    (``Helper.made_in``), such as a server or a training.

    Raises:
        UnknownNameError: the config names a helper that does not exist.
    """
    known = registry.names("helpers")
    chosen = run.config.evaluate.helpers or tuple(name for name in known if helper_class(name).made_in(run.path))
    for name in chosen:
        if name not in known:
            raise UnknownNameError("helper", name, known)
    return list(chosen)


def is_decisive(name: str, config: EvaluateConfig) -> bool:
    """Return whether a helper (``"lm"``, ``"every-k:expert"``) is measured at every budget with all episodes."""
    helper = HelperKey(name).helper_id
    if config.decisive:
        return helper in config.decisive
    return not helper_class(helper).minor if config.minor is None else helper not in config.minor


def is_candidate(name: str) -> bool:
    """Whether a helper can be deployed on new tasks, and is not a minor one."""
    kind = helper_class(name)
    return kind.role == "deployable" and kind.reference is None and not (kind.minor or kind.knows_tasks)


def interventions_of(run: Run) -> tuple[tuple[str, float], ...]:
    """Return ``(name, cost units per call)`` of each intervention, as recorded when the rollouts were collected."""
    recorded = run.manifest.data.get("interventions")
    if recorded is None:  # collected by an earlier version
        kwargs = run.env_kwargs()
        built = build_interventions(kwargs["interventions"], kwargs.get("intervention_kwargs"))
        recorded = [{"name": one.name, "cost": one.cost} for one in built]
    return tuple((one["name"], float(one["cost"])) for one in recorded)


def build(run: Run, *, knobs_only: bool = False, names: Sequence[str] | None = None) -> dict[HelperKey, Helper]:
    """Build every helper at every budget; a helper without a knob and without ``takes_budget`` has no budget.

    Objects are shared, so that what was computed for one helper is cached for the others: a helper that does not take
    the budget is one object for all budgets, ``Helper.for_budgets`` shares a model, and all helpers that score with the
    run's process reward model share it.

    Args:
        run: the run.
        knobs_only: leave out helpers without a knob.
        names: ids of helpers; None: all that are compared.
    """
    models: dict[Path, Any] = {}
    found: dict[HelperKey, Helper] = {}
    for name in helper_names(run) if names is None else names:
        if knobs_only and not helper_class(name).has_knob:
            continue
        for variant, kwargs in _variants(run, name):
            for budget, helper in _build_one(run, name, kwargs).items():
                share_model(helper, models)
                found[HelperKey(variant, budget)] = helper
    return found


def share_model(helper: Helper, models: dict[Path, Any]) -> None:
    """Give the helper the process reward model in ``models`` that was loaded from the same folder, or add its own.

    So one model is in memory, and its scores are computed once for all helpers.
    """
    source = optional_member(helper.prm, "source")
    if source is not None:
        helper.prm = models.setdefault(source, helper.prm)


def _variants(run: Run, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The names under which a helper is compared, each with its arguments: one per intervention if it asks one."""
    kwargs = dict(run.config.evaluate.kwargs.get(name, {}))
    kind = helper_class(name)
    if len(run.config.interventions.ids) == 1 or not kind.asks_one or "intervention" in kwargs:
        return [(name, kwargs)]
    interventions = interventions_of(run)
    most_expensive = _most_expensive(run)
    found: dict[str, dict[str, Any]] = {}
    for number, (intervention, _) in enumerate(interventions, 1):
        suffix = re.sub(r"[@#:\s\x00-\x1f]+", "-", intervention)
        variant = name if kind.reference == "upper" and intervention == most_expensive else f"{name}:{suffix}"
        found[variant if variant not in found else f"{variant}-{number}"] = {**kwargs, "intervention": intervention}
    return list(found.items())


def _most_expensive(run: Run) -> str:
    """The name of the intervention with the largest cost, the first of several."""
    return max(interventions_of(run), key=lambda one: one[1])[0]


def upper_arguments(run: Run, name: str) -> dict[str, Any]:
    """The arguments of the upper reference, which asks the most expensive intervention; none for other helpers."""
    several = len(run.config.interventions.ids) > 1
    return {"intervention": _most_expensive(run)} if several and helper_class(name).reference == "upper" else {}


def _build_one(run: Run, name: str, kwargs: dict[str, Any]) -> dict[float | None, Helper]:
    """Budget -> helper, at the budgets of the config."""
    c = run.config.evaluate
    return build_helper(run, name, c.budgets if is_decisive(name, c) else c.budgets_others, **kwargs)


def build_helper(run: Run, name: str, budgets: Sequence[float], **kwargs: Any) -> dict[float | None, Helper]:
    """Build one helper at every budget: budget -> helper.

    A helper without a knob and without ``takes_budget`` has the budget None. One that does not take the budget is the
    same object for all budgets, and ``Helper.for_budgets`` shares a model.

    Args:
        run: the run whose artifacts it reads.
        name: its id.
        budgets: cost units per episode.
        **kwargs: its arguments.

    Raises:
        SelfRegError: the class of the helper's own error, with the name of the helper in the message.
    """
    kind, c = helper_class(name), run.config.evaluate

    def from_run(budget: float | None) -> Helper:
        helper = kind.from_run(run.path, budget=budget, seed=c.seed, **kwargs)
        return as_helper(helper, what="the result of from_run")

    with errors_named(name, kwargs):
        if not kind.overrides("from_run"):
            helper = kind(**kwargs)
        elif not kind.takes_budget:
            helper = from_run(None)
        else:
            built: dict[float | None, Helper] = {}
            for budget in budgets:
                built[budget] = from_run(budget)
                if len(built) == 1 and (together := built[budget].for_budgets(budgets)):
                    return {budget: together[budget] for budget in budgets}
            return built
    return dict.fromkeys(budgets, helper) if kind.has_knob else {None: helper}


def sources(run: Run) -> dict[str, str]:
    """Return the SHA-256 of the file of every compared helper, so that an edited helper is evaluated again."""
    modules = {entry.name: entry.module for entry in registry.describe("helpers")}
    found = {}
    for name in helper_names(run):
        spec = importlib.util.find_spec(modules[name])
        path = Path(spec.origin) if spec is not None and spec.origin else None
        found[name] = fingerprint(path) if path is not None and path.is_file() else modules[name]
    return found
