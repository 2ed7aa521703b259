"""The hyperparameters of the shipped actors, by family of tasks and name of the actor."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROMPT_LOSS", "RECIPES", "Recipe"]

PROMPT_LOSS = 0.5
"""Weight of the mean cross-entropy of the prompt, relative to that of the answer's tokens."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyperparameters of an actor.

    Attributes:
        hidden, layers, heads: size of the Llama.
        episodes: number of expert episodes of the actor-train split; the task kinds alternate.
        steps: optimiser steps with whole observations, which determine the success rate.
        short_steps: optimiser steps of the first stage, with shortened observations.
        short_batch_size, batch_size, lr: of the optimiser in the first stage, in the second stage, in both.
        prompt_loss: weight of the mean cross-entropy of the prompt, relative to that of the answer's tokens.
        perturb: probability of a random action at a step.
        init: standard deviation of the initial weights; with transformers' 0.02 narrow models need three times the
            steps.
        seed: seed of all draws.
    """

    hidden: int
    layers: int
    heads: int
    episodes: int
    steps: int
    short_steps: int = 1200
    short_batch_size: int = 32
    batch_size: int = 8
    lr: float = 3e-3
    prompt_loss: float = PROMPT_LOSS
    perturb: float = 0.1
    init: float = 0.06
    seed: int = 1


RECIPES = {
    "sif": {
        "tiny": Recipe(hidden=96, layers=2, heads=3, episodes=6000, steps=800),
        "strong": Recipe(hidden=128, layers=2, heads=4, episodes=12000, steps=5000),
    },
    "cookingworld": {
        "tiny": Recipe(
            hidden=96, layers=2, heads=3, episodes=3000, steps=2200, short_steps=2500, batch_size=16, perturb=0.12
        ),
    },
    "babyai": {
        "tiny": Recipe(hidden=96, layers=2, heads=3, episodes=7000, steps=500, short_steps=0, batch_size=32),
        "strong": Recipe(
            hidden=96,
            layers=3,
            heads=3,
            episodes=12000,
            steps=1500,
            short_steps=4000,
            short_batch_size=64,
            batch_size=32,
        ),
    },
}
