"""The hyperparameters of the shipped actors, by family of tasks and name of the actor."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OBJECTS", "PROMPT_LOSS", "RECIPES", "Recipe"]

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
        easier: parts of the training that precede the first stage, with fewer candidates of the lookup: ``(number of
            other objects in view, optimiser steps)``. BabyAI only.
        short_batch_size, batch_size, lr: of the optimiser in the first stage, in the second stage, in both.
        prompt_loss: weight of the mean cross-entropy of the prompt, relative to that of the answer's tokens.
        perturb: probability of a random action at a step.
        init: standard deviation of the initial weights; with transformers' 0.02 narrow models need three times the
            steps.
        phrases: groups of words that are one token. To find "red ball" among the objects in view, a model then compares
            one token in place of two.
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
    phrases: tuple[str, ...] = ()
    easier: tuple[tuple[int, int], ...] = ()
    seed: int = 1


OBJECTS = tuple(
    f"{colour} {kind}"
    for colour in ("red", "green", "blue", "purple", "yellow", "grey")
    for kind in ("ball", "box", "key", "door")
)
"""The objects of BabyAI."""

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
            layers=2,
            heads=3,
            episodes=12000,
            steps=1200,
            short_steps=1500,
            short_batch_size=64,
            batch_size=32,
            phrases=OBJECTS,
            easier=((0, 250), (1, 1500)),
        ),
    },
}
