"""How helpers are compared: success against usage, on the same episodes, with intervals.

* :mod:`~selfreg_gym.evaluation.protocol`: ``evaluate``: the plan, and what comes of it;
* :mod:`~selfreg_gym.evaluation.playing`: who plays which share of it;
* :mod:`~selfreg_gym.evaluation.traces`: the episodes that are shown step by step;
* :mod:`~selfreg_gym.evaluation.measures`: what an episode is measured by;
* :mod:`~selfreg_gym.evaluation.result`: ``Evaluation``, its rows and its file;
* :mod:`~selfreg_gym.evaluation.paired`: functions of several helpers' means, with paired intervals;
* :mod:`~selfreg_gym.evaluation.curves`: a helper's points as a curve, its hull and area;
* :mod:`~selfreg_gym.evaluation.curve_estimates`: area, best lift and usage needed, with intervals;
* :mod:`~selfreg_gym.evaluation.comparison`: shares of the gap, helpers at equal usage;
* :mod:`~selfreg_gym.evaluation.diagnostics`: the warnings it gives by itself.
"""

from __future__ import annotations

from selfreg_gym._moved import renamed
from selfreg_gym.evaluation.comparison import EqualUsage, Recovery
from selfreg_gym.evaluation.curves import Curve
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.measures import EpisodeTable
from selfreg_gym.evaluation.protocol import SplitPlan, evaluate, evaluate_splits, evaluation_plan
from selfreg_gym.evaluation.result import Evaluation

__all__ = [
    "Curve",
    "EpisodeTable",
    "EqualUsage",
    "Evaluation",
    "EvaluationWarning",
    "Recovery",
    "SplitPlan",
    "evaluate",
    "evaluate_splits",
    "evaluation_plan",
]

__getattr__ = renamed(__name__, {"plan_episodes": "evaluation_plan"})
