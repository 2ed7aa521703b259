"""``FreeText``: the Gymnasium space of all Unicode strings up to a length.

Gymnasium's ``Text`` contains only 62 alphanumeric characters by default, no spaces, newlines or empty string, and its
membership test visits every character. Observations of text tasks are long prose.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.utils.arguments import check_count

__all__ = ["FreeText"]

_SAMPLE_CHARACTERS = string.ascii_letters + string.digits + " .,:!?'\n-"


class FreeText(Text):
    """Any ``str`` of at most ``max_length`` characters, the empty one included.

    ``shape`` is ``()`` and ``dtype`` is ``object``, from which Stable-Baselines3's ``DummyVecEnv`` allocates its
    buffer. Samples consist of letters, digits, spaces and punctuation; members may have any characters.

    Args:
        max_length: maximal number of characters (positive).
        seed: an int or a ``numpy.random.Generator``, as in all Gymnasium spaces.
    """

    def __init__(self, max_length: int = 100_000, *, seed: int | np.random.Generator | None = None) -> None:
        max_length = check_count("max_length (characters)", max_length)
        super().__init__(max_length, min_length=0, charset=_SAMPLE_CHARACTERS, seed=seed)
        self._shape = ()
        self.dtype = np.dtype(object)

    @property
    def is_np_flattenable(self) -> bool:
        """False: text is not flattened into numbers."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Draw a string of at most 64 characters; masks and probabilities are not supported."""
        if mask is not None or probability is not None:
            raise InvalidArgumentError("FreeText.sample takes no mask and no probability.")
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_CHARACTERS), size=length)
        return "".join(_SAMPLE_CHARACTERS[i] for i in picks)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a ``str`` of at most ``max_length`` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"FreeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((FreeText, self.max_length))


@create_shared_memory.register(FreeText)
def _no_shared_memory(space: FreeText, n: int = 1, ctx: Any = None) -> Any:
    """Raise: Gymnasium's shared buffer for ``Text`` returns wrong text without an error."""
    raise InvalidArgumentError(
        "text cannot be shared in memory, because Gymnasium would return wrong text without an error: use "
        "AsyncVectorEnv(..., shared_memory=False), or gym.make_vec('selfreg/Intervention-v0'), which runs N "
        "environments in one process."
    )
