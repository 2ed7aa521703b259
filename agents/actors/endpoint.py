"""A model behind an OpenAI-compatible server (vLLM, llama.cpp, TGI, ``transformers serve``), as the actor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfreg_gym.endpoint.cache import request_key
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.probe import CAPABILITIES, Capabilities, Finding, probe
from selfreg_gym.endpoint.server import IMMATERIAL, Server, keyword_names
from selfreg_gym.endpoint.strategies import NEEDS, WAYS, Chooser, Manner, choose_way, choosing
from selfreg_gym.errors import EndpointError, InvalidArgumentError, UnknownNameError, shown
from selfreg_gym.intervention_env.building import check_seed
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.arguments import check_count, check_number

__all__ = ["EndpointActor"]

_APIS = ("auto", "chat", "completions")
_LOG = logging.getLogger("selfreg_gym.endpoint")


class EndpointActor:
    """Asks a server what to do, in the best way that the server can (see :meth:`describe`).

    At the first decision the server is probed, and the first of these that works is taken: log-probabilities of the
    admissible actions (``echo``), a constrained answer (``structured``), a choice of ``/v1/systemone``, or an answer in
    words out of which an action is read (``text``). Ranked answers are drawn here, from the decision's own stream;
    answers that the server draws carry a seed of the decision's own. A call that fails for good, and a response without
    an answer (no text, a filter, an abort), is an ``Act`` with an ``error``: the episode is excluded and played again.

    Args:
        base_url: of the API, ``/v1`` included; None is the one that ``$OPENAI_BASE_URL`` names.
        way: "auto", or one of "echo", "structured", "systemone", "text".
        api: which one is asked for a text: "chat", "completions", or "auto" (chat where it works).
        temperature: 1 samples from the model as it is, 0 takes the best.
        seed: another number gives other draws; None sends no seed, for servers that refuse one.
        max_tokens: longest answer in words.
        reasoning: in words, ask for ``Reasoning: ... Action: ...`` (give it ``max_tokens`` of some hundreds).
        nearest: in words, turn an inadmissible answer into the admissible action spelled most like it.
        instructions: system message of a chat.
        cache: file in which answers are kept; one per model.
        **server: of :class:`selfreg_gym.endpoint.Server`: ``model, api_key_env, timeout, load_timeout, retries,
            backoff, max_backoff, max_wait, concurrency, batch, prompt_price, completion_price``.

    Raises:
        InvalidArgumentError, UnknownNameError: no address, an argument out of range, or one that does not exist.
        SetupError: the environment variable named by ``api_key_env`` does not hold a valid key.
    """

    immaterial = IMMATERIAL

    def __init__(
        self,
        base_url: str | None = None,
        *,
        way: str = "auto",
        api: str = "auto",
        temperature: float = 1.0,
        seed: int | None = 0,
        max_tokens: int = 64,
        reasoning: bool = False,
        nearest: bool = False,
        instructions: str | None = None,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        if way not in ("auto", *WAYS):
            raise UnknownNameError("way to choose an action", way, ("auto", *WAYS))
        if api not in _APIS:
            raise UnknownNameError("api of an endpoint", api, _APIS)
        temperature = check_number("temperature", temperature, high=1e6)
        max_tokens = check_count("max_tokens", max_tokens, high=10**6)
        for name, flag in (("reasoning", reasoning), ("nearest", nearest)):
            if not isinstance(flag, bool):
                raise InvalidArgumentError(f"{name} must be True or False, received {shown(flag)}.")
        if instructions is not None and not isinstance(instructions, str):
            raise InvalidArgumentError(f"instructions must be a text or None, received {shown(instructions)}.")
        self.way = way
        self.manner = Manner(temperature, check_seed(seed), max_tokens, reasoning, nearest, api, instructions)
        self.connection = Connection(Server.of(base_url, beside=keyword_names(EndpointActor), **server), cache=cache)
        self._forget()

    def _forget(self) -> None:
        self._capabilities: Capabilities | None = None
        self._chosen: tuple[str, str] | None = None
        self._choosers: dict[str, Chooser] = {}

    @property
    def name(self) -> str:
        """What a store says the actor was: model, way and manner, so that it is not continued with another."""
        manner = ", ".join(
            f"{name}={value}" for name, value in asdict(self.manner).items() if value is not None and value is not False
        )
        return f"endpoint {self.connection.server.model or '(its only model)'}, way={self.way}, {manner}"

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do; probed when first asked for, and remembered in the cache.

        Raises:
            EndpointError: it cannot be reached.
        """
        if self._capabilities is None:
            connection, api = self.connection, self.manner.api
            wanted = sorted(
                {name for way in (WAYS if self.way == "auto" else (self.way, "text")) for name in NEEDS[way]}
            )
            about = {"server": connection.server.base_url, "model": connection.model, "api": api, "wanted": wanted}
            key = request_key("probe 2", about, None)
            found = _recalled(connection.recall(key))
            if found is None:
                connection.forget(key)
                found = probe(connection, wanted, api=api)
                if not any(found.works(name) for name in ("completions", "chat", "systemone")):
                    return found  # the server may be overloaded: it is probed again at the next call
                connection.remember(key, {name: asdict(finding) for name, finding in found.findings.items()})
            self._capabilities = found
        return self._capabilities

    @property
    def chosen(self) -> tuple[str, str]:
        """The way in which actions are chosen, and why.

        Raises:
            EndpointError: the server cannot be reached, or can do nothing that would serve.
        """
        if self._chosen is None:
            self._chosen = choose_way(self.capabilities, self.way)
            _LOG.info("%s: actions by %s (%s)", self.connection.server.base_url, *self._chosen)
        return self._chosen

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """Answer every decision, in order. What fails is an act with an error.

        Raises:
            SetupError: the key's variable is not set, no model was named where the server lists several, or it has no
                model of that name.
            MissingPackageError: the package ``openai`` is not installed.
        """
        try:
            way = self.chosen[0] if decisions else "text"
        except EndpointError as error:
            return [Act("", error=str(error)) for _ in decisions]
        acts: list[Act | None] = [None] * len(decisions)
        for how, rows in (
            (way, [i for i, d in enumerate(decisions) if d.admissible_actions]),
            ("text", [i for i, d in enumerate(decisions) if d.admissible_actions is None]),
        ):
            for i, act in zip(rows, self._choose(how, [decisions[i] for i in rows]), strict=True):
                acts[i] = act
        return [act or Act("", error="there is nothing to choose from: no admissible action.") for act in acts]

    def _choose(self, way: str, decisions: Sequence[Decision]) -> list[Act]:
        if not decisions:
            return []
        if way not in self._choosers:
            self._choosers[way] = choosing(way, self.connection, self.capabilities, self.manner)
        try:
            return self._choosers[way](decisions)
        except EndpointError as error:
            return [Act("", error=str(error)) for _ in decisions]

    def describe(self) -> dict[str, Any]:
        """What was found out and what was spent, as plain values: ``server, model, way, why, capabilities, usage``.

        Raises:
            EndpointError: the server cannot be reached.
        """
        way, why = self.chosen
        return {
            "server": self.connection.server.base_url,
            "model": self.connection.model,
            "way": way,
            "why": why,
            "capabilities": {
                name: {"works": found.works, "why": found.why} for name, found in self.capabilities.findings.items()
            },
            "usage": self.usage(),
        }

    def usage(self) -> dict[str, int | float]:
        """What was really sent and spent by this object: requests, tokens, price; and how many answers were cut.

        ``cut`` counts the actions read from answers that the token limit ended.
        """
        return self.connection.usage()

    def close(self) -> None:
        """Close the connections; the next decision opens them again. An actor that is dropped closes them too."""
        self.connection.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"way": self.way, "manner": self.manner, "connection": self.connection}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointActor:
        return self

    def __repr__(self) -> str:
        server = self.connection.server
        way = f"{self.way}, not asked yet" if self._chosen is None else self._chosen[0]
        return (
            f"{type(self).__name__}({server.base_url!r}, model={server.model!r}, way={way!r}, "
            f"temperature={self.manner.temperature:g})"
        )


def _recalled(value: Any) -> Capabilities | None:
    """Return the remembered findings, or None if they are missing or damaged."""
    try:
        findings = {name: Finding(**finding) for name, finding in value.items()}
    except (AttributeError, TypeError):
        return None
    return Capabilities(findings) if set(findings) <= set(CAPABILITIES) else None
