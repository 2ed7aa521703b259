"""Write the report of a run: all of its files, or none."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.summary import headline, tiles
from selfreg_gym.utils.files import remove
from selfreg_gym.utils.printable import visible
from selfreg_gym.utils.user_cache import give_matplotlib_a_directory

__all__ = ["write_report"]

UNFINISHED = ".report-"
"""Prefix of the folder of an unfinished report."""


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` and ``plots/*.png`` of a run, in place of those of an earlier report.

    Args:
        run: the run directory with ``evaluation.json``; ``manifest.json``, ``calibration.json`` and ``prm/`` are
            optional.

    Returns:
        The path of ``report.html``.

    Raises:
        RunDirectoryError: there is no ``evaluation.json``.
        ConfigError: a file is malformed.
        OSError: the directory cannot be written; an earlier report remains.
    """
    run = Path(run)
    if not (run / "evaluation.json").is_file():
        raise RunDirectoryError(
            f"a report needs the evaluation of a run; {run} has no evaluation.json. First: selfreg evaluate --out {run}"
        )
    give_matplotlib_a_directory()  # before Matplotlib is imported
    from selfreg_gym.report.sections import facts, sections
    from selfreg_gym.report.templating import render

    data = ReportData.load(run)
    for folder in run.glob(f"{UNFINISHED}*"):  # of a process that was killed
        shutil.rmtree(folder, ignore_errors=True)
    # A new folder of this process, so that existing links in the run are never followed.
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=run, ignore_cleanup_errors=True) as name:
        new = Path(name)
        (new / "plots").mkdir()
        page = render(
            "report.html.j2",
            name=visible(run.absolute().name, limit=100),
            headline=headline(data),
            facts=facts(data),
            tiles=tiles(data),
            warnings=[visible(text, limit=2000, keep="\n\t") for text in data.warnings],
            sections=sections(data, new / "plots"),
        )
        (new / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")
        remove(run / "plots")
        (new / "plots").replace(run / "plots")
        return (new / "report.html").replace(run / "report.html")
