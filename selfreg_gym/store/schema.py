"""The SQLite file behind ``Rollouts``: its tables, how it is made, opened and checked.

Why SQLite: one file that ``sqlite3`` can read while it is being written, several writers, and a transaction that a
``kill -9`` cannot tear (write-ahead log; ``synchronous=NORMAL`` can lose the last commits to a power cut, never to a
killed process). Measured against Parquet parts and HDF5 in ``benchmarks/storage.py``.

Tables (every one can be read in the ``sqlite3`` shell; the view ``steps`` shows transitions with their texts)::

    meta         key, value                     the spec (JSON), when it was made and by which version
    plan         run, episode, task, seed, p    the episodes that were to be played, fixed beforehand
    episodes     run, episode, ...              outcome, usage, metrics: one row per episode that was played
    transitions  run, episode, t, ...           one row per decision; texts by their id
    texts        id, hash, text                 each distinct text once (an observation of 1 kB recurs often)
    failures     run, episode, attempt, error   episodes that ended in an error: never data, played again

Format 2 has two columns more than format 1, ``tokens`` and ``price`` of the calls. A store of format 1 is read as it is
(nothing was counted), and becomes format 2 when the first episode is added to it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, StoreDamagedError, StoreError, StoreVersionError, shown
from selfreg_gym.utils.files import atomic_path

__all__ = [
    "FORMAT",
    "can_write",
    "comparable",
    "connect",
    "create",
    "differences",
    "explained",
    "open_checked",
    "reading",
    "spec_json",
    "transaction",
    "upgrade",
]

FORMAT = 2  # kept in PRAGMA user_version; raise it whenever the tables change
_READABLE = (1, FORMAT)
_APPLICATION = 0x53524759  # "SRGY", in PRAGMA application_id: this is ours and not just any database
_HINTS = {
    "readonly": " It is read-only: it can be read, but not continued. Copy it to a place where you can write.",
    "disk is full": " Free some space and run the same call again: what was stored before is kept.",
    "unable to open": " Check that the file and its folder can be read (and written, to continue a collection).",
    "disk I/O": " Check the disk and its quota; run the same call again.",
}
_BUSY_SECONDS = 60.0  # a writer waits this long for another one

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX texts_by_hash ON texts (hash);
CREATE TABLE plan (
    run INTEGER NOT NULL, episode INTEGER NOT NULL,
    task INTEGER NOT NULL, seed INTEGER NOT NULL, help_probability REAL,
    PRIMARY KEY (run, episode)
) WITHOUT ROWID;
CREATE INDEX plan_by_identity ON plan (run, task, seed);
CREATE TABLE episodes (
    run INTEGER NOT NULL, episode INTEGER NOT NULL,
    task INTEGER NOT NULL, seed INTEGER NOT NULL, help_probability REAL,
    task_id TEXT NOT NULL, kind TEXT NOT NULL, success INTEGER NOT NULL, length INTEGER NOT NULL,
    cost REAL NOT NULL, usage TEXT NOT NULL, metrics TEXT NOT NULL,
    PRIMARY KEY (run, episode)
) WITHOUT ROWID;
CREATE TABLE transitions (
    run INTEGER NOT NULL, episode INTEGER NOT NULL, t INTEGER NOT NULL,
    observation INTEGER NOT NULL, admissible_actions INTEGER, state_key INTEGER NOT NULL, feature_key INTEGER,
    steps_left INTEGER, action INTEGER NOT NULL, action_text INTEGER NOT NULL,
    cost REAL NOT NULL, reward REAL NOT NULL,
    terminated INTEGER NOT NULL, truncated INTEGER NOT NULL, invalid INTEGER NOT NULL,
    tokens INTEGER, price REAL,
    PRIMARY KEY (run, episode, t)
) WITHOUT ROWID;
CREATE TABLE failures (
    run INTEGER NOT NULL, episode INTEGER NOT NULL, attempt INTEGER NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (run, episode, attempt)
) WITHOUT ROWID;
"""
_VIEW = """
CREATE VIEW steps AS SELECT
    r.run, r.episode, r.t, e.task_id, e.kind, e.help_probability AS p, e.success,
    CASE r.action WHEN 0 THEN 'actor' ELSE coalesce(
        (SELECT json_extract(value, '$.env.interventions[' || (r.action - 1) || ']') FROM meta WHERE key = 'spec'),
        'intervention ' || r.action) END AS who,
    r.action, a.text AS action_text, r.cost, r.tokens, r.price, r.reward, r.terminated, r.truncated, r.invalid,
    r.steps_left, k.text AS state_key, f.text AS feature_key, o.text AS observation, m.text AS admissible_actions
FROM transitions r
JOIN episodes e USING (run, episode)
JOIN texts o ON o.id = r.observation
JOIN texts k ON k.id = r.state_key
JOIN texts a ON a.id = r.action_text
LEFT JOIN texts f ON f.id = r.feature_key
LEFT JOIN texts m ON m.id = r.admissible_actions
"""
_NAMES = {"meta", "texts", "plan", "episodes", "transitions", "failures", "steps"}


def check_path(path: Any) -> Path:
    """Return the path of a store.

    Raises:
        InvalidArgumentError: not a text or a path.
        StoreError: a name that no file can have.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or "\0" in text:
        raise InvalidArgumentError(
            f"a rollout store is a file: its path must be a str or a Path without NUL, received {shown(path)}."
        )
    with explained(Path(text[:200])):
        Path(text).exists()  # raises for a name that is too long
    return Path(text)


def create(path: Path, spec: dict[str, Any]) -> sqlite3.Connection:
    """Make an empty store at ``path`` (its folders too), all of it or nothing.

    Raises:
        StoreError: something is there already, or the file cannot be made.
        InvalidArgumentError: ``spec`` is not plain JSON.
    """
    text = spec_json(spec)
    taken = StoreError(f"{path} exists already: open it with Rollouts.open, or choose another path.")
    if path.exists():
        raise taken
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                atomic_path(path, overwrite=False) as temporary,
                contextlib.closing(connect(temporary, mode="rwc")) as connection,
            ):
                _write_tables(connection, text)
        except FileExistsError:
            raise taken from None
        return _writable(path)


def _write_tables(connection: sqlite3.Connection, spec: str) -> None:
    with transaction(connection):
        for statement in [*_TABLES.split(";\n"), _VIEW]:
            connection.execute(statement)
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("spec", spec), ("created", made)])
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")


def _writable(path: Path) -> sqlite3.Connection:
    """A connection for writing, in the journal mode that lets others read meanwhile (the file remembers it)."""
    connection = connect(path, mode="rw")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8192")  # pages of 4 kB: copying the log less often is faster
    return connection


def open_checked(path: Path, *, check: bool) -> sqlite3.Connection:
    """Open a store for reading and writing (for reading alone if it is read-only).

    Args:
        path: the file.
        check: also let SQLite verify the whole file (``quick_check``; about 0.2 s per 100 MB).

    Raises:
        StoreError: there is no such file.
        StoreVersionError: it was written in another format version.
        StoreDamagedError: it is no database, not one of ours, or damaged.
    """
    if not path.exists():
        raise StoreError(f"there is no rollout store at {path}. `collect(...)` or Rollouts.create makes one.")
    if path.is_dir():
        raise StoreError(f"{path} is a folder; a rollout store is one file, for instance {path / 'rollouts.sqlite'}.")
    with explained(path):
        mode = "rw" if can_write(path) else "ro"
        with contextlib.closing(connect(path, mode=mode)) as connection:
            _verify(connection, path, check=check)
        return _writable(path) if mode == "rw" else connect(path, mode="ro")


def can_write(path: Path) -> bool:
    """Whether this process may write the file and, for SQLite's journal, its folder."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _verify(connection: sqlite3.Connection, path: Path, *, check: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if application != _APPLICATION:
        raise StoreDamagedError(f"{path} is an SQLite database, but not a rollout store (its tables: {sorted(names)}).")
    if version not in _READABLE:
        hint = "Update selfreg_gym." if version > FORMAT else "Collect again, or use the version that wrote it."
        raise StoreVersionError(f"{path} has store format {version}; this selfreg_gym reads format {FORMAT}. {hint}")
    if not names >= _NAMES:
        raise StoreDamagedError(f"{path} lacks the tables {sorted(_NAMES - names)}; restore it from a copy.")
    if check:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreDamagedError(f"{path} is damaged ({problem}). Restore it from a copy, or collect again.")


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a store of an older format to this one, in the transaction that is under way."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT:
        return
    for column in ("tokens INTEGER", "price REAL"):
        connection.execute(f"ALTER TABLE transitions ADD COLUMN {column}")
    connection.execute("DROP VIEW steps")
    connection.execute(_VIEW)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode; transactions are begun by hand. ``mode``: ro, rw or rwc."""
    uri = path.resolve().as_uri() + f"?mode={mode}"
    if mode == "ro" and not can_write(path) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"  # a read-only archive: SQLite could not make the files that readers share
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; takes the write lock at once, so that what was read cannot change before it is written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of its own that sees the store as it is now, whatever is written meanwhile."""
    with explained(path), contextlib.closing(connect(path, mode="ro")) as connection:
        connection.execute("PRAGMA cache_size = -65536")  # 64 MiB of pages
        connection.execute("BEGIN")
        yield connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as errors of this package, with what to do.

    Raises:
        StoreError: the file is locked, read-only, on a full disk, or cannot be opened.
        StoreDamagedError: SQLite cannot read it.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise StoreError(f"{path} was locked by another writer for {_BUSY_SECONDS:.0f} s.") from error
        hint = next((hint for word, hint in _HINTS.items() if word in text), "")
        raise StoreError(f"{path} cannot be used: {text}.{hint}") from error
    except sqlite3.ProgrammingError as error:  # a store that was closed, or used in another thread
        raise StoreError(f"{path} cannot be used: {error} Open it again with Rollouts.open.") from error
    except (sqlite3.InterfaceError, OverflowError) as error:
        raise InvalidArgumentError(f"{path} cannot hold this value: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StoreDamagedError(f"{path} is not a readable SQLite database ({error}).") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error}.") from error


def spec_json(spec: dict[str, Any]) -> str:
    """The spec as JSON with sorted keys.

    Raises:
        InvalidArgumentError: it is not a dict of plain values.
    """
    if not isinstance(spec, dict):
        raise InvalidArgumentError(f"a store's spec is a dict, received {type(spec).__name__}.")
    try:
        return json.dumps(spec, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"a store's spec holds plain JSON values only: {error}.") from error


def comparable(stored: dict[str, Any], asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two specs without what one of them does not say.

    Stores of earlier versions say nothing about the identity of functions (``env.identity``) or about the attributes of
    objects (``env.identity.attributes``), and bytecode differs between versions of Python.
    """
    old, new = stored.get("env"), asked.get("env")
    if not isinstance(old, dict) or not isinstance(new, dict):
        return stored, asked
    left, right = old.get("identity"), new.get("identity")
    if not isinstance(left, dict) or not isinstance(right, dict):
        old, new = (_without(env, "identity") for env in (old, new))
    else:
        left_out = ["python", "code", "functions"] if left.get("python") != right.get("python") else []
        if not ("attributes" in left and "attributes" in right):
            left_out += ["attributes", "functions"]
        old, new = ({**env, "identity": _without(env["identity"], *left_out)} for env in (old, new))
    return {**stored, "env": old}, {**asked, "env": new}


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def differences(stored: Any, asked: Any, name: str = "") -> list[str]:
    """Where two specs differ, one line per value, named by its path (``env.actor: stored 'a', asked 'b'``)."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        found: list[str] = []
        for key in sorted(stored.keys() | asked.keys()):
            inner = f"{name}.{key}" if name else str(key)
            found += differences(stored.get(key, "nothing"), asked.get(key, "nothing"), inner)
        return found
    return [] if stored == asked else [f"{name}: the store has {_short(stored)}, asked for {_short(asked)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(value)} items)"
