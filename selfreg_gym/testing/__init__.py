"""Contract tests for tasks, actors, interventions and helpers of your own.

Each ``check_*`` uses the object as the package does, and raises ``TaskContractError`` with the first broken rule. Three
lines make a test::

    from selfreg_gym.testing import check_task

    def test_my_task():
        check_task("mine/Task-v0")
"""

from __future__ import annotations

from selfreg_gym.testing.actors import check_actor, check_intervention
from selfreg_gym.testing.helpers import check_helper
from selfreg_gym.testing.reference_actors import ExpertActor, RandomActor
from selfreg_gym.testing.stress import stress_task
from selfreg_gym.testing.tasks import check_task

__all__ = [
    "ExpertActor",
    "RandomActor",
    "check_actor",
    "check_helper",
    "check_intervention",
    "check_task",
    "stress_task",
]
