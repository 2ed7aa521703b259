"""Counting tokens, requests and what they cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from selfreg_gym.endpoint.server import Server

__all__ = ["Meter", "Tokens"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens read (``prompt``) and written (``completion``) for one or several answers."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.completion


class Meter:
    """What a connection has really spent: answers that came from memory or from the cache cost nothing here.

    Attributes:
        requests: attempts that were sent.
        repeated: those among them that repeat a failed one.
        failed: requests that were given up.
        remembered: answers that needed no request.
        cut: answers used for actions, remembered ones included, that the token limit ended.
        tokens: of all answers that the server gave.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.repeated = self.failed = self.remembered = self.cut = 0
        self.tokens = Tokens()

    def count(
        self,
        *,
        requests: int = 0,
        repeated: int = 0,
        failed: int = 0,
        remembered: int = 0,
        cut: int = 0,
        tokens: Tokens | None = None,
    ) -> None:
        """Add to the counts; safe from several threads."""
        with self._lock:
            self.requests += requests
            self.repeated += repeated
            self.failed += failed
            self.remembered += remembered
            self.cut += cut
            if tokens is not None:
                self.tokens += tokens

    def totals(self, server: Server) -> dict[str, int | float]:
        """The counts, and what the tokens cost at ``server``."""
        with self._lock:
            return {
                "requests": self.requests,
                "repeated": self.repeated,
                "failed": self.failed,
                "remembered": self.remembered,
                "cut": self.cut,
                "prompt_tokens": self.tokens.prompt,
                "completion_tokens": self.tokens.completion,
                "price": server.price(self.tokens.prompt, self.tokens.completion),
            }
