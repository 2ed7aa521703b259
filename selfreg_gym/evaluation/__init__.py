"""The comparison of helpers: success against usage, on the same episodes, with intervals.

Modules, from the protocol down to the statistics:

* :mod:`~selfreg_gym.evaluation.protocol`: ``evaluate``;
* :mod:`~selfreg_gym.evaluation.planning`, :mod:`~selfreg_gym.evaluation.playing`: the episodes, and playing them;
* :mod:`~selfreg_gym.evaluation.traces`: episodes that are kept step by step;
* :mod:`~selfreg_gym.evaluation.result`: ``Evaluation`` and its file;
* :mod:`~selfreg_gym.evaluation.diagnostics`: warnings;
* :mod:`~selfreg_gym.evaluation.selection`: selection of a helper by calibration and by an oracle;
* :mod:`~selfreg_gym.evaluation.comparison`: shares of the gap, and helpers at equal usage;
* :mod:`~selfreg_gym.evaluation.curve_estimates`: area, best lift and usage needed, with intervals;
* :mod:`~selfreg_gym.evaluation.rows`: result rows;
* :mod:`~selfreg_gym.evaluation.split_results`: the helpers, points and curves of one split;
* :mod:`~selfreg_gym.evaluation.records`: the records of ``evaluation.json``;
* :mod:`~selfreg_gym.evaluation.paired`: functions of several helpers' means, with paired intervals;
* :mod:`~selfreg_gym.evaluation.table`, :mod:`~selfreg_gym.evaluation.measures`: measured episodes;
* :mod:`~selfreg_gym.evaluation.curves`: curve, hull and area of known points;
* :mod:`~selfreg_gym.evaluation.bootstrap`: the bootstrap of means and rates.
"""

from __future__ import annotations

from selfreg_gym._moved import renamed
from selfreg_gym.evaluation.comparison import EqualUsage, Recovery
from selfreg_gym.evaluation.curves import Curve
from selfreg_gym.evaluation.diagnostics import EvaluationWarning
from selfreg_gym.evaluation.planning import SplitPlan, evaluation_plan
from selfreg_gym.evaluation.protocol import evaluate, evaluate_splits
from selfreg_gym.evaluation.result import Evaluation
from selfreg_gym.evaluation.table import EpisodeTable

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
