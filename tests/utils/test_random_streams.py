"""Random streams draw the numbers that stored results were made with."""

from __future__ import annotations

import numpy as np
import pytest

from selfreg_gym.utils import random_streams
from selfreg_gym.utils.random_streams import Purpose, seed_sequence, stream

STORED = {  # key, first 32-bit word of the seed sequence, first uniform of the stream; older than the module
    "DECISION": ((3, 5, 2), 3851441456, 0.037060073422303996),
    "DERIVED_DECISION": ((3, 5, 2, 1, 7), 2895763865, 0.7555244288623342),
    "RANDOM_HELP": ((3,), 856669532, 0.8783461970317795),
    "RANDOM_ABORT": ((3,), 2454902966, 0.5657838060364206),
    "COLLECTION_PLAN": ((3,), 564601873, 0.05143326967986073),
    "COLLECTION_EPISODES": ((3, 5, 7), 140523827, 0.5968570093657358),
    "EVALUATION_EPISODES": ((3, 5, 7), 3087323433, 0.3436790686669111),
    "CALIBRATION_EPISODES": ((3, 5, 7), 317976119, 0.4342298862267804),
    "INTERACTIVE_HELP": ((3, 5), 3746004709, 0.1366734157837819),
    "FORK": ((3, 5, 7, 2, 1), 2259110771, 0.15748358169321264),
    "FORK_STEP": ((3, 5), 4249106061, 0.6003916320290461),
    "FORK_STATES": ((3,), 935417233, 0.5721301790466315),
    "EPISODE_KEY": ((3, 5), 3746004709, 0.1366734157837819),
    "SIMULATION": ((3, 5), 1699022742, 0.0077138867162854785),
    "ROLLOUT": ((3, 5, 7), 3154246587, 0.034130131646094575),
    "KEYED_DRAWS": ((3, 5), 3543334847, 0.3730369625795682),
    "COUNTED_DRAWS": ((3, 5), 24186852, 0.037559035806030594),
    "HELPER_SEED": ((3, 5, 7), 140523827, 0.5968570093657358),
    "HELD_OUT_TASKS": ((3,), 386225953, 0.4767044925596243),
    "PRM_EXAMPLES": ((3,), 2832595740, 0.9466730271065075),
    "BAG_OF_WORDS_EXAMPLES": ((3,), 228176651, 0.5895665716318226),
    "LABEL_EXAMPLES": ((3,), 3282561274, 0.8297519855893545),
    "BATCHES": ((3,), 1898020945, 0.11140788815895597),
    "TRAINING_TASKS": ((3,), 2477675624, 0.08025334629134262),
    "FITTED_FOLDS": ((1,), 19796312, 0.09275033825423729),
    "FITTED_WEIGHTS": ((1, 2, 3), 946036328, 0.4446580782292069),
    "FITTED_EPISODES": ((1, 2, 3), 2195664167, 0.013192901982482574),
    "FITTED_BATCHES": ((1, 2, 3, 4, 5), 1519677145, 0.6454522892171427),
    "AVERAGER_TIES": ((3,), 1950145307, 0.2983688305946711),
    "BOOTSTRAP": ((3,), 1599946599, 0.35115546415075094),
    "SPLIT_HALVES": ((3,), 3443282916, 0.39985707222514555),
    "REQUEST_SEED": ((3, 5), 3746004709, 0.1366734157837819),
}
PURPOSES = {name: value for name, value in vars(random_streams).items() if isinstance(value, Purpose)}


@pytest.mark.parametrize("name", PURPOSES)
def test_a_stream_draws_the_stored_numbers(name: str) -> None:
    key, word, uniform = STORED[name]
    assert int(seed_sequence(PURPOSES[name], *key).generate_state(1)[0]) == word
    assert stream(PURPOSES[name], *key).random() == uniform
    assert np.random.default_rng(PURPOSES[name].entropy(*key)).random() == uniform


def test_two_purposes_never_share_a_tag() -> None:
    tags = [purpose.tag for purpose in PURPOSES.values() if purpose.tag is not None]
    assert len(set(tags)) == len(tags)
    assert 0 not in tags  # SeedSequence pads with zeros, so a tag of 0 would be no tag
