"""The comparison of helpers: success against usage, on the same episodes, with intervals. See ``evaluate``."""

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
