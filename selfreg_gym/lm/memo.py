"""A bounded cache of results. Its keys are digests, so it holds no prompts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["Memo", "digest"]

V = TypeVar("V")


def digest(parts: Iterable[str]) -> bytes:
    """Hash a sequence of strings to 16 bytes; ``("ab", "c")`` and ``("a", "bc")`` differ."""
    return blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Memo(Generic[V]):
    """A dictionary of at most ``size`` entries that drops the least recently used one (LRU cache).

    Args:
        size: largest number of entries; with 0 every look-up misses.

    Raises:
        InvalidArgumentError: ``size`` is negative.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise InvalidArgumentError(f"a memo's size must be 0 or more, received size={size!r}.")
        self.size = size
        self._entries: OrderedDict[bytes, V] = OrderedDict()

    def get(self, key: bytes) -> V | None:
        """Return the value of ``key`` and mark it as used, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def get_or_compute(self, keys: Sequence[bytes], compute: Callable[[list[int]], Iterable[tuple[int, V]]]) -> list[V]:
        """Return the value of each key, and compute the missing ones.

        Args:
            keys: N keys; equal keys are looked up and computed once.
            compute: receives the indices of the missing keys (it is not called if there are none) and yields
                ``(index, value)`` in any order. Values yielded before a failure are kept.

        Returns:
            N values.
        """
        found: dict[bytes, V] = {}
        missing: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in found and key not in missing:
                known = self.get(key)
                if known is None:
                    missing[key] = index
                else:
                    found[key] = known
        for index, value in compute(list(missing.values())) if missing else ():
            found[keys[index]] = value
            self.put(keys[index], value)
        return [found[key] for key in keys]

    def put(self, key: bytes, value: V) -> None:
        """Store ``value``, and drop the least recently used entry if the memo is full."""
        if self.size == 0:
            return
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.size:
            self._entries.popitem(last=False)

    def drop(self, key: bytes) -> None:
        """Remove ``key``, if it is present."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
