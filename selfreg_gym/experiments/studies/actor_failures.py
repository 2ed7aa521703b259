"""Actor failures after help: does the actor fail more often in states that help has reached?"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from selfreg_gym import registry
from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.evaluation.bootstrap import Estimate
from selfreg_gym.experiments.after_help import OUTCOMES, matched_pairs, outcomes, pooled, surprisal
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Published, Table
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.forks import fork, stored_states
from selfreg_gym.intervention_env.building import build_actor
from selfreg_gym.intervention_env.interventions import build_interventions
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.types import Episode, optional_member
from selfreg_gym.utils.random_streams import COLLECTION_EPISODES, FORK_STATES, seed_sequence, stream

__all__ = ["ActorFailures"]

CONFIGURED = "as configured"
WITHIN = 3
"""k: steps after help."""

PROBABILITIES = (0.0, 0.2, 0.4, 0.6)
"""Help probabilities of the episodes; those without help are where most matched states come from."""

TEMPERATURES = (0.5, 2.0)
EDGES = (0.5, 2.0)
"""Limits between classes of surprisal, in nats."""

CLASSES = ("below 0.5", "0.5 to 2", "above 2")


class ActorFailures(Experiment):
    """Invalid actions and failures of the actor after help, against matched states without help."""

    title = "Actor failures after help"
    question = f"""
An intervention leads to states that the actor would not have reached, with a history that the actor would not have
produced. Does the actor fail there more often? Episodes with random help are played with the actor as configured, at
other temperatures, in writing mode, and with the model of an intervention as the actor. Then states are forked, and
followed by the actor alone:

- *matched*: a state directly after help, and a state with the same feature key and the same number of steps left that
  was reached without any help. The difference is that of the text, which contains the history;
- *same state*: one state, after an action of the intervention and after an action of the actor. This difference
  contains the progress that help makes.

An outcome within k = {WITHIN} steps is an action that is not admissible, or the end of the episode without success. The
surprisal of help is -log p of its action under the distribution of the actor, in nats: a distance between the actor
and the intervention at this state.
"""
    defaults = ("interventions.ids=['expert', 'strong']",)
    full = ("collect.tasks=60", "collect.episodes=8", "evaluate.tasks=60", "evaluate.episodes=6")
    quick = ("collect.tasks=12", "collect.episodes=4", "evaluate.tasks=6", "evaluate.episodes=2")

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """One per actor, for each seed."""
        return tuple(Cell(name) for name in _variants(config))

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Play episodes with random help, choose states, and fork them.

        ``evaluate.tasks`` is the number of states of each kind, ``evaluate.episodes`` the number of repetitions.
        """
        kwargs = {**trial.run().env_kwargs(), **_variants(trial.config)[cell]}
        kwargs["actor"] = build_actor(kwargs["actor"], kwargs.pop("actor_kwargs", None))  # it remembers its answers
        episodes = _played(kwargs, trial.config)
        trial.say(f"    {cell}: {len(episodes)} episodes played")
        names = [one.name for one in build_interventions(kwargs["interventions"], kwargs.get("intervention_kwargs"))]
        count, repetitions = trial.config.evaluate.tasks, trial.config.evaluate.episodes
        options: dict[str, Any] = {"repetitions": repetitions, "seed": trial.config.evaluate.seed}
        matched, same = [], []
        for k, name in enumerate(names, 1):
            pairs = matched_pairs(episodes, k, count, seed=trial.config.collect.seed)
            if pairs:
                states = [pair.helped for pair in pairs] + [pair.alone for pair in pairs]
                found = outcomes(fork(kwargs, states, first_actions=[()], **options), (), WITHIN)
                for i, pair in enumerate(pairs):
                    about = {"surprisal": pair.surprisal, "intervention": name}
                    both = (found[i], found[len(pairs) + i])
                    matched.append({**_about(pair.helped), **about, **_differences("helped", "alone", *both)})
        steps = [(episode, step) for episode in episodes for step in episode.steps]
        rows = [i for i, (_, step) in enumerate(steps) if not step.continuation]
        order = stream(FORK_STATES, trial.config.collect.seed).permutation(len(rows))[:count]
        states = stored_states(episodes, [rows[i] for i in sorted(order.tolist())])
        forks = fork(kwargs, states, **options)
        base = outcomes(forks, (0,), WITHIN)
        for k, name in enumerate(names, 1):
            for i, one in enumerate(outcomes(forks, (k,), WITHIN)):
                different = _differences("helped", "alone", one, base[i])
                same.append({**_about(states[i]), "intervention": name, **different})
        distance = [
            {"intervention": names[step.action - 1], "task": episode.task_id, "kind": episode.kind,
             "surprisal": surprisal(step)}
            for episode, step in steps if step.action
        ]  # fmt: skip
        trial.say(f"    {cell}: {len(matched)} matched pairs and {len(states)} states forked")
        return {
            "matched": matched,
            "same": same,
            "distance": distance,
            "alone": {
                "success": _mean([one.success for one in episodes if one.help_probability == 0]),
                "invalid": _mean([one.steps[-1].invalid for one in episodes if one.help_probability == 0]),
            },
        }

    def findings(self, results: Results) -> Findings:
        """Differences by actor, by intervention and by surprisal."""
        variants = list(_variants(results.config))
        rows = [row for name in variants for row in _comparison_rows(results, name)]
        same = [row for name in variants for row in _comparison_rows(results, name, "same")]
        tables = [
            Table("matched", "After help, against matched states without help", _columns(), rows,
                  f"Within {WITHIN} steps. Pairs of all seeds; intervals over tasks and seeds. Surprisal: mean over "
                  "all steps of help."),
            Table("same", "The same state, after an action of the intervention and after one of the actor",
                  _columns(), same,
                  "The difference contains the progress that help makes. Continuations that the first action ended are "
                  "left out."),
            _surprisal_table(results, variants),
        ]  # fmt: skip
        return Findings(
            statements=list(_statements(rows)),
            tables=[table for table in tables if table.rows],
            published=[
                Published(
                    "does the base actor fail more often after an intervention?", "an open question",
                    _answer(rows), "arXiv 2502.04576",
                )
            ],
            notes=[
                "A feature key does not hold everything: matched states can differ in more than their history.",
                "An interval without width means that no pair differed; it does not mean that the difference is known.",
                "The states without help are reached by the actor's own good actions; after help, also by others.",
            ],
        )  # fmt: skip


def _variants(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Name of an actor -> changes of the env's arguments."""
    actor, given = config.actor.id, dict(config.actor.kwargs)
    arguments = inspect.signature(registry.load("actors", actor)).parameters
    found: dict[str, dict[str, Any]] = {CONFIGURED: {}}
    if "temperature" in arguments:
        for temperature in TEMPERATURES:
            found[f"temperature {temperature:g}"] = {"actor_kwargs": {**given, "temperature": temperature}}
    if "mode" in arguments:
        found["writing"] = {"actor_kwargs": {**given, "mode": "generate"}}
    kwargs = dict(config.interventions.kwargs)
    for one in build_interventions(list(config.interventions.ids), kwargs or None):
        own = optional_member(one, "with_actor") is None  # else its actor calls that of the env
        if own and optional_member(one.actor, "checkpoint_dir") is not None:
            found[f"model of {one.name}"] = {"actor": one.actor, "actor_kwargs": None}
    return found


def _played(kwargs: Mapping[str, Any], config: RunConfig) -> list[Episode]:
    """Episodes with random help; the actor is asked at every step."""
    env = InterventionVectorEnv(config.collect.num_envs, **kwargs, autoreset_mode="Disabled")
    specs = []
    for task in range(config.collect.tasks):
        for i in range(config.collect.episodes):
            words = seed_sequence(COLLECTION_EPISODES, config.collect.seed, task, i).generate_state(1)
            specs.append(EpisodeSpec(task, int(words[0]), PROBABILITIES[i % len(PROBABILITIES)]))
    order = {(spec.task_index, spec.seed): i for i, spec in enumerate(specs)}
    found = sorted(run_episodes(env, specs, ask_actor_always=True), key=lambda one: order[one.task_index, one.seed])
    if failed := [one.error for one in found if one.error is not None]:
        raise FailedEpisodesError(f"{len(failed)} episodes ended in an error, the first with: {failed[0]}.")
    env.close()
    return found


def _about(state: Any) -> dict[str, Any]:
    return {"task": state.task_id, "kind": state.kind, "t": state.t, "steps_left": state.steps_left}


def _differences(first: str, second: str, one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, float]:
    """The outcomes of two states, and their differences."""
    found: dict[str, float] = {}
    for name in OUTCOMES:
        found |= {f"{name}_{first}": one[name], f"{name}_{second}": two[name], name: one[name] - two[name]}
    return found


def _mean(values: Sequence[Any]) -> float:
    return float(sum(values) / len(values)) if values else math.nan


def _rows_of(results: Results, variant: str, what: str) -> list[dict[str, Any]]:
    """The rows of all seeds, with the number of the seed."""
    return [{**row, "seed": i} for i, one in enumerate(results.of(variant)) for row in one[what]]


def _comparison_rows(results: Results, variant: str, what: str = "matched") -> Iterator[dict[str, Any]]:
    """One row per intervention."""
    rows, distances = _rows_of(results, variant, what), _rows_of(results, variant, "distance")
    for name in dict.fromkeys(row["intervention"] for row in rows):
        own = [row for row in rows if row["intervention"] == name]
        row: dict[str, Any] = {"actor": variant, "intervention": name, "pairs": len(own)}
        row["surprisal"] = pooled([one for one in distances if one["intervention"] == name], "surprisal")
        row["success_alone"] = results.values(variant, "alone", "success").value
        for outcome in OUTCOMES[:2]:
            row[f"{outcome}_helped"] = pooled(own, f"{outcome}_helped").value
            row[f"{outcome}_alone"] = pooled(own, f"{outcome}_alone").value
            row[outcome] = pooled(own, outcome)
        row["success"] = pooled(own, "success")
        yield row


def _columns() -> tuple[Column, ...]:
    return (
        Column("actor", "actor"),
        Column("intervention", "intervention"),
        Column("success_alone", "success without help", "%", 0),
        Column("surprisal", "surprisal of help (nats)"),
        Column("pairs", "pairs"),
        Column("invalid_helped", "invalid after help", "%", 1),
        Column("invalid_alone", "without", "%", 1),
        Column("invalid", "difference", "%", 1),
        Column("failed_helped", "failed after help", "%", 1),
        Column("failed_alone", "without", "%", 1),
        Column("failed", "difference", "%", 1),
        Column("success", "difference in success", "%", 1),
    )


def _surprisal_table(results: Results, variants: Sequence[str]) -> Table:
    """Matched differences by the surprisal of the helping action."""
    rows = []
    for variant in variants:
        known = [row for row in _rows_of(results, variant, "matched") if row["surprisal"] is not None]
        for i, name in enumerate(CLASSES):
            low, high = ([-math.inf, *EDGES][i], [*EDGES, math.inf][i])
            own = [row for row in known if low <= row["surprisal"] < high]
            if own:
                found = {outcome: pooled(own, outcome) for outcome in OUTCOMES}
                rows.append({"actor": variant, "class": name, "pairs": len(own), **found})
    columns = (
        Column("actor", "actor"),
        Column("class", "surprisal of help (nats)"),
        Column("pairs", "pairs"),
        Column("invalid", "difference, invalid", "%", 1),
        Column("failed", "difference, failed", "%", 1),
        Column("success", "difference in success", "%", 1),
    )
    return Table("surprisal", "By distance of help from the actor", columns, rows, "After help minus matched without.")


def _statements(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        failed, alone = (100 * row[f"failed_{name}"] for name in ("helped", "alone"))
        yield (
            f"{row['actor']}, after `{row['intervention']}`: within {WITHIN} steps {failed:.0f} % of the continuations "
            f"fail, and {alone:.0f} % from matched states without help (difference {_points(row['failed'])}); invalid "
            f"actions {_points(row['invalid'])}."
        )


def _answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """The differences in failures of the first actor, for each intervention."""
    parts = (
        f"after `{row['intervention']}`: {_points(row['failed'])}" for row in rows if row["actor"] == rows[0]["actor"]
    )
    return f"failures within {WITHIN} steps, minus matched states without help, {'; '.join(parts)}"


def _points(difference: Estimate) -> str:
    """A difference of shares in percentage points."""
    value, low, high = (100 * one for one in difference)
    return f"{value:+.0f} points [{low:+.0f}, {high:+.0f}]"
