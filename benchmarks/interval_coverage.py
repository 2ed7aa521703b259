"""Coverage of the confidence intervals of an evaluation, in simulations with known true values.

    python benchmarks/interval_coverage.py [PART ...] [--worlds 400] [--seed 0]

Each part simulates many small worlds, evaluates them with the package's own code, and prints how often the 95 %
interval contains the true value. *fixed tasks*: new episodes of the same tasks; *new tasks*: other tasks of the same
kind. All parts together take about half an hour on one core.

* rates: the success rate of a helper, over tasks x episodes, correlation within a task, rates from 0.002 to 0.5;
* differences: the paired difference of two helpers, from equal in nearly all episodes to different in most;
* shares: shares of the gap at a budget, for helpers with usage below, at and above the budget;
* curves: area, best lift and usage for half of the gap, for a helper equal to random episodes of always, and for a
  better one;
* crossfit: ``cross_fitted_value`` on random models;
* weights: bias and error of a process reward model's targets under several weightings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.evaluation import Evaluation
from selfreg_gym.evaluation.bootstrap import Design, bootstrap_weights, estimate_rate
from selfreg_gym.evaluation.curve_estimates import area, best_lift, columns_of, usage_for
from selfreg_gym.evaluation.curves import area_between
from selfreg_gym.evaluation.table import EpisodeTable
from selfreg_gym.helper import HelperKey
from selfreg_gym.prm.targets import CLIP, Examples, gather
from selfreg_gym.solver import MixedPolicy, cross_fitted_value, evaluate_policy
from selfreg_gym.transitions import TransitionModel
from selfreg_gym.types import Episode, Transition

RESAMPLES = 500


def covers(interval: tuple[float, float], truth: float) -> bool:
    """Return whether an interval contains the true value, up to rounding."""
    return interval[0] - 1e-12 <= truth <= interval[1] + 1e-12


# -- rates ----------------------------------------------------------------------------------------------------------


def rates(worlds: int, seed: int) -> None:
    """Print the coverage of the interval of a success rate over a grid, for fixed and for new tasks."""
    for fixed in (True, False):
        found = []
        for tasks in (10, 50, 168):
            for episodes in (1, 3, 20):
                rng = np.random.default_rng([seed, tasks, episodes])
                task = np.repeat(np.arange(tasks), episodes)
                n = len(task)
                clusters = None if fixed else task
                strata = task if fixed else np.zeros(n, dtype=int)
                weights = bootstrap_weights(strata, clusters=clusters, resamples=RESAMPLES, rng=rng)
                design = Design.of(strata, clusters)
                for correlation in (0.0, 0.1, 0.5, 0.9) if episodes > 1 else (0.0,):
                    for rate in (0.002, 0.01, 0.05, 0.2, 0.5):
                        hits, width = 0, 0.0
                        for _ in range(worlds):
                            chance = _chances(rng, tasks, rate, correlation)
                            outcomes = (rng.random((tasks, episodes)) < chance[:, None]).astype(float).ravel()
                            estimate = estimate_rate(outcomes, weights, design=design)
                            hits += covers(estimate[1:], float(chance.mean()) if fixed else rate)
                            width += estimate.high - estimate.low
                        found.append((hits / worlds, tasks, episodes, correlation, rate, width / worlds))
        _report(f"rates, {'fixed' if fixed else 'new'} tasks", found, "tasks, episodes, correlation, rate")


def _chances(rng: np.random.Generator, tasks: int, rate: float, correlation: float) -> np.ndarray:
    """Draw success probabilities of tasks from the beta distribution with this mean and within-task correlation."""
    if correlation == 0:
        return np.full(tasks, rate)
    size = (1 - correlation) / correlation
    return rng.beta(rate * size, (1 - rate) * size, tasks)


def _report(title: str, found: list[tuple[float, ...]], names: str) -> None:
    coverage = np.array([item[0] for item in found])
    print(
        f"{title}: {len(found)} settings, coverage mean {coverage.mean():.3f}, lowest {coverage.min():.3f}, "
        f"5 % quantile {np.quantile(coverage, 0.05):.3f}, below 0.92: {np.mean(coverage < 0.92):.1%}"
    )
    for item in sorted(found)[:4]:
        print(f"    {item[0]:.3f} at {names} = {', '.join(f'{x:g}' for x in item[1:-1])} (width {item[-1]:.3f})")


# -- helpers on the same episodes -----------------------------------------------------------------------------------


class World:
    """Tasks of different difficulty, and helpers whose usage and success on each task are known.

    A helper with share q uses ``q * load`` cost units on average and succeeds with probability
    ``never + gain(q) * (always - never)``; ``gain(q) = q`` is a random choice per episode between never and always.
    """

    def __init__(self, rng: np.random.Generator, tasks: int, episodes: int) -> None:
        self.rng, self.tasks, self.episodes = rng, tasks, episodes
        hard = rng.normal(size=tasks)
        self.never = 1 / (1 + np.exp(0.5 + 1.5 * hard))
        self.always = 1 / (1 + np.exp(-2.0 + 0.7 * hard))
        self.load = 6.0 * np.exp(0.4 * hard)
        self.luck = rng.random((tasks, episodes))

    def play(self, share: float, gain: float) -> dict[str, np.ndarray]:
        """Simulate a helper: success from random numbers common to all helpers, usage from its own."""
        chance = self.never + gain * (self.always - self.never)
        usage = self.rng.poisson(np.repeat(share * self.load, self.episodes).reshape(self.tasks, -1))
        return {"success": (self.luck < chance[:, None]).astype(float).ravel(), "usage": usage.astype(float).ravel()}

    def truth(self, share: float, gain: float) -> tuple[float, float]:
        """Return the true usage and success of a helper on these tasks."""
        return share * float(self.load.mean()), float((self.never + gain * (self.always - self.never)).mean())

    def table(self, helpers: dict[str, tuple[float, float]], *, fixed: bool, seed: int) -> EpisodeTable:
        """Simulate all helpers, given as (share, gain), on the same episodes."""
        task = np.repeat(np.arange(self.tasks), self.episodes)
        kinds = np.full(len(task), "", dtype=object)
        columns = {key: self.play(*how) for key, how in helpers.items()}
        place = np.arange(len(task))
        return EpisodeTable("test", task, place, kinds, columns, fixed, seed, RESAMPLES)


LARGE = 200_000


def _worlds(worlds: int, seed: int, tasks: int, episodes: int) -> Iterator[World]:
    for world in range(worlds):
        yield World(np.random.default_rng([seed, world, tasks, episodes]), tasks, episodes)


SIZES = ((20, 4), (50, 20), (168, 1), (168, 6))


def differences(worlds: int, seed: int) -> None:
    """Print the coverage of paired differences in success, with few and with many different episodes."""
    everywhere = World(np.random.default_rng(1), LARGE, 1)
    for fixed in (True, False):
        found = []
        for tasks, episodes in SIZES:
            for gain in (0.0, 0.005, 0.03, 0.3):
                hits, width = 0, 0.0
                for i, world in enumerate(_worlds(worlds, seed, tasks, episodes)):
                    table = world.table({"a": (0.5, 0.5), "b": (0.5, 0.5 + gain)}, fixed=fixed, seed=i)
                    estimate = Evaluation({"test": table}).paired_difference("b", "a")
                    about = world if fixed else everywhere
                    truth = about.truth(0.5, 0.5 + gain)[1] - about.truth(0.5, 0.5)[1]
                    hits += covers(estimate[1:], truth)
                    width += estimate.high - estimate.low
                found.append((hits / worlds, tasks, episodes, gain, width / worlds))
        _report(f"paired differences, {'fixed' if fixed else 'new'} tasks", found, "tasks, episodes, gain")


BUDGETS = (0.5, 1.0, 2.0, 3.0)


def shares(worlds: int, seed: int) -> None:
    """Print the coverage of shares of the gap at C, for usages of 0.9 C, C and 1.1 C; true values by interpolation."""
    everywhere = World(np.random.default_rng(1), LARGE, 1)
    for fixed in (True, False):
        found = []
        for tasks, episodes in SIZES:
            for spent in (0.9, 1.0, 1.1):
                hits, width = 0, 0.0
                load = float(everywhere.load.mean())
                how = {f"h@{c:g}": (spent * c / load, (spent * c / load) ** 0.5) for c in BUDGETS}
                anchors = {"never": (0.0, 0.0), "always": (1.0, 1.0)}
                for i, world in enumerate(_worlds(worlds, seed, tasks, episodes)):
                    evaluation = Evaluation({"test": world.table(anchors | how, fixed=fixed, seed=i)})
                    about = world if fixed else everywhere
                    points = np.array([about.truth(*one) for one in ((0.0, 0.0), *how.values(), (1.0, 1.0))])
                    line = (points[:, 1] - points[0, 1]) / (points[-1, 1] - points[0, 1])
                    for budget in (0.5, 2.0):
                        estimate = evaluation.recovery("h", budget=budget).share
                        hits += covers(estimate[1:], float(np.interp(budget, points[:, 0], line)))
                        width += estimate.high - estimate.low
                found.append((hits / worlds / 2, tasks, episodes, spent, width / worlds / 2))
        _report(f"shares of the gap at C, {'fixed' if fixed else 'new'} tasks", found, "tasks, episodes, usage over C")


def curves(worlds: int, seed: int) -> None:
    """Print the coverage of area, best lift and usage for half of the gap, and how often the area exceeds 1/2."""
    everywhere = World(np.random.default_rng(1), LARGE, 1)
    for name, power in (("equal to random episodes of always", 1.0), ("better", 0.5)):
        for fixed in (True, False):
            for tasks, episodes in SIZES:
                above, hull_above = 0, 0
                hits = dict.fromkeys(("area", "best lift", "usage for half"), 0)
                how = {f"h@{c}": (c / 8, (c / 8) ** power) for c in range(1, 8)}
                for i, world in enumerate(_worlds(worlds, seed, tasks, episodes)):
                    table = world.table({"never": (0.0, 0.0), "always": (1.0, 1.0)} | how, fixed=fixed, seed=i)
                    columns = columns_of(
                        [HelperKey("never")], [[HelperKey.parse(key)] for key in how], [HelperKey("always")]
                    )
                    about = world if fixed else everywhere
                    points = np.array([about.truth(*one) for one in ((0.0, 0.0), *how.values(), (1.0, 1.0))]).T
                    line = (points[1] - points[1, 0]) / (points[1, -1] - points[1, 0])
                    estimate = area(table, columns)
                    above += estimate.value > 0.5
                    hits["area"] += covers(estimate[1:], float(area_between(points[:1], points[1:])[0]))
                    curve = Evaluation({"test": table}).curve("h")
                    usage, success = curve.hull
                    hull_above += (
                        np.trapezoid(success - success[0], usage) / np.ptp(usage) / np.ptp(success) > 0.5 + 1e-9
                    )
                    lift = float(((line - np.linspace(0, 1, 9)) * (points[1, -1] - points[1, 0])).max())
                    hits["best lift"] += covers(best_lift(table, columns)[1:], lift)
                    half = usage_for(table, columns, 0.5)
                    hits["usage for half"] += covers(half[1:], float(np.interp(0.5, line, points[0])))
                coverage = ", ".join(f"{what} {count / worlds:.3f}" for what, count in hits.items())
                print(
                    f"curve {name}, {'fixed' if fixed else 'new'} tasks, {tasks} x {episodes}: coverage of {coverage}; "
                    f"area above 1/2 in {above / worlds:.0%} (under the hull: {hull_above / worlds:.0%})"
                )


# -- cross-fitted values --------------------------------------------------------------------------------------------


def crossfit(worlds: int, seed: int) -> None:
    """Print the coverage of ``cross_fitted_value``; the true value is the mean over the folds' policies."""
    worlds = max(worlds // 8, 10)
    for states, cyclic, episodes in ((12, False, 40), (40, True, 100), (40, True, 300)):
        model = random_model(np.random.default_rng([seed, states]), states, cyclic=cyclic)
        hits, errors = np.zeros(2), []
        for world in range(worlds):
            played = play(model, episodes, np.random.default_rng([seed, states, episodes, world]))
            found = cross_fitted_value(played, budget=0.3, seed=world, backoff=None, horizon=None, prior=3.0)
            truth = np.mean([true_value(policy, model) for policy in found.policies], axis=0)
            hits += covers(found.success_ci, truth[0]), covers(found.usage_ci, truth[1])
            errors.append((found.expected_success - truth[0], found.expected_usage - truth[1]))
        bias = np.mean(errors, axis=0)
        print(
            f"cross-fitted values, {states} states, {'cyclic' if cyclic else 'acyclic'}, {episodes} episodes, {worlds} "
            f"worlds: coverage of success {hits[0] / worlds:.3f}, usage {hits[1] / worlds:.3f}; bias {bias[0]:+.3f}, "
            f"{bias[1]:+.3f}"
        )


def random_model(rng: np.random.Generator, n: int, *, cyclic: bool) -> TransitionModel:
    """Return a random model of n states in which help tends to succeed more often."""
    P, success = [], np.zeros((2, n))
    for action in range(2):
        matrix = rng.random((n, n)) * (rng.random((n, n)) < 0.25)
        matrix = matrix if cyclic else np.triu(matrix, 1)
        leave, total = 0.4 * rng.random(n) + 1e-3, matrix.sum(axis=1)
        leave = np.where(total > 0, leave, 1.0)
        P.append(matrix * ((1 - leave) / np.where(total > 0, total, 1.0))[:, None])
        success[action] = leave * np.clip(rng.random(n) * (0.5 + 0.5 * action), 0, 1)
    start = rng.random(n) * (rng.random(n) < 0.5) + 1e-3
    return TransitionModel(P, success, start / start.sum())


def play(model: TransitionModel, count: int, rng: np.random.Generator) -> list[Episode]:
    """Simulate episodes with random help, whose probability cycles from 0 to 1."""
    P = [matrix.toarray() for matrix in model.P]
    episodes = []
    for i in range(count):
        state, steps, p = int(rng.choice(model.n, p=model.start)), [], (i % 11) / 10
        while state < model.n:
            action = int(rng.random() < p)
            row = np.append(P[action][state], model.success[action, state])
            to = int(rng.choice(model.n + 2, p=np.append(row, max(1 - row.sum(), 0.0))))
            end = to >= model.n
            steps.append(
                Transition(
                    len(steps), "", None, f"s{state}", None, None, action, "x", float(action), 0.0, end, False, False
                )
            )
            state = to
        usage = (sum(step.cost for step in steps),)
        episodes.append(Episode(0, i, "task", "", p, state == model.n, usage, tuple(steps)))
    return episodes


def true_value(policy: MixedPolicy, model: TransitionModel) -> tuple[float, float]:
    """Return the true success and usage of a fitted policy."""
    success = usage = 0.0
    for weight, part in zip(policy.weights, policy.policies, strict=True):
        actions = [part.action(policy.model.locate(f"s{state}")) for state in range(model.n)]
        value = evaluate_policy(model, actions)
        success += weight * value.expected_success
        usage += weight * value.expected_usage
    return success, usage


# -- weights of a process reward model's targets ----------------------------------------------------------------------


def weights(worlds: int, seed: int) -> None:
    """Print the error of the weighted success rate in each state of a chain, against the true p(s) without help."""
    fail, advance, length = 0.03, 0.25, 6
    truth = (advance / (advance + fail)) ** (length - np.arange(length))
    weightings = {
        "none": 1.0,
        "1 / sum_p f_p(t) (1 - p)^n": CLIP,
        "own (1 - p)^-n, at most 10": 10.0,
        "own, no limit": np.inf,
    }
    errors: dict[str, list[np.ndarray]] = {weighting: [] for weighting in weightings}
    for world in range(max(worlds // 8, 10)):
        rng = np.random.default_rng([seed, world])
        episodes = [_walk(rng, p / 10, fail, advance, length) for p in range(11) for _ in range(40)]
        for weighting, clip in weightings.items():
            own = weighting.startswith("own")
            parts = [[e for e in episodes if e.help_probability == p / 10] for p in range(11)] if own else [episodes]
            examples = [_gathered(part, clip) for part in parts]
            state = np.concatenate([[int(text) for text in found.observations] for found in examples if found])
            outcome = np.concatenate([found.outcome for found in examples if found])
            weight = np.concatenate([found.weight for found in examples if found])
            rates = [np.average(outcome[state == s], weights=weight[state == s]) for s in range(length)]
            errors[weighting].append(np.array(rates) - truth)
    for weighting, found in errors.items():
        error = np.array(found)
        print(
            f"weights {weighting}: mean absolute bias {np.abs(error.mean(axis=0)).mean():.3f}, "
            f"root mean square error {np.sqrt(np.square(error).mean()):.3f}"
        )


def _gathered(episodes: list[Episode], clip: float) -> Examples | None:
    """Return the examples of episodes, or None if there are none; the weight limit is at most 1e12."""
    try:
        return gather(episodes, clip=min(clip, 1e12))
    except InvalidArgumentError:
        return None


def _walk(rng: np.random.Generator, p: float, fail: float, advance: float, length: int) -> Episode:
    """Simulate a walk up a chain: nohelp fails, advances or stays; help advances with 0.8; the top is success."""
    at, steps, success = 0, [], False
    while len(steps) < 200:
        action, luck = int(rng.random() < p), rng.random()
        steps.append(
            Transition(len(steps), str(at), None, "", None, None, action, "", float(action), 0.0, False, False, False)
        )
        if not action and luck < fail:
            break
        at += luck < 0.8 if action else luck < fail + advance
        if at == length:
            success = True
            break
    return Episode(0, 0, "task", "", p, success, (0.0,), tuple(steps))


PARTS = {
    "rates": rates,
    "differences": differences,
    "shares": shares,
    "curves": curves,
    "crossfit": crossfit,
    "weights": weights,
}


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part {min(unknown)!r}: choose from {', '.join(PARTS)}")
    for part in arguments.parts:
        PARTS[part](arguments.worlds, arguments.seed)


if __name__ == "__main__":
    main()
