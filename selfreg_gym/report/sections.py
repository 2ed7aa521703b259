"""The sections of ``report.html``, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from selfreg_gym.report import tables
from selfreg_gym.report.facts import headline, tiles
from selfreg_gym.report.material import Material
from selfreg_gym.report.page import figure, section
from selfreg_gym.report.palette import style_of
from selfreg_gym.report.prm_section import prm_section
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.printable import file_name, html

__all__ = ["body"]

TRACES = 5
"""At most this many helpers in the picture of one episode."""


def body(material: Material, name: str, plots: Path) -> str:
    """The page between its header and its footer, as HTML.

    Args:
        material: the run's evaluation and its other records.
        name: of the run.
        plots: folder for the PNG files; the same figures are in the page as SVG.
    """
    return "\n".join([
        _head(material, name),
        _curves(material, plots),
        _recovery(material),
        _by_intervention(material, plots),
        _selection(material),
        _promise(material),
        _traces(material, plots),
        prm_section(material, plots),
        _per_kind(material),
        _coverage(material),
        _rows(material),
        _words(material),
        _appendix(material),
    ])  # fmt: skip


def _head(material: Material, name: str) -> str:
    told = []
    if material.config:
        task, actor = material.section("task"), material.section("actor")
        told.append(f"{task.get('id')}, actor {actor.get('id')}")
        told.append("help from " + ", ".join(map(str, material.section("interventions").get("ids", []))))
        collect = material.section("collect")
        told.append(f"{collect.get('tasks')} tasks collected, {collect.get('episodes')} episodes each")
    sizes = ", ".join(f"{len(material.evaluation.tables[s])} {s}" for s in material.splits)
    told.append(f"episodes per row: {sizes}")
    if material.manifest.get("created"):
        told.append(str(material.manifest["created"])[:10])
    cards = "".join(
        f"<div><b>{html(value)}</b><span>{html(what)}</span><small>{html(small)}</small></div>"
        for value, what, small in tiles(material)
    )
    parts = [
        f"<header>\n<h1>selfreg · {html(name)}</h1>",
        f'<p class="lead">{html(headline(material)).replace(" %", "&nbsp;%")}</p>',
        f'<p class="facts">{html(" · ".join(told), limit=1000)}</p>',
        f'<div class="tiles">{cards}</div>' if cards else "",
    ]
    if material.notes:
        items = "".join(f"<li>{html(text, limit=2000)}</li>" for text in material.notes)
        parts.append(f'<div class="warn"><b>Read with care</b><ul>{items}</ul></div>')
    return "\n".join([*parts, "</header>"])


def _curves(material: Material, plots: Path) -> str:
    from selfreg_gym.report.plots import frontier_figure

    evaluation = material.evaluation
    drawn = figure(
        frontier_figure(material),
        plots / "success-against-usage.png",
        title="Success rate against usage, one panel per split",
        caption="Points with 95 % intervals in both directions; numbers are budgets C. Lines are upper hulls: what is "
        "reached by flipping a coin per episode between neighbouring points. A helper below the dotted line is worse "
        "than a coin between never and always. The states of the DP policy's table name the task, so it is a yardstick "
        "on collected tasks, and cannot be used on new ones.",
    )
    body = [
        [
            tables.name_cell(curve["helper"]),
            html(material.title(curve["split"])),
            _of_curve(curve, "area", digits=3),
            _of_curve(curve, "usage_for_half"),
            _of_curve(curve, "usage_for_80_percent"),
            _of_curve(curve, "best_lift", digits=1, scale=100, sign="+"),
            tables.percent(curve["largest_gap"]),
        ]
        for curve in evaluation.curves
        if curve["points"] > 1
    ]
    head = [
        "Helper",
        "Split",
        "area under the points",
        "U for 50 % of the gap",
        "U for 80 %",
        "best lift, points",
        "widest gap",
    ]
    table = tables.html_table(head, body, left=2) if body else ""
    return section(
        "Success against usage",
        drawn,
        f"<details><summary>Areas, and usage needed</summary>{table}</details>" if table else "",
    )


def _of_curve(curve: Mapping[str, Any], name: str, **options: Any) -> str:
    """A figure of a curve with its interval."""
    return tables.interval(curve[name], curve.get(f"{name}_ci") or (None, None), **options)


def _recovery(material: Material) -> str:
    parts = [
        f"<h3>{html(material.title(split))}</h3>" + tables.recoveries(material, split)
        for split in material.splits
        if {"never", "always"} <= set(material.evaluation.helpers(split))
    ]
    return section(
        "Share of the gap recovered",
        *parts,
        note="(SR &minus; SR of never) / (SR of always &minus; SR of never), with its paired 95 % interval; U is "
        f"what the helper used ({material.unit} per episode). Below it, what random help recovers at the same usage, "
        "and the paired difference Δ in points, bold where its interval excludes zero. * U differs from C by more than "
        "5 %, so "
        "both shares are read off at C: on the line from never through the helper's rows to always; ! C was not met in "
        "calibration.",
    )


def _by_intervention(material: Material, plots: Path) -> str:
    if len(material.interventions) < 2:
        return ""
    from selfreg_gym.report.plots import usage_figure

    parts = [
        f"<h3>{html(material.title(split))}</h3>{table}"
        for split in material.splits
        if (table := tables.by_intervention(material, split))
    ]
    if not parts:
        return ""
    drawn = figure(
        usage_figure(material),
        plots / "usage-by-intervention.png",
        title="Usage of each intervention, one bar per helper and budget",
        caption="Cost units per episode, by intervention. The black marks are the budgets C.",
    )
    unit = "one call costs one unit" if material.calls_are_units else "below them, in small print, calls per episode"
    return section("Usage by intervention", drawn, *parts, note=f"Cost units per episode; {unit}.")


def _selection(material: Material) -> str:
    chosen, knobs = (tables.selection(material, what) for what in ("helpers", "knobs"))
    if not chosen and not knobs:
        return ""
    return section(
        "Choosing, and what an oracle would have chosen",
        chosen,
        f"<details><summary>The knob of each helper</summary>{knobs}</details>" if knobs else "",
        note="Chosen on calibration: the helper with the highest success on the training episodes that set its knob. "
        "The oracle chooses on the test episodes themselves, so its share is a maximum over noisy estimates and biased "
        "upwards; nothing else in this report uses it. Policies whose table names the tasks take no part.",
    )


def _promise(material: Material) -> str:
    found = tables.calibrations(material)
    missed = any(material.met(row["key"]) not in (None, "yes") for row in material.whole)
    return section(
        "Promised and measured",
        tables.promises(material),
        f"<details{' open' if missed else ''}><summary>Calibrated and used</summary>{found}</details>" if found else "",
        note="E[U] and E[SR] are what the solver expects from the data it planned on, for the collected tasks; U and "
        "SR are measured on fresh episodes. The differences show how far the plan and the measurement agree: they may "
        "have either sign. U calibrated is what fresh training episodes used when the knob was set.",
    )


def _traces(material: Material, plots: Path) -> str:
    from selfreg_gym.report.plots import trace_figure

    chosen = _choose_traces(material)
    longest = max((len(t["steps"]) for group in chosen.values() for t in group), default=1)
    parts = []
    several = len(material.interventions) > 1
    for (split, kind), group in chosen.items():
        heading = f"Kind {kind}" if kind else "One episode"
        parts.append(
            f"<h3>{html(heading, limit=80)}, {html(material.lower_title(split))}</h3>"
            + figure(
                trace_figure(group, longest=longest, numbered=several, unit=material.unit),
                plots / f"trace-{file_name(split)}-{file_name(kind or 'task')}.png",
                title=f"Where helpers ask in one episode of kind {kind}"
                if kind
                else "Where helpers ask in one episode",
            )
        )
    if parts:
        numbers = ", ".join(f"{k} {name}" for k, name in enumerate(material.interventions, 1))
        who = f", and the number says from whom ({html(numbers)})" if several else ""
        parts.append(
            f'<p class="note">A square is a step, filled where help was given{who}; a cross marks an invalid action. '
            "Above, p(s) before the step, from 0 to 1. All rows play the same task with the same seed. Of the episodes "
            "kept, the one in which the helpers switch most often is shown.</p>"
        )
    counts = tables.toggling(material)
    if counts:
        parts.append(
            "<h3>Toggles at equal usage</h3>"
            + counts
            + '<p class="note">A toggle is a return to help after a pause (help, nohelp, help), counted per episode. * '
            "the PRM threshold has no point within 5 % of this usage: read between its two nearest points.</p>"
        )
    return section("Toggling", *parts)


def _choose_traces(material: Material) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """One episode of each kind, on the first split of new tasks, under the helpers worth comparing, near C = 1.

    Of the episodes that were kept, the one in which the helpers switch most often, because it shows most.
    """
    traces, tables_ = material.evaluation.traces, material.evaluation.tables
    traced = {trace["split"] for trace in traces}
    order = sorted(material.splits, key=lambda split: tables_[split].fixed_tasks)  # new tasks first
    first = next((split for split in order if split in traced), None)
    episodes: dict[tuple[str, int, int], dict[str, Mapping[str, Any]]] = {}
    shown: dict[tuple[int, str], float] = {}
    for trace in traces:
        helper, budget, _ = material.evaluation.identity(trace["key"])
        if trace["split"] != first or helper in ("never", "always") or style_of(helper).order < 6.5:
            continue
        group = episodes.setdefault((trace["kind"], trace["task"], trace["seed"]), {})
        distance = abs((1.0 if budget is None else budget) - 1.0)
        if helper not in group or distance < shown[id(group), helper]:
            group[helper], shown[id(group), helper] = trace, distance
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for (kind, _, _), found in episodes.items():
        if kind not in best or _changes(found) > _changes(best[kind]):
            best[kind] = found
    return {
        (str(first), kind): [
            best[kind][helper] for helper in sorted(best[kind], key=lambda h: -style_of(h).order)[:TRACES]
        ]
        for kind in sorted(best)
    }


def _changes(traces: Mapping[str, Mapping[str, Any]]) -> int:
    actions = ([step["action"] for step in trace["steps"]] for trace in traces.values())
    return sum(a != b for one in actions for a, b in pairwise(one))


def _per_kind(material: Material) -> str:
    if len({row["kind"] for row in material.evaluation.rows}) < 3:  # "all" and one kind say the same
        return ""
    budgets = material.budgets
    budget = 1.0 if 1.0 in budgets else next(iter(budgets), None)
    parts = [
        f"<h3>{html(material.title(split))}</h3>" + tables.kinds(material, split, budget=budget)
        for split in material.splits
    ]
    at = "" if budget is None else f" at C = {budget:g}; helpers without this budget at their nearest one"
    return section("By kind of task", *parts, note=f"Success rate, and usage in {material.unit} per episode,{at}.")


def _coverage(material: Material) -> str:
    stages = material.manifest.get("stages")
    body = []
    for stage in ("collect", "train-prm", "fit", "solve", "label", "train-helper"):
        record = stages.get(stage) if isinstance(stages, Mapping) else None
        figures = record.get("figures") if isinstance(record, Mapping) else None
        for name, value in (figures or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                number = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
            elif isinstance(value, str):
                number = html(value, limit=60)
            else:
                continue
            body.append([stage, html(str(name).replace("_", " "), limit=80), number])
    return section(
        "Data and coverage",
        tables.html_table(["Stage", "Figure", "Value"], body, left=2, narrow=True) if body else "",
        note="What the transition model and the trained models were made from. The estimates of the transition model "
        "rest on states that recur.",
    )


def _rows(material: Material) -> str:
    parts = [
        f"<details{' open' if i == 0 else ''}><summary>{html(material.title(split))}</summary>"
        f"{tables.diagnostics(material, split)}</details>"
        for i, split in enumerate(material.splits)
    ]
    return section("Every row", *parts, note=f"U: usage in {material.unit} per episode.")


def _words(material: Material) -> str:
    each = (
        "every call costs one unit"
        if material.calls_are_units
        else "calls have different costs, so a number of calls is not a number of cost units"
    )
    words = {
        "U": f"usage: cost units of help per episode ({each})",
        "C": "budget: the usage that a helper was calibrated to, on fresh episodes of training tasks",
        "gap": "success of always asking minus success of never asking",
        "coin": "one coin per episode between never and always: it recovers U / U of always",
        "hull": "upper envelope of a helper's measured points and the two anchors; by chance a little too high, so no "
        "figure is computed from it",
        "SPL": "success weighted by the expert's path length over the one taken",
        "interval": "95 %: of rates Wilson's with an effective number of episodes, of all else paired bootstrap; "
        "episodes within tasks where the tasks are fixed, whole tasks within kinds where they are new",
    }
    items = "".join(f"<dt>{html(word)}</dt><dd>{html(meaning)}</dd>" for word, meaning in words.items())
    return section("Words", f"<dl>{items}</dl>")


def _appendix(material: Material) -> str:
    if not material.manifest:
        return ""
    text = html(dumps(material.manifest, indent=2))
    return section("How it was made", f"<details><summary>manifest.json</summary><pre>{text}</pre></details>")
