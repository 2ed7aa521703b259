"""``check_helper``: the contract of helpers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from selfreg_gym.adapters import as_helper
from selfreg_gym.errors import SelfRegError, TaskContractError, shown
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.env import InterventionEnv
from selfreg_gym.intervention_env.interventions import build_interventions
from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing.common import SAMPLE_TASK, SECONDS, broken
from selfreg_gym.testing.reference_actors import ExpertActor, RandomActor
from selfreg_gym.types import Intervention
from selfreg_gym.utils.time_limit import CallTimedOutError, call_within

__all__ = ["check_helper"]


def check_helper(
    helper: Any,
    *,
    task: str = SAMPLE_TASK,
    interventions: Sequence[Intervention | str] | None = None,
    timeout: float | None = SECONDS,
) -> None:
    """Check a helper: ``predict``, ``wrap`` on single and vector envs, repeated episodes, its state, and the knob.

    Args:
        helper: a :class:`selfreg_gym.Helper`, or anything that :func:`selfreg_gym.as_helper` takes.
        task: id of the text task; its actor acts at random.
        interventions: registered names or :class:`selfreg_gym.Intervention` objects, as many as the helper was made
            for; default: the task's expert alone.
        timeout: seconds that one call of the helper, or of an actor, may take; None: no limit.

    Raises:
        TaskContractError: the first rule that the helper breaks.
    """
    helper = as_helper(helper)
    chosen = [Intervention(ExpertActor(), name="expert")] if interventions is None else list(interventions)
    agents = {"actor": RandomActor(), "interventions": build_interventions(chosen), "call_timeout": timeout}
    k = len(chosen)
    single = InterventionEnv(task, **agents)  # type: ignore[arg-type]
    wrapped = _wrapped(helper, single)
    if not isinstance(wrapped, gym.Env) or wrapped.unwrapped is not single:
        broken("wrap(env) returns that env, possibly wrapped", repr(wrapped))
    observation, _ = wrapped.reset(seed=0)
    action, _ = _prediction(helper, observation, timeout)
    if np.ndim(action) != 0 or np.asarray(action).dtype.kind not in "iub" or not 0 <= int(action) <= k:
        broken(f"one observation is answered with one integer action from 0 to K (here K = {k})", shown(action))

    _ = helper.description  # its types
    specs = [EpisodeSpec(i % 3, 100 + i) for i in range(8)]
    runs = []
    twice = _AskedTwice(helper)
    for num_envs, player in ((3, helper), (3, helper), (1, helper), (3, twice), (1, twice)):
        env = InterventionVectorEnv(num_envs, task, autoreset_mode="Disabled", **agents)  # type: ignore[arg-type]
        vector = _wrapped(helper, env)
        if not isinstance(vector, gym.vector.VectorEnv) or vector.unwrapped is not env:
            broken("wrap(vector_env) returns that vector env, possibly wrapped", repr(vector))
        runs.append(sorted(run_episodes(env, specs, player), key=lambda episode: episode.seed))
        if len(runs[-1]) != len(specs):
            broken("every episode of a run ends", f"{len(runs[-1])} of {len(specs)} episodes")
        if failed := [episode.error for episode in runs[-1] if episode.error is not None]:
            raise TaskContractError(failed[0])
    if runs[0] != runs[1]:
        broken(
            "equal runs give equal episodes (keep memory in state, and draw from the helper's seed)",
            "two runs that differ",
        )
    if helper.lacks_with_knob():
        broken("a helper with a knob defines knob, knob_bounds and with_knob(x)", "a helper without with_knob")
    if helper.has_knob:
        try:
            _check_knob(helper)
        except (AttributeError, TypeError, ValueError) as error:
            broken("knob is a number, knob_bounds are (low, high), and with_knob(x) returns a helper", repr(error))


class _AskedTwice(Helper):
    """A helper that is asked twice from each state: as after an error, the second answer counts."""

    def __init__(self, helper: Helper) -> None:
        self.helper = helper
        self.draws_per_episode = helper.draws_per_episode

    @property
    def type_name(self) -> str:
        return self.helper.type_name

    def for_interventions(self, interventions: Sequence[Intervention]) -> Helper:
        return _AskedTwice(self.helper.for_interventions(interventions))

    def wrap(self, env: Any) -> Any:
        return self.helper.wrap(env)

    def begin_episodes(self, state: Any, starts: Any, keys: Any) -> Any:
        return self.helper.begin_episodes(state, starts, keys)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        asked = {"state": state, "deterministic": deterministic}
        first = self.helper.predict(observation, episode_start=np.array(episode_start), **asked)
        second = self.helper.predict(observation, episode_start=episode_start, **asked)
        if not np.array_equal(first[0], second[0]):
            broken(
                "predict does not change the state that it gets, and keeps no memory elsewhere (after an error, it is "
                "asked again from the same state)",
                f"the actions {shown(first[0])}, and from the same state {shown(second[0])}",
            )
        return second


def _check_knob(helper: Helper) -> None:
    low, high = helper.knob_bounds
    if not low < high:
        broken("knob_bounds are (low, high) with low < high", repr(helper.knob_bounds))
    before, middle = helper.knob, (low + high) / 2
    moved = helper.with_knob(middle)
    if moved is helper or helper.knob != before:
        broken("with_knob returns another helper and does not change this one", f"knob {helper.knob!r}")
    if not np.isclose(moved.knob, middle):
        broken("with_knob(x) returns a helper whose knob is x", f"{moved.knob!r} for x = {middle!r}")


def _wrapped(helper: Helper, env: Any) -> Any:
    try:
        return helper.wrap(env)
    except SelfRegError:
        raise
    except Exception as error:
        raise TaskContractError(f"wrap must accept an intervention env; this one raised {error!r}.") from error


def _prediction(helper: Helper, observation: Any, timeout: float | None) -> tuple[Any, Any]:
    """The helper's answer to the first observation of an episode."""
    start = np.array([True])
    try:
        answer = call_within(timeout, lambda: helper.predict(observation, None, start, deterministic=True))
    except SelfRegError:
        raise
    except CallTimedOutError:
        broken(f"predict returns within {timeout:g} s (the argument timeout)", "no answer")
    except Exception as error:
        raise TaskContractError(f"predict must answer every observation; this one raised {error!r}.") from error
    if not isinstance(answer, tuple) or len(answer) != 2:
        broken("predict returns (actions, state)", repr(answer))
    return answer
