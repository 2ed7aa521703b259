"""The plan of an evaluation: the episodes of each split, fixed before any is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfreg_gym.helper import HelperKey
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.utils.arguments import check_count, check_tasks
from selfreg_gym.utils.random_streams import EVALUATION_EPISODES, Purpose, seed_sequence

__all__ = ["Shard", "SplitPlan", "evaluation_plan", "make_shards"]


@dataclass(frozen=True)
class SplitPlan:
    """What is played on one split.

    Attributes:
        env: keyword arguments of ``selfreg/Intervention-v0``, or a ready env.
        tasks: task indices.
        episodes_per_task: a number, or one for each helper key.
        fixed_tasks: True: the tasks are the population; the intervals are about new episodes of them, and what helpers
            expect is recorded. False (default): the tasks are a sample; the intervals are about new tasks.
    """

    env: Any
    tasks: Sequence[int]
    episodes_per_task: int | Mapping[Any, int]
    fixed_tasks: bool | None = None


@dataclass(frozen=True)
class Shard:
    """Some tasks of a split, and the episodes of each helper on them."""

    split: str
    number: int
    specs: dict[HelperKey, list[EpisodeSpec]]


def evaluation_plan(
    tasks: Sequence[int], episodes_per_task: int, *, seed: int, stream: Purpose = EVALUATION_EPISODES
) -> list[EpisodeSpec]:
    """The episodes of an evaluation: each task ``episodes_per_task`` times, with seeds of 31 bits.

    More episodes per task extend the plan: those of a smaller plan are among them.

    Args:
        tasks: task indices, no two the same.
        episodes_per_task: at least 1.
        seed: of the plan.
        stream: the purpose of the episodes; two purposes have different seeds.

    Raises:
        InvalidArgumentError: not a sequence of different task indices, none of them, or no episodes.
    """
    episodes_per_task = check_count("episodes per task", episodes_per_task)
    return [
        EpisodeSpec(task, int(seed_sequence(stream, seed, task, index).generate_state(1)[0] >> 1))
        for task in check_tasks(tasks)
        for index in range(episodes_per_task)
    ]


def make_shards(
    split: str, plans: Mapping[HelperKey, Sequence[EpisodeSpec]], longest: Sequence[EpisodeSpec], num_envs: int
) -> list[Shard]:
    """Divide the tasks of the ``longest`` plan into at most 8 shards of at least ``6 num_envs`` episodes.

    Smaller shards would leave many envs idle at the end of each. The number of shards, and with it the helpers' draws,
    does not depend on the number of processes.
    """
    size = max(6 * num_envs, -(-len(longest) // 8))
    parts: list[list[EpisodeSpec]] = [[]]
    for spec in longest:
        if len(parts[-1]) >= size and spec.task_index != parts[-1][-1].task_index:
            parts.append([])
        parts[-1].append(spec)
    shards = []
    for number, part in enumerate(parts):
        tasks = {spec.task_index for spec in part}
        specs = {key: [spec for spec in plan if spec.task_index in tasks] for key, plan in plans.items()}
        shards.append(Shard(split, number, specs))
    return shards
