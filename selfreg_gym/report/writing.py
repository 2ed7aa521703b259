"""``write_report``: the files of a report, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from selfreg_gym.errors import RunDirectoryError
from selfreg_gym.report.material import Material
from selfreg_gym.report.page import page
from selfreg_gym.report.sections import body
from selfreg_gym.utils.files import remove
from selfreg_gym.utils.printable import visible
from selfreg_gym.utils.user_cache import give_matplotlib_a_directory

__all__ = ["write_report"]

FOLDER = ".report-"
"""Prefix of the folder of an unfinished report."""


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` and ``plots/*.png`` of a run. Plots of an earlier report are removed.

    Args:
        run: the run directory. ``evaluation.json`` must be there; ``manifest.json``, ``calibration.json`` and ``prm/``
            are used if they are.

    Returns:
        The path of ``report.html``.

    Raises:
        RunDirectoryError: there is no ``evaluation.json``.
        ConfigError: a file that cannot be read as what it should be.
        OSError: the directory cannot be written; an earlier report is left as it was.
    """
    run = Path(run)
    if not (run / "evaluation.json").is_file():
        raise RunDirectoryError(
            f"a report is written of a run that was evaluated; {run} has no evaluation.json. First: "
            f"selfreg evaluate --out {run}"
        )
    give_matplotlib_a_directory()
    material = Material.load(run)
    name = visible(run.absolute().name, limit=100)
    for left in run.glob(f"{FOLDER}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    # In a fresh folder of this process, so that existing links in the run are never followed.
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir=run, ignore_cleanup_errors=True) as folder:
        made = Path(folder)
        (made / "plots").mkdir()
        text = page(title=f"selfreg: {name}", body=body(material, name, made / "plots"))
        (made / "report.html").write_text(text, encoding="utf-8", errors="backslashreplace")
        remove(run / "plots")
        (made / "plots").replace(run / "plots")
        return (made / "report.html").replace(run / "report.html")
