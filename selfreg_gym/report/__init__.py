"""``report.html``: one run on one page, for reading and for showing to somebody else.

Everything in it is computed from the run's own files; nothing is fetched when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report import tables
from selfreg_gym.report.facts import SPLITS, headline, splits_of, tiles
from selfreg_gym.report.page import page, section
from selfreg_gym.report.tables import format_table

__all__ = ["format_table", "write_report"]

TRACED = ("prm-threshold", "lm", "dp")
"""Whose traces are shown, from top to bottom."""


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` and ``plots/*.png`` of a run.

    Args:
        run: the run directory. ``evaluation.json`` must be there; ``manifest.json`` and ``prm/`` are used if they are.

    Returns:
        The path of ``report.html``.

    Raises:
        RunDirectoryError: there is no ``evaluation.json``.
        ConfigError: it is not one.
    """
    run = Path(run)
    if not (run / "evaluation.json").is_file():
        raise RunDirectoryError(
            f"a report is written of a run that was evaluated; {run} has no evaluation.json. First: selfreg evaluate."
        )
    evaluation = Evaluation.load(run / "evaluation.json")
    manifest = _read(run / "manifest.json")
    body = "\n".join([
        _head(run, evaluation, manifest),
        _curves(run, evaluation),
        _recovery(evaluation),
        _selection(evaluation),
        _promise(evaluation),
        _traces(run, evaluation),
        _prm(run),
        _per_kind(evaluation),
        _coverage(manifest),
        _rows(evaluation),
        _words(),
        _appendix(manifest),
    ])  # fmt: skip
    target = run / "report.html"
    partial = run / "report.html.partial"
    partial.write_text(page(title=f"selfreg: {run.resolve().name}", body=body), encoding="utf-8")
    return partial.replace(target)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _figure(figure: Any, png: Path, *, title: str, caption: str = "", half: bool = False) -> str:
    from selfreg_gym.report.plots import export

    told = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure{' class=half' if half else ''}>{export(figure, png, title=title)}{told}</figure>"


def _head(run: Path, evaluation: Evaluation, manifest: Mapping[str, Any]) -> str:
    config = manifest.get("config", {})
    told = []
    if config:
        task, actor = config.get("task", {}), config.get("actor", {})
        told.append(f"{task.get('id')}, actor {actor.get('id')}")
        told.append("help from " + ", ".join(config.get("interventions", {}).get("ids", [])))
        collect = config.get("collect", {})
        told.append(f"{collect.get('tasks')} tasks collected, {collect.get('episodes')} episodes each")
    sizes = ", ".join(f"{len(evaluation.tables[s])} {s}" for s in splits_of(evaluation))
    told.append(f"episodes per row: {sizes}")
    if manifest.get("created"):
        told.append(str(manifest["created"])[:10])
    cards = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(what)}</span><small>{escape(small)}</small></div>"
        for value, what, small in tiles(evaluation)
    )
    parts = [
        f"<header>\n<h1>selfreg · {escape(run.resolve().name)}</h1>",
        f'<p class="lead">{escape(headline(evaluation)).replace(" %", "&nbsp;%")}</p>',
        f'<p class="facts">{escape(" · ".join(told))}</p>',
        f'<div class="tiles">{cards}</div>' if cards else "",
    ]
    if evaluation.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in evaluation.warnings)
        parts.append(f'<div class="warn"><b>Read with care</b><ul>{items}</ul></div>')
    return "\n".join([*parts, "</header>"])


def _curves(run: Path, evaluation: Evaluation) -> str:
    from selfreg_gym.report.plots import frontier_figure

    splits = splits_of(evaluation)
    drawn = _figure(
        frontier_figure(evaluation, splits=splits, names=SPLITS),
        run / "plots" / "success-against-usage.png",
        title="Success rate against usage, one panel per split",
        caption="Points with 95 % intervals in both directions; numbers are budgets C. Lines are upper hulls: what is "
        "reached by flipping a coin per episode between neighbouring points. A helper below the dotted line is worse "
        "than a coin between never and always. The DP policy is read from a table whose states name the task, so it "
        "is a yardstick on collected tasks and no competitor on new ones.",
    )
    body = [
        [
            tables.name_cell(curve["helper"]),
            escape(SPLITS.get(curve["split"], curve["split"])),
            tables.number(curve["area"], 3),
            tables.number(curve["usage_for_half"]),
            tables.number(curve["usage_for_80_percent"]),
            f"{100 * curve['best_lift']:+.1f}",
            tables.percent(curve["largest_gap"]),
        ]
        for curve in evaluation.curves
        if curve["points"] > 1
    ]
    head = [
        "Helper",
        "Split",
        "area under the curve",
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


def _recovery(evaluation: Evaluation) -> str:
    parts = [
        f"<h3>{escape(SPLITS.get(split, split))}</h3>" + tables.recoveries(evaluation, split)
        for split in splits_of(evaluation)
        if {"never", "always"} <= set(evaluation.helpers(split))
    ]
    return section(
        "Share of the gap recovered",
        *parts,
        note="(SR &minus; SR of never) / (SR of always &minus; SR of never), with its paired 95 % interval; "
        "below it, what random help recovers at the same usage, and the paired difference Δ in points, bold where its "
        "interval excludes zero. "
        "* spent more than 1.05 C, so its own curve was read off at C.",
    )


def _selection(evaluation: Evaluation) -> str:
    chosen, knobs = (tables.selection(evaluation, what) for what in ("helpers", "knobs"))
    if not chosen and not knobs:
        return ""
    return section(
        "Choosing, and what an oracle would have chosen",
        chosen,
        f"<details><summary>The knob of each helper</summary>{knobs}</details>" if knobs else "",
        note="Chosen on calibration: the helper with the highest success on the training episodes that set its knob. "
        "The oracle chose on the test episodes themselves, so its share is too large by construction; nothing else in "
        "this report uses it. Policies whose table names the tasks take no part.",
    )


def _promise(evaluation: Evaluation) -> str:
    return section(
        "Promised and kept",
        tables.promises(evaluation, solver=True),
        f"<details><summary>Calibrated and used, every helper</summary>{tables.promises(evaluation, solver=False)}"
        "</details>",
        note="E[U] and E[SR] are what the solver expects from its planning data on the collected tasks; U and SR are "
        "what fresh episodes of these tasks gave. The plan can be above or below them. U calibrated is what fresh "
        "training episodes used when the knob was set.",
    )


def _traces(run: Path, evaluation: Evaluation) -> str:
    from selfreg_gym.report.plots import trace_figure

    chosen = _choose_traces(evaluation.traces)
    longest = max((len(t["steps"]) for group in chosen.values() for t in group), default=1)
    parts = []
    for (split, kind), group in chosen.items():
        name = f"trace-{split}-{kind or 'task'}".replace("_", "-")
        parts.append(
            f"<h3>{escape(f'Kind {kind}' if kind else 'One episode')}, {escape(SPLITS.get(split, split).lower())}</h3>"
            + _figure(
                trace_figure(group, longest=longest),
                run / "plots" / f"{name}.png",
                title=f"Where helpers ask in one episode of kind {kind}",
            )
        )
    if parts:
        parts.append(
            '<p class="note">A square is a step, filled where help was given; a cross marks an invalid action. Above, '
            "p(s) before the step, from 0 to 1. All rows play the same task with the same seed. Of the episodes kept, "
            "the one in which the helpers change their mind most often is shown.</p>"
        )
    counts = tables.toggling(evaluation)
    if counts:
        parts.append(
            "<h3>Toggles at equal usage</h3>"
            + counts
            + '<p class="note">A toggle is a return to help after a pause (help, nohelp, help), counted per episode. * '
            "the PRM threshold has no point within 0.05 of this usage: read between its two nearest points.</p>"
        )
    return section("Toggling", *parts)


def _choose_traces(traces: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """One episode of each kind, on the first split that has any, under the helpers worth comparing, near C = 1.

    Of the episodes that were kept, the one in which the helpers change their mind most often, because it shows most.
    """
    first = next((s for s in ("seen", "unseen", "collected") if any(t["split"] == s for t in traces)), None)
    episodes: dict[tuple[str, int, int], dict[str, Mapping[str, Any]]] = {}
    for trace in traces:
        helper, _, budget = trace["key"].partition("@")
        budget = budget.partition("#")[0]
        if trace["split"] == first and helper in TRACED and (not budget or float(budget) == 1.0):
            episodes.setdefault((trace["kind"], trace["task"], trace["seed"]), {}).setdefault(helper, trace)
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for (kind, _, _), found in episodes.items():
        if kind not in best or _changes(found) > _changes(best[kind]):
            best[kind] = found
    return {(str(first), kind): [best[kind][h] for h in TRACED if h in best[kind]] for kind in sorted(best)}


def _changes(traces: Mapping[str, Mapping[str, Any]]) -> int:
    actions = ([step["action"] > 0 for step in trace["steps"]] for trace in traces.values())
    return sum(a != b for one in actions for a, b in pairwise(one))


def _prm(run: Path) -> str:
    from selfreg_gym.report.plots import reliability_figure

    floor = _read(run / "prm" / "floor.json").get("bag_of_words")
    model = _read(run / "prm" / "prm.json").get("info", {}).get("held_out")
    measured = {"Process reward model": model, "Bag of words (the floor)": floor}
    known = {name: table for name, table in measured.items() if table and table.get("mean")}
    if not known:
        return ""
    body = [
        [
            escape(name),
            *(tables.number(table.get(k), 3) for k in ("auc", "ece", "brier", "base_rate")),
            f"{table['n']:,}",
        ]
        for name, table in known.items()
    ]
    return section(
        "Process reward model",
        _figure(
            reliability_figure(known),
            run / "plots" / "reliability.png",
            title="Predicted against observed success",
            half=True,
        ),
        tables.html_table(["Model", "AUC", "ECE", "Brier", "base rate", "moments"], body),
        _hard_tasks(run),
        note="p(s) is the probability that the actor succeeds from here without help, measured on held-out tasks. Bins "
        "of equal mass; bars are 95 % binomial intervals that take moments as independent, so they are too narrow.",
    )


def _hard_tasks(run: Path) -> str:
    """Precision and recall of "hard task" at the thresholds that the helper prm-per-task was calibrated to."""
    from selfreg_gym.prm.hard_tasks import hard_tasks

    tasks = _read(run / "prm" / "prm.json").get("info", {}).get("held_out_tasks")
    if not tasks:
        return ""
    chosen = {
        f"prm-per-task at C = {found['budget']:g}": found.get("knob", max(found.get("knobs", [0.5])))
        for key, found in _read(run / "calibration.json").items()
        if key.partition("@")[0] == "prm-per-task"
    }
    body = []
    for name, threshold in {"one half": 0.5, **chosen}.items():
        found = hard_tasks(tasks, threshold)
        body.append([
            escape(name),
            tables.number(found["threshold"], 3),
            *(str(found[count]) for count in ("tasks", "hard", "flagged", "both")),
            tables.percent(found["precision"]),
            tables.percent(found["recall"]),
        ])  # fmt: skip
    rollouts = sum(tasks["rollouts"]) / len(tasks["rollouts"])
    return (
        "<h3>Hard tasks</h3>"
        + tables.html_table(
            ["Threshold", "x", "tasks", "hard", "flagged", "both", "precision", "recall"], body, narrow=True
        )
        + '<p class="note">Of the held-out tasks: hard if the actor alone succeeds in less than x of its rollouts '
        f"({rollouts:.1f} per task), flagged if p at reset is below x. A mixture counts with its higher threshold.</p>"
    )


def _per_kind(evaluation: Evaluation) -> str:
    budgets = sorted({row["budget"] for row in evaluation.rows if row["budget"] is not None})
    if not budgets or len({row["kind"] for row in evaluation.rows}) < 3:
        return ""
    budget = 1.0 if 1.0 in budgets else budgets[0]
    parts = [
        f"<h3>{escape(SPLITS.get(split, split))}</h3>" + tables.kinds(evaluation, split, budget=budget)
        for split in splits_of(evaluation)
    ]
    return section("By kind of task", *parts, note=f"Success rate, and usage, at C = {budget:g}.")


def _coverage(manifest: Mapping[str, Any]) -> str:
    stages = manifest.get("stages", {})
    body = [
        [stage, escape(str(name).replace("_", " ")), f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"]
        for stage in ("collect", "fit", "solve", "label")
        for name, value in (stages.get(stage, {}).get("figures") or {}).items()
        if isinstance(value, int | float)
    ]
    return section(
        "Data and coverage",
        tables.html_table(["Stage", "Figure", "Value"], body, left=2, narrow=True) if body else "",
        note="What the table of transitions rests on. States that recur are what it lives from.",
    )


def _rows(evaluation: Evaluation) -> str:
    parts = [
        f"<details{' open' if i == 0 else ''}><summary>{escape(SPLITS.get(split, split))}</summary>"
        f"{tables.diagnostics(evaluation, split)}</details>"
        for i, split in enumerate(splits_of(evaluation))
    ]
    return section("Every row", *parts)


def _words() -> str:
    words = {
        "U": "usage: cost units of help per episode (one call of the expert is one unit)",
        "C": "budget: the usage that a helper was calibrated to, on fresh episodes of training tasks",
        "gap": "success of always asking minus success of never asking",
        "coin": "one coin per episode between never and always: it recovers U / U of always",
        "hull": "upper envelope of a helper's points and the two anchors, reached by coins between neighbours",
        "SPL": "success weighted by the expert's path length over the one taken",
        "interval": "95 % percentile bootstrap, 2,000 resamples, paired: episodes within tasks on collected tasks, "
        "whole tasks within kinds on new ones; Wilson's for rates with fewer than five successes or failures",
    }
    items = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in words.items())
    return section("Words", f"<dl>{items}</dl>")


def _appendix(manifest: Mapping[str, Any]) -> str:
    if not manifest:
        return ""
    text = escape(json.dumps(manifest, indent=2))
    return section("How it was made", f"<details><summary>manifest.json</summary><pre>{text}</pre></details>")
