"""A bounded memo: the last N answers, keyed by a digest so that no prompt is kept alive."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["Memo", "digest"]

V = TypeVar("V")


def digest(parts: Iterable[str]) -> bytes:
    """16 bytes that name a sequence of strings; ``("ab", "c")`` and ``("a", "bc")`` differ."""
    return blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Memo(Generic[V]):
    """A dict that forgets what was least recently used once it holds ``size`` entries.

    Args:
        size: the most entries kept; 0 keeps nothing (every look-up misses).
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise InvalidArgumentError(f"a memo's size must be 0 or more, received size={size!r}.")
        self.size = size
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[bytes, V] = OrderedDict()

    def get(self, key: bytes) -> V | None:
        """Return the value under ``key`` and mark it as used, or None."""
        value = self._entries.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return value

    def recall(self, keys: Sequence[bytes], read: Callable[[list[int]], Iterable[tuple[int, V]]]) -> list[V]:
        """The value of each key: remembered, or read and remembered.

        Args:
            keys: N keys; equal ones are looked up, and read, once.
            read: gets the indices of the keys to be read (not called if there are none), and yields each of them with
                its value, in any order. What it has yielded is remembered even if it fails later.
        """
        found: dict[bytes, V] = {}
        todo: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in found and key not in todo:
                known = self.get(key)
                if known is None:
                    todo[key] = index
                else:
                    found[key] = known
        for index, value in read(list(todo.values())) if todo else ():
            found[keys[index]] = value
            self.put(keys[index], value)
        return [found[key] for key in keys]

    def put(self, key: bytes, value: V) -> None:
        """Store ``value``, and drop the oldest entry if the memo is full."""
        if self.size == 0:
            return
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.size:
            self._entries.popitem(last=False)

    def drop(self, key: bytes) -> None:
        """Forget what is under ``key``, if there is something."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries
