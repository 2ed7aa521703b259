"""Cache of answers on disk: a request is sent, and paid, once.

The key is a hash of the whole request (path, model, prompt, parameters) and the number of the draw. So equal decisions
get independent draws, and a resumed run repeats its own. Each answer is committed when it arrives: ``kill -9`` loses
only requests in progress, and several processes may share the file. The address of the server is not part of the key (a
job moves to another host with the same model), so keep one file per model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfreg_gym.errors import StoreError
from selfreg_gym.store.schema import connect

__all__ = ["AnswerCache", "request_key"]

_APPLICATION = 0x53524741  # "SRGA"
_FORMAT = 1


def request_key(path: str, body: dict[str, Any], draw: int | None) -> bytes:
    """SHA-256 of a request, 32 bytes; the order of the keys in ``body`` does not matter."""
    text = json.dumps([path, body, draw], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


class AnswerCache:
    """An SQLite file of answers, each a JSON text. Any thread can use it.

    Args:
        path: the file; it is created with its folders if it is missing.

    Raises:
        StoreError: the file is something else, or is not writable.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self.path, mode="rwc", one_thread=False)
            application = self._pragma("application_id")
            if application not in (0, _APPLICATION) or self._pragma("user_version") not in (0, _FORMAT):
                raise StoreError(f"{self.path} is not a cache of answers (of this version): choose another file.")
            if application == 0 and self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise StoreError(f"{self.path} is another database: choose another file for the cache.")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
            )

    def get(self, key: bytes) -> Any:
        """The answer of ``key``, or None. A row that is not JSON is deleted, so that the request is sent again."""
        with self._errors():
            row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        try:
            return json.loads(row[0]) if row else None
        except (ValueError, TypeError, RecursionError):
            self.drop(key)
            return None

    def put(self, key: bytes, answer: Any) -> None:
        """Store an answer, unless the key has one: two processes that ask at once read the same answer later."""
        row = key, json.dumps(answer, allow_nan=False)
        with self._errors():
            self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", row)

    def drop(self, key: bytes) -> None:
        """Delete the answer of ``key``, if there is one."""
        with self._errors():
            self._connection.execute("DELETE FROM answers WHERE key = ?", (key,))

    def __len__(self) -> int:
        with self._errors():
            return self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _pragma(self, name: str) -> int:
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} cannot be used as a cache of answers: {error}.") from error
