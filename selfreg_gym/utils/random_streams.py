"""Random streams: one independent generator per purpose and key.

A stream is a PCG64 generator seeded by ``numpy.random.SeedSequence``. Its entropy is a tuple of non-negative integers:
the key of the caller (a seed, a task index, a step, ...) with the tag of the purpose inserted, so that two purposes
draw independent numbers from the same seed. ``SeedSequence`` pads its entropy with zeros, so no tag is 0.

Stored results can be reproduced only as long as tags and positions do not change.

Examples:
    >>> first, second = stream(RANDOM_HELP, 7), stream(RANDOM_HELP, 7)
    >>> first.random() == second.random()
    True
    >>> EVALUATION_EPISODES.entropy(7, 3, 0)  # seed, task index, episode of the task
    (7, 59297, 3, 0)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Purpose", "generator", "seed_sequence", "stream"]


class Purpose(NamedTuple):
    """The purpose of a stream.

    Attributes:
        tag: an integer that no other purpose has, or None: the purposes without a tag predate this module.
        position: index of the tag in the entropy.
    """

    tag: int | None
    position: int = 1

    def entropy(self, *key: int) -> tuple[int, ...]:
        """The key with the tag inserted."""
        return key if self.tag is None else (*key[: self.position], self.tag, *key[self.position :])


# Episodes: which are played, and what is drawn in them.
DECISION = Purpose(1, 3)  # seed of the episode, step, who acts: an actor's draws
DERIVED_DECISION = Purpose(0x64657276, 4)  # the key of a decision, number: one of several answers to it
RANDOM_HELP = Purpose(0x68656C70)  # seed of the episode: help at random (larger than any step, unlike DECISION's word)
RANDOM_ABORT = Purpose(0xAB027)  # seed of the episode: abort at random
COLLECTION_PLAN = Purpose(0x706C616E)  # seed: help probabilities of the tasks
COLLECTION_EPISODES = Purpose(None)  # seed, task index, episode of the task: the seed of the episode
EVALUATION_EPISODES = Purpose(0xE7A1)  # the same for an evaluation
CALIBRATION_EPISODES = Purpose(0xCA11)  # the same for a calibration
INTERACTIVE_HELP = Purpose(None)  # seed, task index: help at random in an episode with a person
SIMULATION = Purpose(0x51A1)  # draw of the decision, number of the simulation: a simulation of a tree search
ROLLOUT = Purpose(0x5011, 0)  # key of the state, number of the rollout: a rollout from a state
FORK = Purpose(0xF02C)  # seed, task index, seed of the episode, step, repetition: the seed of a fork
FORK_STEP = Purpose(0xF02D)  # seed of a fork, step: the task's stream
FORK_STATES = Purpose(0xF02E)  # seed: the states that are forked
# Helpers.
EPISODE_KEY = Purpose(None)  # seed of the episode, task index: the key of a helper's draws
KEYED_DRAWS = Purpose(0x6B6579)  # seed of the helper, key of the episode
COUNTED_DRAWS = Purpose(0x636E74)  # seed of the helper, number of the episode
HELPER_SEED = Purpose(None)  # seed of the evaluation, ...: the seed of a helper
# Training.
HELD_OUT_TASKS = Purpose(0x59117)  # seed: tasks that a model is not trained on
PRM_EXAMPLES = Purpose(0x93B)  # seed: states that a process reward model is trained on
BAG_OF_WORDS_EXAMPLES = Purpose(0xBA6)  # seed: the same for the bag of words
LABEL_EXAMPLES = Purpose(0x4E19)  # seed: labels that a helper is trained on
BATCHES = Purpose(0x7EA1)  # seed: the order of the batches
TRAINING_TASKS = Purpose(0x7A5C, 0)  # seed of the episode: the task of an episode without a task index
FITTED_FOLDS = Purpose(0xF01D)  # seed: folds of fitted values
FITTED_WEIGHTS = Purpose(0xF17E)  # seed, fold, ...: initial weights and dropout of fitted values
FITTED_EPISODES = Purpose(0xF17D)  # seed, fold, ...: the episodes of a round of fitted values
FITTED_BATCHES = Purpose(0xF17B)  # seed, fold, network, round, epoch: the order of the rows
AVERAGER_TIES = Purpose(0xA7E5)  # seed: the order of stored decisions at equal distance
# Statistics.
BOOTSTRAP = Purpose(0x5E1F, 0)  # bootstrap seed: resamples
SPLIT_HALVES = Purpose(0x5B117, 0)  # bootstrap seed: halves of the data, one to choose and one to measure
# Servers.
REQUEST_SEED = Purpose(None)  # seed of the client, draw of the decision: the seed sent with a request


def seed_sequence(purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The seed sequence of a stream, for what needs integers: ``seed_sequence(...).generate_state(1)``."""
    return np.random.SeedSequence(purpose.entropy(*key))


def generator(entropy: tuple[int, ...]) -> np.random.Generator:
    """A PCG64 generator at its beginning; ``entropy`` as :meth:`Purpose.entropy` returns it."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def stream(purpose: Purpose, *key: int) -> np.random.Generator:
    """The stream of a purpose and a key of non-negative integers, at its beginning."""
    return generator(purpose.entropy(*key))
