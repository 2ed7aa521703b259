"""The SQLite file of ``Rollouts``: its tables, and how it is created, opened and checked.

SQLite gives one file that ``sqlite3`` can read while it is written, several writers, and transactions that survive a
``kill -9`` (write-ahead log; with ``synchronous=NORMAL`` a power cut can lose the last commits, a killed process
cannot). ``benchmarks/storage.py`` compares it with Parquet parts and HDF5.

Tables (the view ``steps`` joins transitions with their texts, for the ``sqlite3`` shell)::

    meta         key, value                     the spec (JSON), time and version of the creation
    plan         run, episode, task, seed, p    the episodes to play, fixed before the first is played
    episodes     run, episode, ...              one row per played episode: outcome, usage, metrics
    transitions  run, episode, t, ...           one row per decision; texts by their id
    texts        id, hash, text                 each distinct text once (an observation of 1 kB recurs often); long
                                                ones as compressed bytes (:mod:`selfreg_gym.store.texts`)
    failures     run, episode, attempt, error   episodes that ended in an error; excluded from all statistics

Format 2 adds the columns ``tokens`` and ``price`` (``Transition.reported_cost``) to format 1; format 3 adds
``actor_logprobs`` and ``feature_vector``, lists of float32 numbers as bytes (:mod:`selfreg_gym.store.ragged`); format 4
adds ``propensities`` in the same form; format 5 adds ``continuation``; format 6 compresses long texts. A store of an
earlier format is read without them and converted when an episode is added.
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
    "ADDED_COLUMNS",
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

FORMAT = 6  # PRAGMA user_version; increase it when the tables change
ADDED_COLUMNS = {
    2: ("tokens INTEGER", "price REAL"),
    3: ("actor_logprobs BLOB", "feature_vector BLOB"),
    4: ("propensities BLOB",),
    5: ("continuation INTEGER",),
    6: (),
}
"""The columns that a format adds to the table ``transitions``, with their types."""
_READABLE = range(1, FORMAT + 1)
_APPLICATION = 0x53524759  # "SRGY", PRAGMA application_id: marks the database as a rollout store
_HINTS = {
    "readonly": " It is read-only: it can be read but not continued. Copy it to a writable folder.",
    "disk is full": " Free some space and run the same call again; stored episodes are kept.",
    "unable to open": " Check the permissions of the file and its folder (writable, to continue a collection).",
    "disk I/O": " Check the disk and its quota; run the same call again.",
}
_BUSY_SECONDS = 60.0  # how long a writer waits for another writer

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
    tokens INTEGER, price REAL, actor_logprobs BLOB, feature_vector BLOB, propensities BLOB, continuation INTEGER,
    PRIMARY KEY (run, episode, t)
) WITHOUT ROWID;
CREATE TABLE failures (
    run INTEGER NOT NULL, episode INTEGER NOT NULL, attempt INTEGER NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (run, episode, attempt)
) WITHOUT ROWID;
"""


def _shown(table: str) -> str:
    """SQL for a text in the view; a compressed one shows its size, because SQLite cannot read it."""
    text = f"{table}.text"
    return f"CASE typeof({text}) WHEN 'blob' THEN '[' || length({text}) || ' bytes, zlib]' ELSE {text} END"


_VIEW = f"""
CREATE VIEW steps AS SELECT
    r.run, r.episode, r.t, e.task_id, e.kind, e.help_probability AS p, e.success,
    CASE WHEN r.action = 0 THEN 'actor' WHEN r.action > json_array_length(e.usage) THEN 'abort' ELSE coalesce(
        (SELECT json_extract(value, '$.env.interventions[' || (r.action - 1) || ']') FROM meta WHERE key = 'spec'),
        'intervention ' || r.action) END AS who,
    r.action, r.continuation, {_shown("a")} AS action_text, r.cost, r.tokens, r.price, r.reward,
    r.terminated, r.truncated, r.invalid, r.steps_left,
    {_shown("k")} AS state_key, {_shown("f")} AS feature_key, {_shown("o")} AS observation,
    {_shown("m")} AS admissible_actions
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
    """Return the path of a store, or raise if it is not a str or a path that the file system allows."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str) or "\0" in text:
        raise InvalidArgumentError(
            f"the path of a rollout store must be a str or a Path without NUL, received {shown(path)}."
        )
    with explained(Path(text[:200])):
        Path(text).exists()  # raises for a name that is too long
    return Path(text)


def create(path: Path, spec: dict[str, Any]) -> sqlite3.Connection:
    """Create an empty store at ``path``, and missing folders (``Rollouts.create``); a failure leaves no file."""
    text = spec_json(spec)
    taken = StoreError(f"{path} already exists: open it with Rollouts.open, or choose another path.")
    if path.exists():
        raise taken
    with explained(path):
        try:
            with atomic_path(path, overwrite=False) as temporary:
                _write_tables(temporary, text)
        except FileExistsError:
            raise taken from None
        return _writable(path)


def _write_tables(path: Path, spec: str) -> None:
    with contextlib.closing(connect(path, mode="rwc")) as connection, transaction(connection):
        for statement in [*_TABLES.split(";\n"), _VIEW]:
            connection.execute(statement)
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [("spec", spec), ("created", made)])
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")


def _writable(path: Path) -> sqlite3.Connection:
    """A connection for writing, in the journal mode that allows concurrent readers (stored in the file)."""
    connection = connect(path, mode="rw")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8192")  # in pages of 4 kB; fewer checkpoints are faster
    return connection


def open_checked(path: Path, *, check: bool) -> sqlite3.Connection:
    """Open a store for reading and writing, or for reading only if the file is read-only (``Rollouts.open``)."""
    if not path.exists():
        raise StoreError(f"there is no rollout store at {path}; collect(...) or Rollouts.create creates one.")
    if path.is_dir():
        raise StoreError(f"{path} is a folder; a rollout store is a file, for instance {path / 'rollouts.sqlite'}.")
    with explained(path):
        mode = "rw" if can_write(path) else "ro"
        with contextlib.closing(connect(path, mode=mode)) as connection:
            _verify(connection, path, check=check)
        return _writable(path) if mode == "rw" else connect(path, mode="ro")


def can_write(path: Path) -> bool:
    """Whether this process may write the file and its folder, which SQLite's journal needs."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _verify(connection: sqlite3.Connection, path: Path, *, check: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    if application != _APPLICATION:
        found = f"an SQLite database with other tables: {sorted(names)}" if names else "an empty file, or a damaged one"
        raise StoreDamagedError(f"{path} is not a rollout store, but {found}.")
    if version not in _READABLE:
        hint = "Update selfreg_gym." if version > FORMAT else "Collect again, or use the version that wrote it."
        raise StoreVersionError(f"{path} has store format {version}; this selfreg_gym reads format {FORMAT}. {hint}")
    if not names >= _NAMES:
        raise StoreDamagedError(f"{path} has no tables {sorted(_NAMES - names)}; restore it from a copy.")
    if check:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StoreDamagedError(f"{path} is damaged ({problem}). Restore it from a copy, or collect again.")


def upgrade(connection: sqlite3.Connection) -> None:
    """Convert a store of an older format to this one, within the current transaction."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT:
        return
    for added in range(version + 1, FORMAT + 1):
        for column in ADDED_COLUMNS[added]:
            connection.execute(f"ALTER TABLE transitions ADD COLUMN {column}")
    connection.execute("DROP VIEW steps")
    connection.execute(_VIEW)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def connect(path: Path, *, mode: str, one_thread: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode with explicit transactions; ``mode`` is ro, rw or rwc.

    Only the thread that opens it can use it, unless ``one_thread`` is False; then the caller allows one use at a time.
    """
    uri = path.resolve().as_uri() + f"?mode={mode}"
    if mode == "ro" and not can_write(path) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"  # a read-only archive, beside which SQLite cannot create its shared files
    connection = sqlite3.connect(
        uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=one_thread
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at its start, so that rows read in it cannot change before its end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A new connection with a snapshot of the store; later writes are not visible in it."""
    with explained(path), contextlib.closing(connect(path, mode="ro")) as connection:
        connection.execute("PRAGMA cache_size = -65536")  # 64 MiB of pages
        connection.execute("BEGIN")
        yield connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Convert errors of SQLite and of the file system into errors of this package, with a remedy.

    Raises:
        StoreError: the file is locked, read-only, on a full disk, or cannot be opened.
        StoreDamagedError: SQLite cannot read the file.
        InvalidArgumentError: a value cannot be stored.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise StoreError(f"{path} was locked by another writer for {_BUSY_SECONDS:.0f} s.") from error
        hint = next((hint for word, hint in _HINTS.items() if word in text), "")
        raise StoreError(f"{path} cannot be used: {text}.{hint}") from error
    except sqlite3.ProgrammingError as error:  # the store was closed, or is used in another thread
        raise StoreError(f"{path} cannot be used: {error} Open it again with Rollouts.open.") from error
    except (sqlite3.InterfaceError, OverflowError) as error:
        raise InvalidArgumentError(f"{path} cannot hold this value: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StoreDamagedError(f"{path} is not a readable SQLite database ({error}).") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error}.") from error


def spec_json(spec: dict[str, Any]) -> str:
    """The spec, a dict of plain JSON values, as JSON with sorted keys."""
    if not isinstance(spec, dict):
        raise InvalidArgumentError(f"the spec of a store must be a dict, received {type(spec).__name__}.")
    try:
        return json.dumps(spec, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"the spec of a store must hold plain JSON values only: {error}.") from error


def comparable(stored: dict[str, Any], asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two specs, reduced to the entries that can be compared.

    Stores of earlier versions have no identity of functions (``env.identity``) or no attributes of objects
    (``env.identity.attributes``), and bytecode differs between versions of Python. Versions of packages are compared by
    :mod:`selfreg_gym.collection.versions`.
    """
    old, new = stored.get("env"), asked.get("env")
    if not isinstance(old, dict) or not isinstance(new, dict):
        return stored, asked
    left, right = old.get("identity"), new.get("identity")
    if not isinstance(left, dict) or not isinstance(right, dict):
        old, new = (_without(env, "identity") for env in (old, new))
    else:
        left_out = ["versions"]
        left_out += ["python", "code", "functions"] if left.get("python") != right.get("python") else []
        if not ("attributes" in left and "attributes" in right):
            left_out += ["attributes", "functions"]
        old, new = ({**env, "identity": _without(env["identity"], *left_out)} for env in (old, new))
    return {**stored, "env": old}, {**asked, "env": new}


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def differences(stored: Any, asked: Any, name: str = "") -> list[str]:
    """The differences of two specs, one text per value with its path (``env.actor: the store has ...``)."""
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
