"""``FeatureObservation``: numeric features instead of text, for Stable-Baselines3."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.wrappers.base import RuleObservation, VectorRuleObservation
from selfreg_gym.wrappers.prm import PRM, check_prm, scores_of

__all__ = ["EMBEDDING_SIZE", "FeatureObservation", "VectorFeatureObservation", "feature_space", "hashed_bag_of_words"]

EMBEDDING_SIZE = 64
"""Length of ``observation["embedding"]``."""

_HIGH = (1.0, 1e4, 1e4, 1.0)
_WORD = re.compile(r"[^\s|,;.!?]+")


@lru_cache(maxsize=20_000)
def _bag(text: str) -> np.ndarray:
    counts = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    for word in _WORD.findall(text.lower()):
        hashed = zlib.crc32(word.encode())  # the same in every process, unlike hash()
        counts[(hashed >> 1) % EMBEDDING_SIZE] += 1.0 if hashed & 1 else -1.0
    length = float(np.linalg.norm(counts))
    bag = counts / length if length > 0 else counts
    bag.flags.writeable = False
    return bag


def hashed_bag_of_words(text: str) -> np.ndarray:
    """Signed feature hashing of the words (Weinberger et al. 2009), scaled to norm 1.

    Returns:
        float32 ``(64,)`` in [-1, 1]; zeros for a text without words.
    """
    return _bag(text).copy()


def feature_space() -> gym.spaces.Dict:
    """The space of :class:`FeatureObservation`, the same for every env."""
    return gym.spaces.Dict(
        {
            "embedding": gym.spaces.Box(-1.0, 1.0, (EMBEDDING_SIZE,), np.float32),
            "scalars": gym.spaces.Box(np.zeros(4, np.float32), np.array(_HIGH, np.float32), dtype=np.float32),
        }
    )


class _Features:
    """The rule: hashed words, and four numbers."""

    reads: tuple[str, ...] = ("feature_key", "usage", "budget_left", "steps_left", "step", "prm_score")

    def __init__(self, prm: PRM | None) -> None:
        self._prm = None if prm is None else check_prm(prm)
        self.space: gym.Space[Any] = feature_space()

    def observe(self, texts: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """One dict per text; one call of the model for all."""
        given = [info.get("prm_score", 0.0) for info in infos]
        scores = given if self._prm is None else scores_of(self._prm, texts).tolist()
        return [self._one(text, info, p) for text, info, p in zip(texts, infos, scores, strict=True)]

    def _one(self, text: str, info: Mapping[str, Any], p: float) -> dict[str, np.ndarray]:
        key = info.get("feature_key")
        left, done = info.get("steps_left") or 0, info.get("step") or 0
        scalars = (p, sum(info["usage"].tolist()), info.get("budget_left", 0.0), left / (left + done) if left else 0.0)
        bounded = [min(max(number, 0.0), high) for number, high in zip(scalars, _HIGH, strict=True)]
        return {
            "embedding": hashed_bag_of_words(text if key is None else key),
            "scalars": np.array(bounded, dtype=np.float32),
        }

    def empty(self) -> dict[str, np.ndarray]:
        return {"embedding": np.zeros(EMBEDDING_SIZE, dtype=np.float32), "scalars": np.zeros(4, dtype=np.float32)}

    def stack(self, observations: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.stack([one[name] for one in observations]) for name in ("embedding", "scalars")}


class VectorFeatureObservation(VectorRuleObservation):
    """:class:`FeatureObservation` of a vector env; one batched call of the model per step."""

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], prm: PRM | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm)
        super().__init__(env, _Features(prm))


class FeatureObservation(RuleObservation):
    """Observe numeric features (single or vector env), as PPO, DQN, MaskablePPO and RecurrentPPO require.

    The observation is a ``Dict`` of two boxes:

    * ``embedding``, float32 ``(64,)``: hashed bag of words of ``info["feature_key"]``, or of the text if it is absent;
    * ``scalars``, float32 ``(4,)``: p(s) of the process reward model (of ``prm``, else ``info["prm_score"]``, else 0);
      cost units used; cost units left under a ``HelpBudget`` (else 0); the fraction of steps left,
      ``steps_left / (steps_left + steps done)`` (0 if the task does not report ``steps_left``).

    Args:
        env: an intervention env with text observations, possibly wrapped.
        prm: an object with ``score(observations) -> (N,)``, or None.

    Raises:
        InvalidArgumentError: ``prm`` has no ``score``.

    Examples:
        >>> import gymnasium as gym
        >>> from selfreg_gym import FeatureObservation
        >>> env = gym.make("selfreg/Intervention-v0", task="selfreg/Coin-v0", actor=lambda text: "heads",
        ...                interventions=[])
        >>> env.observation_space
        FreeText(100000)
        >>> env = FeatureObservation(env)
        >>> observation, info = env.reset(seed=0)
        >>> observation["embedding"].shape, observation["scalars"].tolist()
        ((64,), [0.0, 0.0, 0.0, 1.0])
    """

    vector = VectorFeatureObservation

    def __init__(self, env: gym.Env[Any, Any], prm: PRM | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, _disable_deepcopy=True, prm=prm)
        super().__init__(env, _Features(prm))
