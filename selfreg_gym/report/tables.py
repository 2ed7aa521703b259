"""The tables of the report, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfreg_gym.report.facts import percent
from selfreg_gym.report.material import Material
from selfreg_gym.report.palette import style_of
from selfreg_gym.utils.printable import html

__all__ = [
    "by_intervention",
    "calibrations",
    "diagnostics",
    "html_table",
    "kinds",
    "promises",
    "recoveries",
    "selection",
    "toggling",
]

DASH = "\N{EN DASH}"


def html_table(head: Sequence[str], body: Iterable[Sequence[str]], *, left: int = 1, narrow: bool = False) -> str:
    """A table whose first ``left`` columns are text and whose others are numbers. Cells are HTML already."""
    align = [' class="l"' if i < left else "" for i in range(len(head))]
    lines = [f'<div class="scroll"><table{" class=narrow" if narrow else ""}>']
    lines.append(
        "<thead><tr>" + "".join(f"<th{a}>{h}</th>" for a, h in zip(align, head, strict=True)) + "</tr></thead>"
    )
    lines.append("<tbody>")
    lines += [
        "<tr>" + "".join(f"<td{a}>{cell}</td>" for a, cell in zip(align, row, strict=True)) + "</tr>" for row in body
    ]
    return "\n".join([*lines, "</tbody></table></div>"])


def name_cell(helper: str) -> str:
    """A helper's name with its colour."""
    style = style_of(helper)
    return f'<span class="dot" style="background:{style.light}"></span>{html(style.label)}'


def number(value: float | None, digits: int = 2) -> str:
    """A number, or an en dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def interval(
    value: float | None, ci: Sequence[float | None], *, scale: float = 1.0, digits: int = 2, sign: str = ""
) -> str:
    """A number with its interval in small print; an en dash for nothing."""
    if value is None:
        return DASH
    form = f"{sign}.{digits}f"
    centre, *ends = (None if x is None else f"{scale * x:{form}}" for x in (value, *ci))
    return f"{centre}" if None in ends else f"{centre} <small>{ends[0]} to {ends[1]}</small>"


def _helpers(material: Material, split: str, *, anchors: bool = False) -> list[str]:
    names = [h for h in material.evaluation.helpers(split) if anchors or h not in ("never", "always")]
    return sorted(names, key=lambda h: -style_of(h).order)


def _best_first(material: Material, split: str) -> list[dict[str, Any]]:
    return sorted(material.rows(split), key=lambda r: (-style_of(r["helper"]).order, r["helper"], r["budget"] or 0))


def recoveries(material: Material, split: str) -> str:
    """Share of the gap at each budget, with the interval, the helper's own usage, and random's share at C."""
    budgets = [*material.budgets, None]
    body = []
    for helper in _helpers(material, split):
        cells = []
        for budget in budgets:
            item = material.comparison(split, helper, budget)
            if item is None or item["share"]["value"] is None:
                cells.append(DASH)
                continue
            low, high = item["share"]["ci"]
            mark = (
                '<abbr title="U differs from C by over 5 %: the share is read off the helper\'s curve at C">*</abbr>'
                if item["adjusted"]
                else ""
            )
            if material.met(item["key"]) not in (None, "yes"):
                mark += '<abbr class="miss" title="C was not met in calibration">!</abbr>'
            small = f"{100 * low:.0f} to {100 * high:.0f} · U {item.get('measured_usage', item['usage']):.2f}{mark}"
            other = item["over_random"]
            if other is not None and other["value"] is not None:
                small += f"<br>random {100 * item['random']['value']:.0f} · Δ {_signed(other)}"
            else:
                small += f"<br>coin {100 * item['coin']:.0f}"
            cells.append(f"<b>{percent(item['share']['value'])}</b><br><small>{small}</small>")
        if any(cell != DASH for cell in cells):
            body.append([name_cell(helper), *cells])
    head = ["Helper", *(f"C = {b:g}" if b is not None else "no budget" for b in budgets)]
    keep = [0, *(i for i in range(1, len(head)) if any(row[i] != DASH for row in body))]
    return html_table([head[i] for i in keep], [[row[i] for i in keep] for row in body])


def _signed(estimate: Mapping[str, Any]) -> str:
    """A difference of shares in points, marked when its interval excludes zero."""
    low, high = estimate["ci"]
    text = f"{100 * estimate['value']:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"
    return f'<span class="sure">{text}</span>' if low > 0 or high < 0 else text


def selection(material: Material, what: str) -> str:
    """What was chosen on calibration beside what an oracle would have chosen; empty if there was nothing to choose."""
    body = []
    for item in material.evaluation.selection[what]:
        split = html(material.title(item["split"]))
        if what == "helpers":
            shares = [percent(item["share"]), name_cell(item["oracle"]), percent(item["oracle_share"])]
            lost = f"{100 * item['lost']:.0f}"
            body.append([name_cell(item["selected"]), split, f"{item['budget']:g}", *shares, lost])
        else:
            helper = item["key"].partition("@")[0]
            cells = [number(item["usage"]), percent(item["share"]), percent(item["oracle_share"])]
            body.append([name_cell(helper), split, f"{item['budget']:g}", *cells])
    if not body:
        return ""
    if what == "helpers":
        head = [
            "Chosen on calibration",
            "Split",
            "C",
            "share of the gap",
            "Oracle's choice",
            "its share",
            "points lost",
        ]
    else:
        head = ["Helper", "Split", "C", "U", "share of the gap", "its own curve at C"]
    return html_table(head, body, left=2)


def promises(material: Material) -> str:
    """E[U] against U and E[SR] against SR, for every row of which a solver promised something."""
    body = []
    for split in material.splits:
        for row in _best_first(material, split):
            told = row["expected_usage"]
            if told is None or row["usage"] is None:
                continue
            promised, success = row["expected_success"], row["success_rate"]
            body.append([
                name_cell(row["helper"]),
                html(material.title(split)),
                DASH if row["budget"] is None else f"{row['budget']:g}",
                number(told),
                interval(row["usage"], row["usage_ci"]),
                f"{told - row['usage']:+.2f}",
                number(promised, 3),
                interval(success, row["success_rate_ci"], digits=3),
                DASH if promised is None or success is None else f"{promised - success:+.3f}",
            ])  # fmt: skip
    head = ["Helper", "Split", "C", "E[U]", "U", "E[U] &minus; U", "E[SR]", "SR", "E[SR] &minus; SR"]
    return html_table(head, body, left=2) if body else "<p>No solver promised anything about these rows.</p>"


MET = {
    "yes": "met",
    "under": '<b class="miss">not met: under</b>',
    "over": '<b class="miss">not met: over</b>',
    "no": '<b class="miss">not met</b>',
}


def calibrations(material: Material) -> str:
    """The budget, what calibration measured, whether it was met, and what fresh episodes used; empty without any."""
    body = []
    for split in material.splits:
        for row in _best_first(material, split):
            met = material.met(row["key"])
            if row["calibrated_usage"] is None and met is None:
                continue
            budget, usage = row["budget"], row["usage"]
            at = row["calibrated_usage"]
            if at is None:
                at = material.calibration[row["key"]].get("usage")
            body.append([
                name_cell(row["helper"]),
                html(material.title(split)),
                DASH if budget is None else f"{budget:g}",
                number(at),
                DASH if met is None else MET[met],
                interval(usage, row["usage_ci"]),
                DASH if usage is None or not budget else f"{usage / budget:.2f}",
                percent(row["p_over_budget"]),
            ])  # fmt: skip
    head = ["Helper", "Split", "C", "U calibrated", "calibration", "U", "U / C", "P(U &gt; C)"]
    return html_table(head, body, left=2) if body else ""


def by_intervention(material: Material, split: str) -> str:
    """Cost units and calls per episode of each intervention."""
    names = material.interventions
    body = []
    for row in _best_first(material, split):
        usage, calls = (material.by_intervention(row, what) for what in ("usage", "calls"))
        if len(usage) != len(names):
            continue
        cells = []
        for k, used in enumerate(usage):
            count = calls[k] if len(calls) == len(usage) else None
            small = "" if count is None or material.calls_are_units else f" <small>{count:.2f} calls</small>"
            cells.append(number(used) + small)
        total, called = row["usage"], material.calls(row)
        small = "" if called is None or material.calls_are_units else f" <small>{called:.2f} calls</small>"
        budget = DASH if row["budget"] is None else f"{row['budget']:g}"
        body.append([name_cell(row["helper"]), budget, *cells, number(total) + small, percent(row["success_rate"])])
    head = ["Helper", "C", *(html(name) for name in names), "all", "SR"]
    return html_table(head, body) if body else ""


def kinds(material: Material, split: str, *, budget: float | None) -> str:
    """Success and usage of each kind of task: at one budget, or at the nearest that a helper was evaluated at."""
    names = sorted({row["kind"] for row in material.evaluation.rows if row["split"] == split} - {"all"})
    body = []
    for helper in dict.fromkeys(["never", *_helpers(material, split), "always"]):
        rows = [row for row in material.rows(split) if row["helper"] == helper]
        if not rows:
            continue
        nearest = min(rows, key=lambda row: abs((row["budget"] or 0) - (budget or 0)))
        for row in rows:
            if row is nearest or row["budget"] is None:
                at = row["budget"]
                other = f" <small>C = {at:g}</small>" if at is not None and at != budget else ""
                cells = [_success_and_usage(material.row(split, row["key"], kind)) for kind in names]
                body.append([name_cell(helper) + other, *cells])
    return html_table(["Helper", *(html(kind, limit=40) for kind in names)], body)


def _success_and_usage(row: Mapping[str, Any] | None) -> str:
    if row is None or row["usage"] is None:
        return DASH
    return f"{percent(row['success_rate'])} <small>U {row['usage']:.2f}</small>"


def diagnostics(material: Material, split: str) -> str:
    """Every row of a split, with what lies behind it."""
    rows = _best_first(material, split)
    body = [
        [
            name_cell(row["helper"]),
            DASH if row["budget"] is None else f"{row['budget']:g}",
            str(row["episodes"]),
            interval(row["success_rate"], row["success_rate_ci"], scale=100, digits=1),
            interval(row["usage"], row["usage_ci"]),
            number(material.calls(row)),
            number(row["toggles"]),
            number(row["switches"]),
            percent(row["step_share"]),
            percent(row["episode_share"]),
            number(row["length"], 1),
            number(row["spl"]),
            percent(row["invalid_rate"], 1),
            percent(row["invalid_after_help"], 1),
            percent(row["unseen_state_rate"], 1),
            str(row["errors"] or DASH),
        ]
        for row in rows
    ]
    head = [
        "Helper", "C", "episodes", "SR, %", "U", "calls", "toggles", "switches", "steps helped", "episodes helped",
        "length", "SPL", "invalid", "invalid after help", "unseen states", "errors",
    ]  # fmt: skip
    drop = {"errors"} if not any(row["errors"] for row in rows) else set()
    drop |= {"calls"} if material.calls_are_units else set()
    keep = [i for i, name in enumerate(head) if name not in drop]
    return html_table([head[i] for i in keep], [[cells[i] for i in keep] for cells in body])


def toggling(material: Material) -> str:
    """Toggles against those of the PRM threshold at the same usage; empty if it was not evaluated."""
    body = []
    for item in material.evaluation.comparisons:
        found = item.get("toggles_against_prm_threshold")
        if not found or not style_of(item["helper"]).main or found["difference"]["value"] is None:
            continue
        low, high = found["difference"]["ci"]
        text = f"{found['difference']['value']:+.2f} <small>{low:+.2f} to {high:+.2f}</small>"
        body.append([
            name_cell(item["helper"]),
            html(material.title(item["split"])),
            DASH if item["budget"] is None else f"{item['budget']:g}",
            number(found["usage"]),
            number(found["toggles"]),
            number(found["prm_threshold_toggles"]) + ("" if found["direct"] else "*"),
            f'<span class="sure">{text}</span>' if low > 0 or high < 0 else text,
        ])  # fmt: skip
    if not body:
        return ""
    head = ["Helper", "Split", "C", "U", "toggles", "PRM threshold at this U", "difference"]
    return html_table(head, body, left=2)
