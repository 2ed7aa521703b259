"""The tables of the report, as HTML, and the one of the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from selfreg_gym.evaluation import Evaluation
from selfreg_gym.report.facts import SPLITS, comparison_of, percent, row_of, splits_of
from selfreg_gym.report.palette import style_of

__all__ = ["diagnostics", "format_table", "html_table", "kinds", "promises", "recoveries", "selection", "toggling"]

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
    return f'<span class="dot" style="background:{style.light}"></span>{escape(style.label)}'


def number(value: float | None, digits: int = 2) -> str:
    """A number, or an en dash."""
    return DASH if value is None else f"{value:.{digits}f}"


def interval(value: float | None, ci: Sequence[float | None], *, scale: float = 1.0, digits: int = 2) -> str:
    """A number with its interval in small print."""
    if value is None:
        return DASH
    if None in ci:
        return f"{scale * value:.{digits}f}"
    low, high = (scale * float(x) for x in ci if x is not None)
    return f"{scale * value:.{digits}f} <small>{low:.{digits}f} to {high:.{digits}f}</small>"


def _helpers(evaluation: Evaluation, split: str, *, anchors: bool = False) -> list[str]:
    names = [h for h in evaluation.helpers(split) if anchors or h not in ("never", "always")]
    return sorted(names, key=lambda h: -style_of(h).order)


def _budgets(evaluation: Evaluation) -> list[float]:
    return sorted({row["budget"] for row in evaluation.rows if row["budget"] is not None})


def recoveries(evaluation: Evaluation, split: str) -> str:
    """Share of the gap at each budget, with the interval, the usage and random's share at that usage."""
    budgets = [*_budgets(evaluation), None]
    body = []
    for helper in _helpers(evaluation, split):
        cells = []
        for budget in budgets:
            item = comparison_of(evaluation, split, helper, budget)
            if item is None or item["share"]["value"] is None:
                cells.append(DASH)
                continue
            low, high = item["share"]["ci"]
            mark = (
                '<abbr title="used more or less than C by over 5 %; its curve is read off at C">*</abbr>'
                if item["adjusted"]
                else ""
            )
            small = f"{100 * low:.0f} to {100 * high:.0f} · U {item['usage']:.2f}{mark}"
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


def selection(evaluation: Evaluation, what: str) -> str:
    """What was chosen on calibration beside what an oracle would have chosen; empty if there was nothing to choose."""
    body = []
    for item in evaluation.selection[what]:
        split = escape(SPLITS.get(item["split"], item["split"]))
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


def promises(evaluation: Evaluation, *, solver: bool) -> str:
    """E[U] against U and E[SR] against SR where a solver promised something; else what calibration measured."""
    body = []
    for split in splits_of(evaluation):
        for row in evaluation.rows:
            told = row["expected_usage"] if solver else row["calibrated_usage"]
            if (row["split"], row["kind"], row["seed"]) != (split, "all", None) or told is None:
                continue
            cells = [
                name_cell(row["helper"]),
                escape(SPLITS.get(split, split)),
                DASH if row["budget"] is None else f"{row['budget']:g}",
                number(row["calibrated_usage"]),
                interval(row["usage"], row["usage_ci"]),
                percent(row["p_over_budget"]),
            ]
            if solver:
                promised, success = row["expected_success"], row["success_rate"]
                cells += [
                    number(told),
                    number(abs(told - row["usage"])),
                    number(promised, 3),
                    number(success, 3),
                    DASH if promised is None or success is None else f"{promised - success:+.3f}",
                ]
            body.append(cells)
    head = ["Helper", "Split", "C", "U calibrated", "U", "P(U &gt; C)"]
    if solver:
        head += ["E[U]", "|E[U] &minus; U|", "E[SR]", "SR", "E[SR] &minus; SR"]
    return html_table(head, body, left=2) if body else "<p>Nothing was promised.</p>"


def kinds(evaluation: Evaluation, split: str, *, budget: float) -> str:
    """Success and usage of each kind of task, at one budget."""
    names = sorted({row["kind"] for row in evaluation.rows if row["split"] == split} - {"all"})
    body = []
    for helper in ["never", *_helpers(evaluation, split), "always"]:
        for key in (f"{helper}@{budget:g}", helper):
            rows = [row_of(evaluation, split, key, kind) for kind in names]
            if any(rows):
                body.append([name_cell(helper), *(_success_and_usage(row) for row in rows)])
                break
    return html_table(["Helper", *(escape(kind) for kind in names)], body)


def _success_and_usage(row: Mapping[str, Any] | None) -> str:
    if row is None or row["usage"] is None:
        return DASH
    return f"{percent(row['success_rate'])} <small>U {row['usage']:.2f}</small>"


def diagnostics(evaluation: Evaluation, split: str) -> str:
    """Every row of a split, with what lies behind it."""
    rows = [r for r in evaluation.rows if (r["split"], r["kind"], r["seed"]) == (split, "all", None)]
    rows.sort(key=lambda r: (-style_of(r["helper"]).order, r["helper"], r["budget"] or 0))
    body = [
        [
            name_cell(row["helper"]),
            DASH if row["budget"] is None else f"{row['budget']:g}",
            str(row["episodes"]),
            interval(row["success_rate"], row["success_rate_ci"], scale=100, digits=1),
            interval(row["usage"], row["usage_ci"]),
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
        "Helper", "C", "episodes", "SR, %", "U", "toggles", "switches", "steps helped", "episodes helped", "length",
        "SPL", "invalid", "invalid after help", "unseen states", "errors",
    ]  # fmt: skip
    if not any(row["errors"] for row in rows):
        head, body = head[:-1], [cells[:-1] for cells in body]
    return html_table(head, body)


def toggling(evaluation: Evaluation) -> str:
    """Toggles against those of the PRM threshold at the same usage; empty if it was not evaluated."""
    body = []
    for item in evaluation.comparisons:
        found = item.get("toggles_against_prm_threshold")
        if not found or item["helper"] not in ("dp", "lm") or found["difference"]["value"] is None:
            continue
        low, high = found["difference"]["ci"]
        text = f"{found['difference']['value']:+.2f} <small>{low:+.2f} to {high:+.2f}</small>"
        body.append([
            name_cell(item["helper"]),
            escape(SPLITS.get(item["split"], item["split"])),
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


def format_table(evaluation: Evaluation, *, full: bool = False) -> Any:
    """The main numbers for a terminal of 80 columns: print it with a ``rich`` ``Console``.

    Without ``full``, the lesser baselines are shown at one budget only.
    """
    from rich.console import Group
    from rich.text import Text

    budgets = _budgets(evaluation)
    one = 1.0 if 1.0 in budgets else next(iter(budgets), None)
    parts: list[Any] = []
    for split in splits_of(evaluation):
        rows = [r for r in evaluation.rows if (r["split"], r["kind"], r["seed"]) == (split, "all", None)]
        first = {"never": 0, "always": 1}  # the ends of the scale, then from the least baseline to the product
        rows.sort(key=lambda r: (first.get(r["helper"], 2), style_of(r["helper"]).order, r["helper"], r["budget"] or 0))
        if not full:
            rows = [r for r in rows if style_of(r["helper"]).order >= 5 or r["budget"] in (None, one)]
        counts = sorted({row["episodes"] for row in rows})
        told = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        parts.append(Text.assemble((SPLITS.get(split, split), "bold"), (f"  {told} episodes per row", "dim")))
        parts += [_terminal_table(evaluation, split, rows), Text()]
    notes = (
        "SR success, U usage (cost units per episode), gap: share recovered of what always adds to never, rand: the "
        "same for random help at equal usage, tog: returns to help per episode; 95 % intervals"
    )
    if any(item["adjusted"] for item in evaluation.comparisons):
        notes += "; * used more or less than C by over 5 %, read off its own curve at C"
    return Group(*parts, Text(notes, style="dim"))


def _terminal_table(evaluation: Evaluation, split: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("helper", no_wrap=True, min_width=13)
    widths = {"C": 3, "SR %": 13, "U": 4, "E[U]": 4, "gap %": 12, "rand": 4, "tog": 4}
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for row in rows:
        item = comparison_of(evaluation, split, row["helper"], row["budget"])
        share = random = ""
        if item is not None and item["share"]["value"] is not None:
            share = _points(item["share"]["value"], item["share"]["ci"], "*" if item["adjusted"] else "")
            if item["random"] is not None and item["random"]["value"] is not None:
                random = f"{100 * item['random']['value']:.0f}"
        table.add_row(
            row["helper"],
            "" if row["budget"] is None else f"{row['budget']:g}",
            "" if row["success_rate"] is None else _points(row["success_rate"], row["success_rate_ci"]),
            "" if row["usage"] is None else f"{row['usage']:.2f}",
            "" if row["expected_usage"] is None else f"{row['expected_usage']:.2f}",
            share,
            random,
            "" if row["toggles"] is None else f"{row['toggles']:.2f}",
            style="bold" if row["helper"] in ("dp", "lm") else "",
        )
    return table


def _points(value: float, ci: Sequence[float], mark: str = "") -> str:
    """A share with its interval, in per cent."""
    return f"{100 * value:.0f}{mark} [{100 * ci[0]:.0f}, {100 * ci[1]:.0f}]"
