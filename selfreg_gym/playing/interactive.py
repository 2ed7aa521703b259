"""``play_episode``: an episode in the terminal, with a person as the actor, the intervention or the helper."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import check_name, check_number
from selfreg_gym.utils.printable import visible
from selfreg_gym.utils.random_streams import INTERACTIVE_HELP, stream

__all__ = ["ROLES", "play_episode"]

ROLES = ("actor", "intervention", "helper")
ATTEMPTS = 10
"""Number of invalid answers to a question after which it is not repeated."""


def play_episode(
    task: str,
    *,
    role: str,
    actor: str = "scripted",
    interventions: Sequence[str] = ("expert",),
    task_kwargs: dict[str, Any] | None = None,
    episode: int = 0,
    seed: int = 0,
    help_probability: float = 0.3,
    read: Callable[[str], str] | None = None,
    write: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Play one episode and return the last ``info``.

    Args:
        task: id of the task.
        role: ``"actor"``: the person acts at every step. ``"intervention"``: at each step, with ``help_probability``,
            the person acts instead of the actor. ``"helper"``: the person chooses at each step who acts.
        actor: id of the actor (not used with the role actor).
        interventions: ids of the interventions (used with the role helper only).
        task_kwargs: arguments of the task.
        episode, seed: index of the task, and seed of the episode.
        help_probability: in [0, 1], used with the role intervention only.
        read, write: functions that replace the terminal.

    Raises:
        UnknownNameError: an unknown role, task, actor or intervention.
        InvalidArgumentError: a probability outside [0, 1], the actor failed, or ten invalid answers to one question.
        KeyboardInterrupt: the person quits.
    """
    check_name("role", role, ROLES)
    check_number("help_probability", help_probability, high=1.0)

    def say(text: str) -> None:  # the texts of a task may contain control characters for the terminal
        write(visible(text, keep="\n\t"))

    person = {"read": read, "write": say}
    loading = [f"task {task!r}"] + ([f"actor {actor!r}"] if role != "actor" else [])
    loading += [f"intervention {name!r}" for name in interventions] if role == "helper" else []
    say(f"Loading {', '.join(loading)} ...")
    chosen: list[Any] = list(interventions) if role == "helper" else []
    if role == "intervention":
        chosen = [registry.load("interventions", "human")(**person)]
    acting = registry.load("actors", "human")(**person) if role == "actor" else actor
    env = InterventionEnv(task, acting, chosen, task_kwargs=task_kwargs)
    observation, info = env.reset(seed=seed, options={"episode": episode})
    rng = stream(INTERACTIVE_HELP, seed, episode)
    say(f"{task}, episode {episode}, seed {seed}: {info['task_id']}. You are the {role}. q quits.")
    over, step = False, 0
    while not over:
        action = 0
        if env.slots[0].calling:
            say(f"\n{env.interventions[env.slots[0].calling - 1].name} goes on.")
        elif role == "helper":
            action = _decide(observation, env.interventions, info["usage"].tolist(), read or input, say)
        elif role == "intervention":
            action = int(rng.random() < help_probability)
        action = env.slots[0].calling or action  # a call of several steps goes on
        with warnings.catch_warnings():  # the error below repeats the warning
            warnings.filterwarnings("ignore", message=".*the episode is truncated")
            observation, _, terminated, truncated, info = env.step(action)
        over, step = terminated or truncated, step + 1
        if info["error"]:
            raise InvalidArgumentError(f"the actor failed: {info['error']}.")
        invalid = "  (not an admissible action)" if info["invalid_action"] else ""
        spent = f"  (cost {info['cost']:g}, {_units(sum(info['usage'].tolist()))} so far)" if info["cost"] else ""
        say(f"  step {step}: {info['intervention'] or 'the actor'} -> {info['action_text']}{invalid}{spent}")
    used = zip(env.interventions, info["usage"].tolist(), strict=True)
    usage = ", ".join(f"{one.name} {_units(units)}" for one, units in used)
    outcome = "success" if info["success"] else "failure (out of steps)" if truncated else "failure"
    spent = f"; help used: {usage}" if usage else ""
    say(f"\n{observation}\n\nThe end: {outcome} after {step} step{'' if step == 1 else 's'}{spent}.")
    return info


def _units(number: float) -> str:
    return f"{number:g} cost unit{'' if number == 1 else 's'}"


def _decide(
    observation: str,
    interventions: Sequence[Intervention],
    usage: Sequence[float],
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> int:
    """Ask the person for a decision; shows the cost of each call and the usage so far."""
    write(f"\n---- your decision ----\n{observation}\n")
    write(f"  help used so far: {_units(sum(usage))}")
    write("  0  nohelp: the actor acts")
    for number, (one, used) in enumerate(zip(interventions, usage, strict=True), start=1):
        write(f"  {number}  help: ask {one.name} (a call costs {_units(one.cost)}; used so far: {used:g})")
    for _ in range(ATTEMPTS):
        try:
            answer = str(read("your decision (Enter is 0, q quits): ")).strip().lower()
        except EOFError:
            raise KeyboardInterrupt from None
        if answer in {"q", "quit", "exit"}:
            raise KeyboardInterrupt
        if answer == "" or (answer.isdecimal() and int(answer) <= len(interventions)):
            return int(answer or 0)
        write(f"  a decision is a number from 0 to {len(interventions)}, received {answer!r}.")
    raise InvalidArgumentError(
        f"a decision must be a number from 0 to {len(interventions)}, and {ATTEMPTS} invalid answers were received, "
        f"the last one {answer!r}."
    )
