"""How helpers are compared: success against usage, on the same episodes, with intervals.

* :mod:`~selfreg_gym.evaluation.protocol`: ``evaluate``, which plays the episodes;
* :mod:`~selfreg_gym.evaluation.measures`: what an episode is measured by;
* :mod:`~selfreg_gym.evaluation.result`: ``Evaluation``, its rows and its file;
* :mod:`~selfreg_gym.evaluation.curves`: hull, area, usage needed;
* :mod:`~selfreg_gym.evaluation.comparison`: shares of the gap, helpers at equal usage;
* :mod:`~selfreg_gym.evaluation.diagnostics`: the warnings it gives by itself.
"""

from __future__ import annotations

from selfreg_gym.evaluation.comparison import EqualUsage, Recovery
from selfreg_gym.evaluation.curves import Curve
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.measures import EpisodeTable
from selfreg_gym.evaluation.protocol import evaluate, plan_episodes
from selfreg_gym.evaluation.result import Evaluation

__all__ = [
    "Curve",
    "EpisodeTable",
    "EqualUsage",
    "Evaluation",
    "EvaluationWarning",
    "Recovery",
    "evaluate",
    "plan_episodes",
]
