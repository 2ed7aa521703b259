"""The sections of ``report.html``. A new section is a function here, listed in :func:`sections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from selfreg_gym.intervention_env.interventions import names_of
from selfreg_gym.report import plots, tables
from selfreg_gym.report.cells import DASH
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.kinds import kinds
from selfreg_gym.report.svg import export
from selfreg_gym.report.templating import macros
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import file_name, visible

__all__ = ["Section", "facts", "sections"]

TRACED_HELPERS = 5
"""At most this many helpers in the figure of one episode."""

TRACED_KINDS = 6
"""At most this many kinds of tasks with a figure of one episode."""


@dataclass(frozen=True)
class Section:
    """A section: its title, its parts (HTML), and a note above them. It is omitted if all parts are empty."""

    title: str
    parts: Sequence[str]
    note: str = ""


def sections(data: ReportData, plots_folder: Path) -> list[Section]:
    """All sections with content, from top to bottom.

    Args:
        data: the run's evaluation and its other records.
        plots_folder: folder for the PNG files; the report has the same figures as SVG.
    """
    found = [
        _success_and_usage(data, plots_folder),
        _shares(data),
        _usage_by_intervention(data, plots_folder),
        _selection(data),
        _expectations(data),
        _toggling(data, plots_folder),
        _process_reward_model(data, plots_folder),
        _kinds(data),
        _stages(data),
        _measurements(data),
        _glossary(data),
        _manifest(data),
    ]
    return [section for section in found if any(section.parts)]


def facts(data: ReportData) -> str:
    """One line below the headline: task, actor, interventions, sizes, date."""
    task, actor, collect = (data.section(name) for name in ("task", "actor", "collect"))
    given = names_of(list(map(str, data.section("interventions").get("ids", ()))))
    names = ", ".join(map(data.named, given))
    found = [f"{task['id']}, actor {actor['id']}"] if "id" in task and "id" in actor else []
    found += [f"help from {names}"] if names else []
    if "tasks" in collect and "episodes" in collect:
        found.append(f"{collect['tasks']} tasks collected, {collect['episodes']} episodes each")
    sizes = ", ".join(f"{len(data.evaluation.tables[split])} {split}" for split in data.splits)
    found.append(f"episodes per row: {sizes}")
    if data.manifest.get("created"):
        found.append(str(data.manifest["created"])[:10])
    return visible(" · ".join(found), limit=1000)


def _by_split(data: ReportData, table: Any, splits: Sequence[str] | None = None) -> list[str]:
    """The table of each split below the split's heading; empty tables are omitted."""
    found = []
    for split in data.splits if splits is None else splits:
        content = table(data, split)
        found += [macros.heading(data.title(split)), content] if content else []
    return found


def _folded(summary: str, content: str, is_open: bool = False) -> str:
    """The content below a line that opens it; empty without content."""
    return macros.details(summary, content, is_open) if content else ""


def _success_and_usage(data: ReportData, folder: Path) -> Section:
    yardsticks = [data.style(one) for split in data.splits for one in data.helpers(split)]
    names = dict.fromkeys(style.short for style in yardsticks if style.declared.role == "yardstick")
    caption = (
        "Measured points with 95 % intervals of U and SR; numbers are budgets C. A line is the upper hull of a "
        "helper's points: the success of a random choice, once per episode, between neighbouring points. The dotted "
        "line is the random choice between never and always; a helper below it is worse than this choice."
    )
    if names:
        caption += (
            f" {' and '.join(names)}: a yardstick with information that a deployed helper does not have; it cannot be "
            "used on new tasks."
        )
    title = "Success rate against usage, one panel per split"
    drawn = plots.success_and_usage(data)
    if len(drawn.axes) > len(data.splits):
        caption += " The lower panels enlarge the small usages of the upper ones."
    svg = export(drawn, folder / "success-against-usage.png", title=title)
    curves = _folded("Area under each curve, and the usage needed", tables.curves(data))
    return Section("Success against usage", [macros.figure(svg, caption), curves])


def _shares(data: ReportData) -> Section:
    return Section(
        "Share of the gap recovered",
        _by_split(data, tables.shares, [split for split in data.splits if data.has_gap(split)]),
        "(SR \N{MINUS SIGN} SR of never) / (SR of always \N{MINUS SIGN} SR of never), with its paired 95 % interval; U "
        f"is the usage ({data.unit} per episode). Last line: the share of random help at the same usage, and the "
        "paired difference Δ in percentage points, bold if its interval excludes zero; for random help, the share of a "
        "coin flip per episode between never and always. * U differs from C by more than 5 %, so both shares are "
        "interpolated at C, between the helper's points, never and always. ! Calibration did not meet C. "
        f"{DASH} Not evaluated at this budget.",
    )


def _usage_by_intervention(data: ReportData, folder: Path) -> Section:
    title = "Usage by intervention"
    found = _by_split(data, tables.usage_by_intervention) if len(data.interventions) > 1 else []
    if not found:
        return Section(title, [])
    label = "Usage of each intervention, one bar per helper and budget"
    svg = export(plots.usage_by_intervention(data), folder / "usage-by-intervention.png", title=label)
    unit = "one call costs one unit" if data.calls_are_units else "in small print, calls per episode"
    return Section(
        title,
        [macros.figure(svg, "Cost units per episode, by intervention. Vertical marks are the budgets C."), *found],
        f"Cost units per episode; {unit}.",
    )


def _selection(data: ReportData) -> Section:
    return Section(
        "Selection of a helper",
        [
            tables.validated_helpers(data),
            tables.selected_helpers(data),
            _folded("The knob of each helper", tables.selected_knobs(data)),
        ],
        f"{_validation(data)}Chosen in calibration: the helper with the highest success on the calibration episodes. "
        "The oracle chooses on the evaluated episodes, so its share is a maximum over noisy estimates and biased "
        "upwards; it bounds what a better choice could add. Helpers that know the collected tasks are excluded.",
    )


def _validation(data: ReportData) -> str:
    """What the table of validated helpers shows; empty without validation tasks."""
    if not data.validation_splits:
        return ""
    return (
        f"The helper of the headline is the one with the highest success at C on validation tasks "
        f"({', '.join(data.validation_splits)}), which are neither trained on nor evaluated; differences are paired. "
    )


def _expectations(data: ReportData) -> Section:
    missed = any(data.missed(row["key"]) for row in data.evaluation.summary_rows)
    return Section(
        "Expected and measured",
        [
            tables.expectations(data) or macros.note("No helper expects a usage or a success rate."),
            _folded("Usage in calibration and in the evaluation", tables.calibrations(data), missed),
        ],
        "E[U] and E[SR] are what a helper expects on the collected tasks: one that follows a solved table by the table "
        "itself (in-sample), one that follows fitted values by held-out estimates. U and SR are measured on new "
        "episodes. The differences show the accuracy of the expectations and may have either sign. U calibrated is the "
        "usage in calibration, on episodes of training tasks.",
    )


def _toggling(data: ReportData, folder: Path) -> Section:
    chosen = _choose_traces(data)
    longest = max((len(trace["steps"]) for group in chosen.values() for trace in group), default=1)
    several = len(data.interventions) > 1
    parts, split = [], ""
    for (split, kind), group in chosen.items():
        heading = f"Kind {visible(kind, limit=60)}" if kind else "One episode"
        figure = plots.traces(group, data, longest=longest)
        name = f"trace-{file_name(split)}-{file_name(kind or 'task')}.png"
        title = f"Steps with help in one episode{f' of kind {kind}' if kind else ''}, by helper"
        parts += [
            macros.heading(f"{heading}, {data.inline_title(split)}"),
            macros.figure(export(figure, folder / name, title=title)),
        ]
    if parts:
        names = ", ".join(f"{k} {name}" for k, name in enumerate(data.interventions, 1))
        sign = "its filled part grows with the number of" if longest > plots.NARROW else "the number is"
        number = f" ({sign} the intervention: {names})" if several else ""
        recorded = {trace["kind"] for trace in data.evaluation.traces if trace["split"] == split}
        few = len(recorded) > TRACED_KINDS
        only = f", for the {len(chosen)} of {len(recorded)} kinds with the most of them" if few else ""
        parts.append(
            macros.note(
                f"A square is a step, filled if help was given{number}; a cross marks an invalid action. The curve is "
                "p(s) before the step, from 0 to 1. All helpers play the same task with the same seed. Of the recorded "
                f"episodes, the one with the most changes between help and nohelp is shown{only}."
            )
        )
    counts = tables.toggles(data)
    if counts:
        parts += [
            macros.heading("Toggles at equal usage"),
            counts,
            macros.note(
                "A toggle is a return to help after a pause (help, nohelp, help), counted per episode. Threshold: help "
                "where p(s) is low. * The threshold has no point within 5 % of this usage: its toggles are "
                "interpolated between its two nearest points."
            ),
        ]
    return Section("Toggling", parts)


def _choose_traces(data: ReportData) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """By split and kind: one episode under each traced helper, at the budget nearest to 1.

    The split is the first with new tasks; the episode is the one with the most changes between help and nohelp. Of many
    kinds, those whose episodes have the most changes are shown.
    """
    traces, tables_ = data.evaluation.traces, data.evaluation.tables
    traced = {trace["split"] for trace in traces}
    order = sorted(data.splits, key=lambda split: tables_[split].fixed_tasks)
    first = next((split for split in order if split in traced), "")
    episodes: dict[tuple[str, int, int], dict[str, tuple[float, Mapping[str, Any]]]] = {}
    for trace in (trace for trace in traces if trace["split"] == first):
        key = data.identity(trace)
        if not data.style(key.name).traced:
            continue
        group = episodes.setdefault((trace["kind"], trace["task"], trace["seed"]), {})
        distance = abs((1.0 if key.budget is None else key.budget) - 1.0)
        if key.name not in group or distance < group[key.name][0]:
            group[key.name] = distance, trace
    best: dict[str, list[Mapping[str, Any]]] = {}
    for (kind, _, _), group in sorted(episodes.items(), key=lambda item: item[0][0]):
        found = [group[helper][1] for helper in sorted(group, key=lambda helper: data.style(helper).rank)]
        if kind not in best or _changes(found) > _changes(best[kind]):
            best[kind] = found
    shown = sorted(best, key=lambda kind: -_changes(best[kind]))[:TRACED_KINDS]
    return {(first, kind): found[:TRACED_HELPERS] for kind, found in best.items() if kind in shown}


def _changes(traces: Sequence[Mapping[str, Any]]) -> int:
    actions = ([step["action"] for step in trace["steps"]] for trace in traces)
    return sum(a != b for one in actions for a, b in pairwise(one))


def _process_reward_model(data: ReportData, folder: Path) -> Section:
    measured = {"Process reward model": data.prm.get("held_out"), "Bag of words (baseline)": data.bag_of_words}
    models = {name: table for name, table in measured.items() if table and table.get("mean")}
    if not models:
        return Section("Process reward model", [])
    svg = export(plots.reliability(models), folder / "reliability.png", title="Predicted and observed success")
    parts = [macros.figure(svg, "", True), tables.reliability(models)]
    tasks = data.prm.get("held_out_tasks")
    if tasks:
        rollouts = sum(tasks["rollouts"]) / len(tasks["rollouts"])
        parts += [
            macros.heading("Hard tasks"),
            tables.hard_task_counts(data),
            macros.note(
                f"Held-out tasks. Hard: the actor alone succeeds in less than x of the rollouts ({rollouts:.1f} per "
                "task). Flagged: p(s) at reset is below x. Of a mixture of two thresholds, x is the higher one."
            ),
        ]
    followed = "with the help of the collection" if data.prm.get("targets") == "mixture" else "without help"
    return Section(
        "Process reward model",
        parts,
        f"p(s) is the probability of success from state s {followed}, measured on held-out tasks. Bins have equal "
        "mass; bars are 95 % binomial intervals that treat decisions as independent, hence too narrow.",
    )


def _kinds(data: ReportData) -> Section:
    names = {row["kind"] for row in data.evaluation.rows}
    budget = data.headline_budget
    at = "" if budget is None else f", at C = {budget:g}; helpers without this budget are shown at their nearest one"
    return Section(
        "By kind of task",
        _by_split(data, kinds) if len(names) > 2 else [],  # "all" and a single kind are the same
        f"Success rate, and usage in {data.unit} per episode{at}.",
    )


def _stages(data: ReportData) -> Section:
    return Section(
        "Data and coverage",
        [tables.figures_of_stages(data)],
        "The data behind the transition model and the trained models. The transition model needs states that recur.",
    )


def _measurements(data: ReportData) -> Section:
    titles = enumerate(data.splits)
    parts = [macros.details(data.title(split), tables.measurements(data, split), i == 0) for i, split in titles]
    return Section("All rows", parts, f"U: usage in {data.unit} per episode.")


def _glossary(data: ReportData) -> Section:
    each = (
        "every call costs one unit"
        if data.calls_are_units
        else "calls have different costs, so the number of calls differs from the number of cost units"
    )
    entries = {
        "SR": "success rate",
        "U": f"usage: cost units of help per episode ({each})",
        "C": "budget: the usage that a helper was calibrated to, on new episodes of training tasks",
        "gap": "SR of always asking minus SR of never asking",
        "knob": "the parameter of a helper that calibration sets such that its usage is C",
        "coin": "a random choice per episode between never and always; its share of the gap is U / (U of always)",
        "hull": "upper hull of a helper's points and both ends; it is optimistic, and only the oracle's numbers use it",
        "SPL": "success weighted by the expert's path length divided by the path length taken",
        "privileged": "an intervention that uses facts which the actor cannot know",
        "interval": "95 %: Wilson's with an effective number of episodes for rates, else paired bootstrap, which "
        "resamples episodes within tasks if the tasks are fixed, and tasks within kinds if they are new",
    }
    return Section("Glossary", [macros.glossary(entries)])


def _manifest(data: ReportData) -> Section:
    text = macros.source(dumps(data.manifest, indent=2)) if data.manifest else ""
    return Section("How the run was made", [_folded("manifest.json", text)])
