"""The build backend: setuptools, with two additions.

**Editable installs.** Setuptools makes a mapped package importable by an import hook, which type checkers do not run:
``mypy`` of another project reports that ``selfreg_gym`` cannot be found. So an editable install also puts a directory
on the path that holds one link, to the package (whose own links to ``agents`` and ``envs`` complete it). The repository
itself is not put on the path, because then a top-level ``agents`` would be importable. Where links cannot be made, the
hook alone remains.

**Source distributions.** Setuptools leaves out the package's two links, or copies their targets; here they stay links.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

PACKAGE = "selfreg_gym"
FOLDERS = ("agents", "envs")
LINKS = Path("build", "editable")


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """Build the wheel of setuptools and add the ``.pth`` file; a frontend calls this in the root of the repository."""
    name = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    if _link():
        _add(Path(wheel_directory, name), f"__editable___{PACKAGE}_types.pth", f"{LINKS.resolve()}\n".encode())
    return name


def build_sdist(sdist_directory, config_settings=None):
    """Build the archive of setuptools and add the links from the package to ``agents`` and ``envs``."""
    name = build_meta.build_sdist(sdist_directory, config_settings)
    path = Path(sdist_directory, name)
    with tarfile.open(path) as archive:
        entries = [(info, archive.extractfile(info).read() if info.isfile() else None) for info in archive]
    with tarfile.open(path, "w:gz") as archive:
        for info, held in entries:
            archive.addfile(info, None if held is None else io.BytesIO(held))
        for folder in FOLDERS:
            link = tarfile.TarInfo(f"{name.removesuffix('.tar.gz')}/{PACKAGE}/{folder}")
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, f"../{folder}", entries[0][0].mtime
            archive.addfile(link)
    return name


def _link() -> bool:
    link = LINKS / PACKAGE
    try:
        LINKS.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(os.pardir, os.pardir, PACKAGE), target_is_directory=True)
        return all((link / folder / "__init__.py").is_file() for folder in ("", *FOLDERS))
    except OSError:  # a file system or a user without links
        return False


def _add(wheel: Path, name: str, content: bytes) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(wheel) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        for info, held in entries:
            if info.filename.endswith(".dist-info/RECORD"):
                held += f"{name},sha256={digest},{len(content)}\n".encode()
            archive.writestr(info, held)
