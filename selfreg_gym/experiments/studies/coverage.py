"""Coverage: labels of all collected states or of the policy's own, and which decisive states random help visits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.label_training import train_on_labels
from selfreg_gym.experiments.occupancy import gain_in_success, node_average, occupancy
from selfreg_gym.experiments.plots import ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.tables import comparison_table, measure_of, share_of
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.helper import Helper, HelperKey
from selfreg_gym.labels import label
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.solver import Frontier, solve_frontier
from selfreg_gym.transitions import TransitionModel

__all__ = ["Coverage"]

SCOPES = {"all": "all-states", "trajectory": "trajectory-only"}
"""Scope of the labels -> name of the helper that is trained on them."""

TRAINED = "lm-sft"
"""The helper that is trained on the labels."""

BUDGETS = (1.0, 2.0)
EDGES = (0.02, 0.1, 0.3)
"""Limits between the classes of gain in success."""

GAINS = ("below 0.02", "0.02 to 0.1", "0.1 to 0.3", "above 0.3")
FEW = 3
"""A state is missed if nohelp, or help, was tried there less often."""


class Coverage(Experiment):
    """What the collection with random help covers, and what the choice of labelled states changes."""

    title = "Coverage: which states are labelled, and which decisive states are visited"
    question = """
The helper is trained on the actions of the optimal policy in collected states. *All states*: in every state that
random help visited. *Trajectory only*: in those states of each rollout that the optimal policy itself could have
reached, up to the first recorded action that is not its own. Both sets have the labels of the budgets 1 and 2. The
helpers are evaluated on the last split (new tasks).

Then the visits under random help are compared with the occupancy of the optimal policy (its expected visits per
episode), by the gain of help in success: few decisions are decisive. So that a state can be missing, model, policy
and gains come from the rollouts of the *other* seeds, which played the same tasks. A state is missed if nohelp, or
help, was tried there less than three times in the seed's own rollouts.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """References once; trained helpers and visits for each seed."""
        return Cell("references", shared=True), *(Cell(scope) for scope in SCOPES), Cell("visits", reads_others=True)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Train and evaluate a helper, or count visits."""
        splits = ends_of(trial.config)[-1:]
        if cell == "references":
            return trial.compare(["never", "always", "random"], splits=splits, budgets=BUDGETS, seeded=False)
        if cell == "visits":
            return self._visits(trial)
        run = trial.run("collect", "fit", "solve")
        model = TransitionModel.load(run.path / "transitions.npz")
        frontier = Frontier.load(run.path / "solution.npz", model)
        with trial.rollouts() as rollouts:
            labels = label(rollouts, frontier, model=model, budgets=BUDGETS, scope=cell)
        helper: Any = train_on_labels(trial, labels, helper=TRAINED, name=f"coverage-{cell}")
        helpers: dict[HelperKey, Helper] = {
            HelperKey(SCOPES[cell], budget, trial.seed): helper.with_budget(budget) for budget in BUDGETS
        }
        about = {
            "labels": len(labels),
            "texts": len(set(labels.observation.codes.tolist())),
            "help": float((labels.action > 0).mean()),
            **{name: helper.info.get(name) for name in ("trained_on", "steps")},
        }
        return {**trial.played(trial.calibrated(helpers), splits=splits), "labels": about}

    def _visits(self, trial: Trial) -> dict[str, Any]:
        """Visits by class of gain, with the model of the other seeds."""
        others = trial.others() or (trial,)
        model = TransitionModel.fit(_episodes(others))
        frontier = solve_frontier(model, gap=trial.config.solve.gap)
        with trial.rollouts() as rollouts:
            columns: dict[str, Any] = rollouts.columns(
                "state_key", "feature_key", "steps_left", "action", "help_probability", "t", decisions=True
            )
        state = _located(model, columns)
        node = np.where(state >= 0, state % model.nodes, -1)
        helped = columns["action"] > 0
        visits = np.stack(
            [np.bincount(node[(node >= 0) & chosen], minlength=model.nodes) for chosen in (~helped, helped)]
        )
        episodes = int((columns["t"] == 0).sum())
        found: dict[str, Any] = {"own": len(others) == 1 and others[0] is trial, "unknown": float((state < 0).mean())}
        for budget in BUDGETS:
            policy = frontier.policy(budget)
            mass = occupancy(model, policy)
            gain = np.average([gain_in_success(part) for part in policy.policies], axis=0, weights=policy.weights)
            by_node, mass_of_node = node_average(model, gain, mass)
            of_node = np.searchsorted(EDGES, by_node, side="right")
            of_visit = np.where(state >= 0, np.searchsorted(EDGES, gain[np.maximum(state, 0)], side="right"), -1)
            missed = visits.min(axis=0) < FEW
            rows = []
            for number, name in enumerate(GAINS):
                mine = of_node == number
                here = of_visit == number
                rows.append(
                    {
                        "gain": name,
                        "optimal": float(mass_of_node[mine].sum()),
                        "random": float(here.sum() / episodes),
                        "random_help": float((here & helped).sum() / episodes),
                        "missed": _ratio(mass_of_node[mine & missed].sum(), mass_of_node[mine].sum()),
                        "visits": _ratio((mass_of_node * visits.sum(axis=0))[mine].sum(), mass_of_node[mine].sum()),
                        "by_probability": _by_probability(here, columns),
                    }
                )
            worth = mass_of_node * np.maximum(by_node, 0.0)
            worst = [i for i in np.argsort(-worth * missed)[:5].tolist() if worth[i] * missed[i] > 0]
            found[f"{budget:g}"] = {
                "rows": rows,
                "missed_worth": _ratio((worth * missed).sum(), worth.sum()),
                "states": [
                    {
                        "state": str(model.keys[i]) if model.keys is not None else str(i),
                        "optimal": float(mass_of_node[i]),
                        "gain": float(by_node[i]),
                        "nohelp": int(visits[0, i]),
                        "help": int(visits[1, i]),
                    }
                    for i in worst
                ],
            }
        return found

    def findings(self, results: Results) -> Findings:
        """The trained helpers, and visits by gain."""
        splits = ends_of(results.config)[-1:]
        helpers = ["never", "always", "random", *SCOPES.values()]
        return Findings(
            statements=[*self._scope_statements(results, splits), *self._visit_statements(results)],
            tables=(
                comparison_table(results, splits=splits, helpers=helpers, budgets=BUDGETS),
                _label_table(results),
                _visit_table(results),
                _state_table(results),
            ),
            plots=[
                Plot("visits", "Visits per episode by gain in success; means over seeds (logarithmic).", _bars(results))
            ],
            published=[
                Published(
                    "success of a helper trained on all states, and on trajectories only (new tasks)",
                    "56 %, 43 %",
                    "; ".join(
                        "C = {:g}: {:.0f} %, {:.0f} %".format(
                            budget,
                            *(
                                100 * measure_of(results, splits[-1], name, budget, "success_rate").value
                                for name in SCOPES.values()
                            ),
                        )
                        for budget in BUDGETS
                    ),
                    "arXiv 2502.04576",
                )
            ],
        )

    def _scope_statements(self, results: Results, splits: Sequence[str]) -> Iterator[str]:
        for split in splits:
            texts = []
            for budget in BUDGETS:
                shares = [100 * share_of(results, split, name, budget).value for name in SCOPES.values()]
                texts.append("{:.0f} against {:.0f} % at C = {:g}".format(*shares, budget))
            yield (
                f"{split_title(results.config, split)}: labels in all states recover {', '.join(texts)} of the gap, "
                "compared with trajectories only."
            )

    def _visit_statements(self, results: Results) -> Iterator[str]:
        for budget in BUDGETS:
            last = [one[f"{budget:g}"]["rows"][-1] for one in results.of("visits")]
            optimal, random, missed = (
                float(np.mean([row[name] for row in last if row[name] is not None] or [np.nan]))
                for name in ("optimal", "random", "missed")
            )
            worth = results.values("visits", f"{budget:g}", "missed_worth").value
            yield (
                f"C = {budget:g}: the optimal policy meets {optimal:.2f} decisions per episode with a gain above 0.3, "
                f"and random help {random:.2f}; {100 * missed:.0f} % of the optimal policy's are in missed states. "
                f"Missed states hold {100 * worth:.0f} % of its gain in success."
            )


def _episodes(trials: Sequence[Trial]) -> Iterator[Any]:
    """The episodes of several trials."""
    for trial in trials:
        with trial.rollouts() as rollouts:
            rollouts.require_complete()
            yield from rollouts.episodes()


def _located(model: TransitionModel, columns: Mapping[str, Any]) -> np.ndarray:
    """``(T,)`` state of each decision in the model, -1 if it is unknown."""
    state, feature, left = columns["state_key"], columns["feature_key"], columns["steps_left"]
    keys = np.stack([state.codes, feature.codes, left], axis=1)
    distinct, group = np.unique(keys, axis=0, return_inverse=True)
    found = model.locate_many(
        [state.values[i] for i in distinct[:, 0].tolist()],
        [feature.values[i] if i >= 0 else None for i in distinct[:, 1].tolist()],
        [i if i >= 0 else None for i in distinct[:, 2].tolist()],
    )
    return found[group.reshape(-1)]


def _by_probability(here: np.ndarray, columns: Mapping[str, Any]) -> dict[str, float]:
    """Visits per episode of the decisions ``here (T,)``, by the help probability of the episode."""
    p, first = columns["help_probability"], columns["t"] == 0
    return {f"{value:g}": float((here & (p == value)).sum() / (first & (p == value)).sum()) for value in np.unique(p)}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _label_table(results: Results) -> Table:
    rows = []
    for scope, name in SCOPES.items():
        row: dict[str, Any] = {"helper": f"`{name}`"}
        for figure in ("labels", "texts", "help", "trained_on", "steps"):
            row[figure] = results.values(scope, "labels", figure).value
        rows.append(row)
    columns = (
        Column("helper", "helper"),
        Column("labels", "labels", digits=0),
        Column("texts", "distinct texts", digits=0),
        Column("help", "labels with help", "%", 0),
        Column("trained_on", "drawn labels", digits=0),
        Column("steps", "training steps", digits=0),
    )
    return Table("labels", "Labels", columns, rows, "Means over seeds.")


def _visit_table(results: Results) -> Table:
    rows = []
    for budget in BUDGETS:
        for number, name in enumerate(GAINS):
            row: dict[str, Any] = {"budget": budget, "gain": name}
            for figure in ("optimal", "random", "random_help", "visits", "missed"):
                row[figure] = results.values("visits", f"{budget:g}", "rows", number, figure)
            row["by_probability"] = [
                one[f"{budget:g}"]["rows"][number]["by_probability"] for one in results.of("visits")
            ]
            rows.append(row)
    columns = (
        Column("budget", "C", digits=1),
        Column("gain", "gain in success"),
        Column("optimal", "visits per episode, optimal policy", digits=3),
        Column("random", "visits per episode, random help", digits=3),
        Column("random_help", "of these with help", digits=3),
        Column("visits", "rollouts' visits of a state", digits=0),
        Column("missed", "in missed states", "%", 0),
    )
    note = (
        "The columns on states are weighted by the occupancy of the optimal policy. Visits by help probability are in "
        "results.json."
    )
    if any(one["own"] for one in results.of("visits")):
        note += " With one seed the model is fitted to the same rollouts, so no state of it is unvisited."
    return Table("visits", "Visits by gain in success", columns, rows, note)


def _state_table(results: Results) -> Table:
    rows = [
        {"budget": budget, "seed": number, **state}
        for budget in BUDGETS
        for number, one in enumerate(results.of("visits"))
        for state in one[f"{budget:g}"]["states"]
    ]
    columns = (
        Column("budget", "C", digits=1),
        Column("seed", "seed"),
        Column("state", "state or feature key"),
        Column("optimal", "visits per episode, optimal policy", digits=4),
        Column("gain", "gain in success"),
        Column("nohelp", "visits with nohelp"),
        Column("help", "visits with help"),
    )
    return Table(
        "missed_states", "Missed states with the largest gain", columns, rows,
        "The five missed states of each seed with the largest product of occupancy and gain.",
    )  # fmt: skip


def _bars(results: Results) -> Any:
    """Visits per episode by class of gain: optimal policy and random help."""
    from selfreg_gym.report.styles import PALETTE
    from selfreg_gym.report.svg import figure, style

    drawn, axes = figure(1, len(BUDGETS), size=(3.6 * len(BUDGETS) + 0.4, 3.2), sharey=True)
    with style():
        for axis, budget in zip(axes[0], BUDGETS, strict=True):
            for shift, (name, colour, text) in enumerate(
                (("optimal", "orange", "optimal policy"), ("random", "green", "random help"))
            ):
                heights = [
                    float(np.mean([one[f"{budget:g}"]["rows"][i][name] for one in results.of("visits")]))
                    for i in range(len(GAINS))
                ]
                axis.bar(np.arange(len(GAINS)) + 0.38 * shift, heights, 0.36, color=PALETTE[colour][0], label=text)
            axis.set_xticks(np.arange(len(GAINS)) + 0.19, GAINS, rotation=20)
            axis.set_yscale("log")
            axis.set_title(f"C = {budget:g}")
        axes[0, 0].set_ylabel("visits per episode")
        axes[0, -1].legend(loc="upper right")
    return drawn
