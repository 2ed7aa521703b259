"""Off-policy evaluation: success and usage of a helper, estimated from collected episodes without playing it."""

from selfreg_gym.off_policy.choosing import Choice, choose
from selfreg_gym.off_policy.evaluating import evaluate_off_policy
from selfreg_gym.off_policy.model_choice import ModelChoice, choose_model
from selfreg_gym.off_policy.result import OffPolicyEstimate, OffPolicyEvaluation, OffPolicySupportError

__all__ = [
    "Choice",
    "ModelChoice",
    "OffPolicyEstimate",
    "OffPolicyEvaluation",
    "OffPolicySupportError",
    "choose",
    "choose_model",
    "evaluate_off_policy",
]
