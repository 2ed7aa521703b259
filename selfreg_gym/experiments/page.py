"""The files of an experiment: ``index.md``, ``results.json``, ``manifest.json`` and the plots as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.experiments.experiment import Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Table
from selfreg_gym.intervention_env.interventions import privileged_names
from selfreg_gym.pipeline.config import RunConfig, to_dict
from selfreg_gym.utils.files import atomic_path, write_text
from selfreg_gym.utils.json_text import dumps, read_object

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FORMAT", "check_folder", "write_page"]

FORMAT = "selfreg_gym experiment 1"
MANIFEST, RESULTS, PAGE = "manifest.json", "results.json", "index.md"

MOST_TICKS = 10
"""Most measured values that are all written below a logarithmic axis."""


def check_folder(folder: Path, name: str) -> None:
    """Check that an experiment can write its results to a folder: it is empty, or has results of this experiment.

    Raises:
        RunDirectoryError: it holds other files, or the results of another experiment.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    rule = f"the results of an experiment need a folder of their own, received {str(folder)!r}"
    if not folder.is_dir() or not (folder / MANIFEST).is_file():
        raise RunDirectoryError(f"{rule}, which holds other files. Choose another with --out.")
    found = read_object(
        folder / MANIFEST, what="the manifest of an experiment", remedy="choose another with --out",
        keys=("format", "experiment"), error=RunDirectoryError,
    )  # fmt: skip
    if found["format"] != FORMAT or found["experiment"] != name:
        other = found["experiment"] if found["format"] == FORMAT else "something else"
        raise RunDirectoryError(f"{rule} for {name!r}, which holds {other!r}. Choose another with --out.")


def write_page(
    folder: Path,
    experiment: Experiment,
    findings: Findings,
    configs: Mapping[str, RunConfig],
    manifest: Mapping[str, Any],
) -> None:
    """Write all files, the page last; plots of former results are removed.

    Args:
        folder: empty, or with former results of this experiment (:func:`check_folder`).
        experiment: its title and question are used.
        findings: statements, tables and plots.
        configs: the configs by name, without the seeds of the trials; mostly one.
        manifest: seeds, versions, units, commits and CPU time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for plot in findings.plots:
        _save(plot, folder / f"{plot.name}.png")
    wanted = {f"{plot.name}.png" for plot in findings.plots}
    for left in folder.glob("*.png"):
        if left.name not in wanted:
            left.unlink()
    tables = {table.name: table.to_json() for table in findings.tables}
    published = [vars(one) for one in findings.published]
    content = {"statements": list(findings.statements), "published": published, "tables": tables}
    write_text(folder / RESULTS, dumps(content, indent=1) + "\n")
    first = to_dict(next(iter(configs.values())))
    write_text(folder / MANIFEST, dumps({"format": FORMAT, **manifest, "config": first}, indent=1) + "\n")
    write_text(folder / PAGE, _page(experiment, findings, configs, manifest))


def _page(
    experiment: Experiment, findings: Findings, configs: Mapping[str, RunConfig], manifest: Mapping[str, Any]
) -> str:
    """The page in Markdown."""
    parts = [f"# {experiment.title}\n", f"{experiment.question.strip()}\n"]
    if findings.statements:
        parts.append("## Results\n\n" + "\n".join(f"- {one}" for one in findings.statements) + "\n")
    parts += [f"![{plot.title}]({plot.name}.png)\n\n*{plot.title}*\n" for plot in findings.plots]
    parts += [table.markdown() for table in findings.tables]
    if findings.published:
        columns = (Column("what", "quantity"), Column("published", "published"), Column("ours", "here"))
        rows = [{"what": one.what, "published": one.published, "ours": one.ours} for one in findings.published]
        sources = "; ".join(dict.fromkeys(one.source for one in findings.published))
        note = (
            f"Published in: {sources}. Only a summary of the publication was available, so its tables and figures are "
            "not cited by number. It used another simulator, another actor and another expert: compare the pattern, "
            "not the numbers."
        )
        parts.append(Table("published", "Published numbers", columns, rows, note).markdown())
    parts.append(_method(findings.notes, configs, manifest))
    return "\n".join(parts)


def _method(notes: Sequence[str], configs: Mapping[str, RunConfig], manifest: Mapping[str, Any]) -> str:
    """The section on sizes, seeds, CPU time and files."""
    commits = ", ".join(f"`{commit}`" for commit in manifest["commits"]) or "unknown (not a checkout)"
    lines = [
        *(line for config in configs.values() for line in _sizes(config, manifest["seeds"])),
        "- Intervals are 95 % intervals over tasks and, with several seeds, over seeds (Student's t).",
        f"- CPU time: {manifest['cpu_seconds']['cells']:.0f} s for this experiment, and "
        f"{manifest['cpu_seconds']['stages']:.0f} s for the runs that it shares with others.",
        f"- Measured by commit {commits}{_machines(manifest.get('machines', []))}.",
        *(f"- {note}" for note in notes),
        f"- Repeat it with `{manifest['command']}`. Numbers: [{RESULTS}]({RESULTS}); config, seeds and versions: "
        f"[{MANIFEST}]({MANIFEST}).",
    ]
    return "## Method and sizes\n\n" + "\n".join(lines) + "\n"


def _sizes(config: RunConfig, seeds: int) -> list[str]:
    """The task of a config, and its numbers of episodes."""
    c, e, k = config.collect, config.evaluate, config.calibrate
    most = f", at most {k.max_episodes} at the accepted knob" if k.max_episodes else ""
    env = {"interventions": config.interventions.ids, "intervention_kwargs": config.interventions.kwargs}
    privileged = privileged_names({**env, "task": config.task.id, "task_kwargs": config.task.arguments})
    names = (f"`{one}`{' (privileged)' if one in privileged else ''}" for one in config.interventions.names)
    return [
        f"- Task `{config.task.id}`, actor `{config.actor.id}`, interventions {', '.join(names)}.",
        f"- {seeds} training seed{'s' if seeds > 1 else ''}; each has its own rollouts "
        f"({c.tasks} tasks x {c.episodes} episodes) and its own trainings.",
        f"- Evaluation: {e.tasks} tasks x {e.episodes} episodes per helper and split, the same for all helpers and "
        f"seeds, with evaluation seed {e.seed}. Calibration: {k.episodes} episodes per tried knob{most}.",
    ]


def _machines(machines: Sequence[Mapping[str, Any]]) -> str:
    """Where the cells were measured, for instance ``, with Python 3.11.7 and torch 2.13.0 on 2 CPUs``."""
    found = (
        f"Python {one['python']} and torch {one['versions'].get('torch', 'unknown')} on {one['cpus']} CPUs"
        for one in machines
    )
    text = "; ".join(dict.fromkeys(found))
    return f", with {text}" if text else ""


def _save(plot: Plot, path: Path) -> None:
    """Write a plot as PNG, atomically."""
    from selfreg_gym.report.svg import style

    with atomic_path(path) as temporary, style():
        for axes in plot.figure.axes:
            _label_logarithmic(axes)
        plot.figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})


def _label_logarithmic(axes: Axes) -> None:
    """Write the ticks of logarithmic axes as plain numbers, because the style of the plots reads no formulas.

    The ticks of a logarithmic x axis are the measured values, if there are at most ``MOST_TICKS``.
    """
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale != "log":
            continue
        if axis is axes.xaxis:
            measured = sorted({float(x) for line in axes.get_lines() for x in np.atleast_1d(line.get_xdata()) if x > 0})
            if 0 < len(measured) <= MOST_TICKS:
                axis.set_ticks(measured)
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
