"""Convergence of the fitted frontier to the exact one with the number of episodes: a table and a figure.

    python benchmarks/convergence.py [--out docs/images/frozen_lake_convergence.png]

The task is FrozenLake's 4x4 map, whose intervention problem is known exactly. For each number of episodes, several
collections with random help are fitted and solved. Three errors in success are shown: the plan's expected success minus
the optimum at the same usage, the regret of the fitted policy (the optimum at its true usage minus its true success),
and the cross-fitted value minus the policy's true success.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from selfreg_gym import InterventionVectorEnv, TransitionModel, registry, solve_frontier
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.solver import MixedPolicy, cross_fitted_value, evaluate_policy
from selfreg_gym.types import Decision

STEPS = 30
BUDGET = 4.0


class NoisyExpert:
    """The expert's move with probability 1/2, otherwise a random move."""

    def act(self, decisions: list[Decision]) -> list[str]:
        """Return one action per decision."""
        return [
            str(decision.rng.choice(decision.admissible_actions))
            if decision.rng.random() < 0.5
            else decision.task.get_wrapper_attr("expert_action")()
            for decision in decisions
        ]


def true_value(policy: MixedPolicy, model: TransitionModel, exact: TransitionModel) -> tuple[float, float]:
    """Return the true success and usage of a fitted policy."""
    success = usage = 0.0
    for weight, part in zip(policy.weights, policy.policies, strict=True):
        actions = [part.action(model.locate(exact.keys[i % 16], None, i // 16 + 1)) for i in range(exact.n)]
        value = evaluate_policy(exact, actions)
        success += weight * value.expected_success
        usage += weight * value.expected_usage
    return success, usage


def main() -> None:
    """Measure, print the table and draw the figure."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("docs/images/frozen_lake_convergence.png"))
    arguments.add_argument("--episodes", type=int, nargs="+", default=[55, 165, 550, 1650, 5500])
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    task = registry.load("envs", "selfreg/FrozenLake-v0")(max_steps=STEPS, clock=False)
    exact = task.intervention_model([0], noise=0.5)
    curve = solve_frontier(exact, gap=1e-4)
    env = InterventionVectorEnv(
        64, task="selfreg/FrozenLake-v0", actor=NoisyExpert(), interventions=["expert"],
        task_kwargs={"max_steps": STEPS}, autoreset_mode="Disabled",
    )  # fmt: skip
    most = max(options.episodes)
    errors = np.zeros((len(options.episodes), options.repeats, 3))
    for repeat in range(options.repeats):
        specs = [EpisodeSpec(0, repeat * most + i, help_probability=(i % 11) / 10) for i in range(most)]
        played = {episode.seed: episode for episode in run_episodes(env, specs)}
        episodes = [played[spec.seed] for spec in specs]
        for i, count in enumerate(options.episodes):
            model = TransitionModel.fit(episodes[:count])
            policy = solve_frontier(model).policy(BUDGET)
            success, usage = true_value(policy, model, exact)
            crossfitted = cross_fitted_value(episodes[:count], budget=BUDGET, bootstrap=0).expected_success
            plan = policy.expected_success - curve.success_at(policy.expected_usage)
            errors[i, repeat] = plan, curve.success_at(usage) - success, crossfitted - success
    names = ("plan: expected - optimum", "regret: optimum - true", "cross-fitted - true")
    print("episodes  " + "  ".join(f"{name:>26s}" for name in names))
    for count, row in zip(options.episodes, errors.mean(axis=1), strict=True):
        print(f"{count:8d}  " + "  ".join(f"{value:26.4f}" for value in row))

    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(names):
        axes.plot(options.episodes, np.abs(errors[:, :, k]).mean(axis=1), marker="o", markersize=4, label=name)
    axes.set(xscale="log", yscale="log", xlabel="episodes", ylabel="mean absolute error in success")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(options.out, dpi=120)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    main()
