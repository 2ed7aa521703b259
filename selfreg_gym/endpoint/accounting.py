"""Counters of requests and tokens, and their cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from selfreg_gym.endpoint.server import Server

__all__ = ["Meter", "Tokens"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Numbers of tokens read (``prompt``) and written (``completion``), of one or several answers."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    @property
    def total(self) -> int:
        """Their sum."""
        return self.prompt + self.completion


class Meter:
    """Requests and tokens of a connection. Answers from the cache cost no tokens here.

    Attributes:
        requests: attempts sent.
        retried: attempts after a failed one.
        failed: requests without an answer after the last attempt.
        cached: answers from memory or from the cache.
        truncated: answers used for actions (cached ones included) that end at the token limit.
        tokens: of all answers from the server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.retried = self.failed = self.cached = self.truncated = 0
        self.tokens = Tokens()

    def count(self, *, tokens: Tokens | None = None, **counts: int) -> None:
        """Add to the counters; thread-safe."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)
            if tokens is not None:
                self.tokens += tokens

    def totals(self, server: Server) -> dict[str, int | float]:
        """The counters by name, and ``cost``: cost units of the tokens at the prices of ``server``."""
        with self._lock:
            counts = {name: getattr(self, name) for name in ("requests", "retried", "failed", "cached", "truncated")}
            read, written = self.tokens.prompt, self.tokens.completion
        return {**counts, "prompt_tokens": read, "completion_tokens": written, "cost": server.cost_of(read, written)}
