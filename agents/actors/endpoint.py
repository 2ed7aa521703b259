"""Actor: a model behind an OpenAI-compatible server (vLLM, llama.cpp, TGI, ``transformers serve``)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfreg_gym.endpoint.cache import request_key
from selfreg_gym.endpoint.connection import Connection
from selfreg_gym.endpoint.probe import CAPABILITIES, Capabilities, Finding, probe
from selfreg_gym.endpoint.server import IMMATERIAL, Server, keyword_names
from selfreg_gym.endpoint.strategies import (
    REQUIRED_CAPABILITIES,
    STRATEGIES,
    Choice,
    GenerationOptions,
    Strategy,
    choose_strategy,
    strategy_function,
)
from selfreg_gym.errors import EndpointError, InvalidArgumentError, shown
from selfreg_gym.intervention_env.building import check_seed
from selfreg_gym.types import Act, Decision
from selfreg_gym.utils.arguments import check_count, check_flag, check_name, check_number

__all__ = ["EndpointActor"]

_APIS = ("auto", "chat", "completions")
_LOG = logging.getLogger("selfreg_gym.endpoint")


class EndpointActor:
    """Gets actions from a server by the best strategy that the server supports (see :meth:`describe`).

    The server is probed at the first decision. The strategy is the first supported one of ``echo`` (log-probabilities
    of the admissible actions), ``structured`` (an answer restricted to them), ``systemone`` (a typed choice of
    ``/v1/systemone``) and ``text`` (an action read from a generated text). Where the server returns probabilities, the
    client samples the action with the random stream of the decision; where it generates a text, it receives a seed from
    that stream. A call that fails after all retries, or a response without an answer (no text, a filter, an abort), is
    an ``Act`` with an ``error``: the episode is truncated, excluded, and played again.

    Args:
        base_url: address of the API, including ``/v1``; default ``$OPENAI_BASE_URL``.
        strategy: "auto", "echo", "structured", "systemone" or "text". ``way`` is the former name.
        api: route for texts: "chat", "completions", or "auto" (chat if it works).
        temperature: 1 samples from the model's distribution, 0 takes the most probable answer.
        seed: of the draws; None sends no seed, for servers that refuse one.
        max_tokens: token limit of a text.
        reasoning: request ``Reasoning: ... Action: ...`` (with ``max_tokens`` of some hundreds); texts only.
        nearest: replace an inadmissible answer by the admissible action with the most similar spelling; texts only.
        instructions: system message of a chat.
        request: what a text is asked for, after the observation; None: one of the offered actions. Not with reasoning.
        cache: path of the answer cache; one file per model.
        **server: fields of :class:`selfreg_gym.endpoint.Server`: ``model, api_key_env, timeout, load_timeout, retries,
            backoff, max_backoff, max_wait, concurrency, batch, token_prices``.

    Raises:
        InvalidArgumentError, UnknownNameError: no address, an argument out of range, or an unknown one.
        SetupError: the value of the environment variable ``api_key_env`` is not a valid key.
    """

    immaterial = IMMATERIAL

    def __init__(
        self,
        base_url: str | None = None,
        *,
        strategy: str = "auto",
        api: str = "auto",
        temperature: float = 1.0,
        seed: int | None = 0,
        max_tokens: int = 64,
        reasoning: bool = False,
        nearest: bool = False,
        instructions: str | None = None,
        request: str | None = None,
        cache: str | Path | None = None,
        **server: Any,
    ) -> None:
        if "way" in server:
            warnings.warn(
                "the argument way of EndpointActor is now strategy; the former name will be removed in the next "
                "release.",
                DeprecationWarning,
                stacklevel=2,
            )
            strategy = server.pop("way")
        check_name("strategy of an endpoint", strategy, ("auto", *STRATEGIES))
        check_name("api of an endpoint", api, _APIS)
        temperature = check_number("temperature", temperature, high=1e6)
        max_tokens = check_count("max_tokens", max_tokens, high=10**6)
        reasoning, nearest = check_flag("reasoning", reasoning), check_flag("nearest", nearest)
        for name, text in (("instructions", instructions), ("request", request)):
            if text is not None and not isinstance(text, str):
                raise InvalidArgumentError(f"{name} must be a text or None, received {shown(text)}.")
        if request is not None and reasoning:
            raise InvalidArgumentError("request replaces the request for reasoning: pass request or reasoning=True.")
        self.strategy = strategy
        seed = check_seed(seed)
        self.options = GenerationOptions(temperature, seed, max_tokens, reasoning, nearest, api, instructions, request)
        own = keyword_names(EndpointActor)
        self.connection = Connection(Server.of(base_url, also_known=own, **server), cache=cache)
        self._reset()

    def _reset(self) -> None:
        self._capabilities: Capabilities | None = None
        self._chosen: Choice | None = None
        self._functions: dict[str, Strategy] = {}

    @property
    def name(self) -> str:
        """Model, strategy and options. A store continues only with an actor of the same name."""
        options = {k: v for k, v in asdict(self.options).items() if v is not None and v is not False}
        values = ", ".join(f"{name}={value}" for name, value in {"way": self.strategy, **options}.items())
        return f"endpoint {self.connection.server.model or '(its only model)'}, {values}"

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the server; probed at the first access, and stored in the cache.

        Raises:
            EndpointError: the server cannot be reached.
        """
        if self._capabilities is None:
            connection, api = self.connection, self.options.api
            strategies = STRATEGIES if self.strategy == "auto" else (self.strategy, "text")
            wanted = sorted({name for strategy in strategies for name in REQUIRED_CAPABILITIES[strategy]})
            about = {"server": connection.server.base_url, "model": connection.model, "api": api, "wanted": wanted}
            key = request_key("probe 2", about, None)
            found = _stored_capabilities(connection.load(key))
            if found is None:
                connection.delete(key)
                found = probe(connection, wanted, api=api)
                if not any(found.works(name) for name in ("completions", "chat", "systemone")):
                    return found  # perhaps overloaded: probed again at the next call
                connection.store(key, {name: asdict(finding) for name, finding in found.findings.items()})
            self._capabilities = found
        return self._capabilities

    @property
    def chosen(self) -> Choice:
        """The strategy, and why it was chosen.

        Raises:
            EndpointError: the server cannot be reached, or supports no strategy.
        """
        if self._chosen is None:
            self._chosen = choose_strategy(self.capabilities, self.strategy)
            _LOG.info("%s: strategy %s (%s)", self.connection.server.base_url, *self._chosen)
        return self._chosen

    def act(self, decisions: Sequence[Decision]) -> list[Act]:
        """N acts for N decisions, in order. A failed request gives an act with an error.

        Raises:
            SetupError: the environment variable of the key is not set; the server does not have the model; or none was
                named and the server lists several.
            MissingPackageError: the package ``openai`` is not installed.
        """
        try:
            strategy = self.chosen.strategy if decisions else "text"
        except EndpointError as error:
            return [Act("", error=str(error)) for _ in decisions]
        acts: list[Act | None] = [None] * len(decisions)
        offered = [i for i, d in enumerate(decisions) if d.admissible_actions]
        free = [i for i, d in enumerate(decisions) if d.admissible_actions is None]
        for name, indices in ((strategy, offered), ("text", free)):
            for i, act in zip(indices, self._act_by(name, [decisions[i] for i in indices]), strict=True):
                acts[i] = act
        return [act or Act("", error="there is no admissible action to choose from.") for act in acts]

    def _act_by(self, strategy: str, decisions: Sequence[Decision]) -> list[Act]:
        if not decisions:
            return []
        if strategy not in self._functions:
            function = strategy_function(strategy, self.connection, self.capabilities, self.options)
            self._functions[strategy] = function
        try:
            return self._functions[strategy](decisions)
        except EndpointError as error:
            return [Act("", error=str(error)) for _ in decisions]

    def describe(self) -> dict[str, Any]:
        """Server and use as JSON values: ``server, model, strategy, why, capabilities, usage``.

        Raises:
            EndpointError: the server cannot be reached.
        """
        strategy, why = self.chosen
        return {
            "server": self.connection.server.base_url,
            "model": self.connection.model,
            "strategy": strategy,
            "why": why,
            "capabilities": {
                name: {"works": found.works, "why": found.why} for name, found in self.capabilities.findings.items()
            },
            "usage": self.usage(),
        }

    def usage(self) -> dict[str, int | float]:
        """Requests, tokens and cost of this actor (:class:`selfreg_gym.endpoint.accounting.Meter`)."""
        return self.connection.usage()

    def close(self) -> None:
        """Close the connections, as garbage collection does; the next decision opens them again."""
        self.connection.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"strategy": self.strategy, "options": self.options, "connection": self.connection}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __deepcopy__(self, memo: dict[int, Any]) -> EndpointActor:
        return self

    def __repr__(self) -> str:
        server = self.connection.server
        strategy = f"{self.strategy}, not probed" if self._chosen is None else self._chosen.strategy
        return (
            f"{type(self).__name__}({server.base_url!r}, model={server.model!r}, strategy={strategy!r}, "
            f"temperature={self.options.temperature:g})"
        )


def _stored_capabilities(value: Any) -> Capabilities | None:
    """The capabilities in the cache, or None if they are missing or damaged."""
    try:
        findings = {name: Finding(**finding) for name, finding in value.items()}
    except (AttributeError, TypeError):
        return None
    return Capabilities(findings) if set(findings) <= set(CAPABILITIES) else None
