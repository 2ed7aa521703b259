"""Answers on disk: what was asked once is not asked, and not paid, again.

One SQLite file, keyed by the whole request (path, model, prompt, parameters) and the number of the draw, so that two
decisions that look alike are independent draws and a resumed run replays its own. An answer is written in one
transaction when it arrives: ``kill -9`` loses what was under way, and several processes may share the file. The address
of the server is no part of the key (a job moves, its model does not), so keep one file per model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfreg_gym.errors import StoreError
from selfreg_gym.store.schema import connect

__all__ = ["AnswerCache", "request_key"]

_APPLICATION = 0x53524741  # "SRGA"
_FORMAT = 1


def request_key(path: str, body: dict[str, Any], draw: int | None) -> bytes:
    """32 bytes that name a request; the order of its keys does not matter."""
    text = json.dumps([path, body, draw], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


class AnswerCache:
    """A file of answers, each plain JSON.

    Args:
        path: the file, made if need be, folders too.

    Raises:
        StoreError: it is something else, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self.path, mode="rwc")
            application = self._pragma("application_id")
            if application not in (0, _APPLICATION) or self._pragma("user_version") not in (0, _FORMAT):
                raise StoreError(f"{self.path} is no cache of answers (of this version): choose another file.")
            if application == 0 and self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise StoreError(f"{self.path} is another database: choose another file for the cache.")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
            )

    def get(self, key: bytes) -> Any:
        """The answer under ``key``, or None. A row that is not JSON is dropped, so that it is asked for again."""
        with self._explained():
            row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        try:
            return json.loads(row[0]) if row else None
        except (ValueError, TypeError, RecursionError):
            self.drop(key)
            return None

    def put(self, key: bytes, answer: Any) -> None:
        """Keep an answer. The first one stays: of two processes that asked at once, both read the same later."""
        with self._explained():
            self._connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, json.dumps(answer, allow_nan=False))
            )

    def drop(self, key: bytes) -> None:
        """Forget the answer under ``key``, if there is one."""
        with self._explained():
            self._connection.execute("DELETE FROM answers WHERE key = ?", (key,))

    def __len__(self) -> int:
        with self._explained():
            return self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _pragma(self, name: str) -> int:
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} cannot be used as a cache of answers: {error}.") from error
