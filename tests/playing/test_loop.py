"""run_episodes: each spec is played once, independent of the batch size; failures are repeated; memory is reset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from selfreg_gym import (
    Act,
    Decision,
    Episode,
    HelpBudget,
    HelpCost,
    Intervention,
    InterventionEnv,
    InterventionVectorEnv,
    StateKeyObservation,
    as_helper,
)
from selfreg_gym.errors import InvalidArgumentError, TaskContractError
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.testing import ExpertActor, RandomActor
from selfreg_gym.utils.random_streams import RANDOM_HELP, stream


def arguments(**kwargs: Any) -> dict[str, Any]:
    people = [Intervention(ExpertActor(), name="expert"), Intervention(RandomActor(), name="stranger", cost=0.5)]
    return {"task": "selfreg/Coin-v0", "actor": RandomActor(), "interventions": people, "help_cost": 0.1, **kwargs}


def table(num_envs: int, **kwargs: Any) -> InterventionVectorEnv:
    return InterventionVectorEnv(num_envs, autoreset_mode="Disabled", **arguments(**kwargs))


def by_seed(episodes: Any) -> list[Episode]:
    return sorted(episodes, key=lambda episode: episode.seed)


SPECS = [EpisodeSpec(i % 4, 100 + i, (i % 11) / 10) for i in range(60)]


# --- the same episodes whatever the batch -----------------------------------------------------------------------------


def test_random_help_gives_the_same_episodes_for_every_batch_size_and_order() -> None:
    expected = by_seed(run_episodes(InterventionEnv(**arguments()), SPECS))
    assert [episode.seed for episode in expected] == [spec.seed for spec in SPECS]
    for num_envs in (1, 3, 16, 100):
        assert by_seed(run_episodes(table(num_envs), SPECS)) == expected
    assert by_seed(run_episodes(table(5), SPECS[::-1])) == expected


def test_every_spec_is_played_once_even_when_two_are_equal() -> None:
    # Seen elsewhere: the evaluator counts its first batch twice.
    twice = [SPECS[3], SPECS[3], SPECS[4]]
    episodes = list(run_episodes(table(2), twice))
    assert sorted(episode.seed for episode in episodes) == [103, 103, 104]
    assert list(run_episodes(table(2), [])) == []


def test_no_transition_is_recorded_after_the_end() -> None:
    # Seen elsewhere: under next-step autoreset the row after termination is recorded.
    for episode in run_episodes(table(7), SPECS):
        assert [step.t for step in episode.steps] == list(range(len(episode)))
        assert [step.terminated for step in episode.steps] == [False] * (len(episode) - 1) + [True]


def test_the_fields_of_an_episode_are_consistent() -> None:
    for episode in run_episodes(table(4), SPECS):
        assert episode.cost == pytest.approx(sum(step.cost for step in episode))
        assert episode.usage[0] == sum(step.action == 1 for step in episode)
        assert episode.usage[1] == sum(step.action == 2 for step in episode) * 0.5
        assert sum(step.reward for step in episode) == pytest.approx(episode.success - 0.1 * episode.cost)
        assert (episode.task_id, episode.kind) == (f"coin-{episode.task_index}", "coin")
        first = episode.steps[0]
        assert (first.steps_left, first.feature_key) == (2 + episode.task_index, f"{2 + episode.task_index} left")
        assert first.state_key == f"coin-{episode.task_index}/{2 + episode.task_index}"
        assert (first.observation[:9], first.admissible_actions) == ("Coin 1 of", ("heads", "tails"))
        assert episode.metrics == {"coins": 2.0 + episode.task_index}


# --- random help ------------------------------------------------------------------------------------------------------


def test_random_help_has_its_probability_and_is_uniform_over_interventions() -> None:
    specs = [EpisodeSpec(3, seed, 0.4) for seed in range(800)]
    steps = [step for episode in run_episodes(table(16, actor=ExpertActor()), specs) for step in episode]
    helped = np.array([step.action for step in steps])
    assert np.mean(helped > 0) == pytest.approx(0.4, abs=0.03)
    assert np.mean(helped[helped > 0] == 1) == pytest.approx(0.5, abs=0.04)


def test_help_probabilities_0_and_1_are_exact() -> None:
    for probability, expected in ((0.0, {0}), (1.0, {1, 2})):
        specs = [EpisodeSpec(3, seed, probability) for seed in range(50)]
        assert {step.action for episode in run_episodes(table(4), specs) for step in episode} == expected


def test_help_at_a_probability_includes_help_at_smaller_ones() -> None:
    actions = {}
    for probability in (0.3, 0.6):
        specs = [EpisodeSpec(3, seed, probability) for seed in range(40)]
        episodes = by_seed(
            run_episodes(table(4, actor=ExpertActor(), interventions=arguments()["interventions"][:1]), specs)
        )
        actions[probability] = np.array([[step.action for step in episode] for episode in episodes])
    assert (actions[0.6] >= actions[0.3]).all()
    assert (actions[0.6] > actions[0.3]).any()


def test_random_help_is_independent_of_the_task_and_of_decisions() -> None:
    drawn = stream(RANDOM_HELP, 7).random()
    assert drawn != gym.utils.seeding.np_random(7)[0].random()
    assert drawn != Decision("", key=(7, 0, 0, 1)).rng.random()


# --- a helper ---------------------------------------------------------------------------------------------------------


class EveryOther:
    """Asks at every second step of an episode: memory in ``state``, forgotten where an episode begins."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        n = 1 if isinstance(observation, str) else len(observation)
        self.sizes.append(n)
        count = np.zeros(n, dtype=int) if state is None else state
        count = np.where(episode_start, 0, count)
        actions = count % 2
        return (actions[0] if isinstance(observation, str) else actions), count + 1

    def wrap(self, env: Any) -> Any:
        return env


def test_memory_is_reset_between_episodes_and_kept_within() -> None:
    # Seen elsewhere: a recurrent helper whose memory is never reset between episodes.
    for env in (InterventionEnv(**arguments(actor=ExpertActor())), table(3, actor=ExpertActor()), table(50)):
        for episode in run_episodes(env, SPECS, EveryOther()):
            assert [step.action for step in episode] == [t % 2 for t in range(len(episode))]


def test_a_helper_sees_the_observations_of_its_own_wrapper_and_the_store_sees_the_text() -> None:
    seen: list[str] = []
    helper = as_helper(lambda key: seen.append(key) or int(key.endswith("/1")), wrap=StateKeyObservation)
    for env in (InterventionEnv(**arguments(actor=ExpertActor())), table(3, actor=ExpertActor())):
        seen.clear()
        for episode in run_episodes(env, SPECS[:7], helper):
            assert [step.action for step in episode] == [0] * (len(episode) - 1) + [1]
            assert all(step.observation.startswith("Coin") for step in episode)
        assert all(key.startswith("coin-") for key in seen if key)


def test_transitions_without_texts() -> None:
    for episode in run_episodes(table(3), SPECS[:5], record_steps=False):
        assert all(step.observation == "" and step.admissible_actions is None for step in episode)
        assert all(step.state_key for step in episode)


def test_the_unseen_states_are_counted() -> None:
    class Half(EveryOther):
        last_unseen: np.ndarray

        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            texts = [observation] if isinstance(observation, str) else observation
            self.last_unseen = np.array(["Coin 1" in text for text in texts])
            return super().predict(observation, *args, **kwargs)

    for env in (InterventionEnv(**arguments()), table(4)):
        assert {episode.metrics["unseen"] for episode in run_episodes(env, SPECS, Half())} == {1.0}
    assert "unseen" not in next(run_episodes(table(1), SPECS[:1])).metrics


def test_wrapped_envs() -> None:
    always = as_helper(lambda text: 1)
    for episode in run_episodes(HelpBudget(table(3, actor=ExpertActor()), budget=1), SPECS[:8], always):
        assert [step.action for step in episode] == [1] + [0] * (len(episode) - 1)  # denied calls are nohelp
        assert episode.usage == (1.0, 0.0)
    for episode in run_episodes(HelpCost(table(3), help_cost=0.5), SPECS[:8], always):
        assert sum(step.reward for step in episode) == pytest.approx(episode.success - 0.5 * episode.cost)


@pytest.mark.parametrize(
    ("answer", "shape"),
    [(lambda n: np.zeros(n + 1, dtype=int), "(4,)"), (lambda n: np.zeros(n), "float64"), (lambda n: 0, "(1,)")],
)
def test_invalid_actions_of_a_helper_raise(answer: Any, shape: str) -> None:
    class Wrong(EveryOther):
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            return answer(len(observation)), None

    with pytest.raises(TaskContractError, match="N integer actions") as caught:
        list(run_episodes(table(3), SPECS, Wrong()))
    assert shape in str(caught.value)


# --- failures ---------------------------------------------------------------------------------------------------------


class Flaky:
    """Fails the first ``times`` times that it is asked about a five-coin game."""

    def __init__(self, times: int) -> None:
        self.left = times

    def act(self, decisions: Sequence[Decision]) -> list[str | Act]:
        acts: list[str | Act] = []
        for decision in decisions:
            if "of 5" in decision.observation and self.left > 0:
                self.left -= 1
                acts.append(Act("", error="server is down"))
            else:
                acts.append("heads")
        return acts


def test_an_episode_with_an_error_is_played_again() -> None:
    # Seen elsewhere: an errored call counted as "nohelp" or as a failed episode.
    expected = by_seed(run_episodes(table(3, actor=Flaky(0)), SPECS))
    assert by_seed(run_episodes(table(3, actor=Flaky(2)), SPECS, retries=2)) == expected


def test_an_episode_that_fails_again_is_yielded_with_its_error() -> None:
    specs = [EpisodeSpec(3, 1, 0.0), EpisodeSpec(0, 2, 0.0)]
    for env in (InterventionEnv(**arguments(actor=Flaky(99))), table(2, actor=Flaky(99))):
        broken, fine = by_seed(run_episodes(env, specs, retries=1))
        assert (broken.error, broken.success) == ("the actor: server is down", False)
        assert (broken.steps[-1].truncated, broken.steps[-1].terminated) == (True, False)
        assert fine.error is None
    attempts = Flaky(99)
    list(run_episodes(table(1, actor=attempts), specs, retries=3))
    assert 99 - attempts.left == 4


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_on_episode_is_called_before_each_yield() -> None:
    received: list[Episode] = []
    for number, episode in enumerate(run_episodes(table(4), SPECS, on_episode=received.append), start=1):
        assert received[-1] is episode
        assert len(received) == number


def test_invalid_arguments_raise_before_the_first_episode() -> None:
    with pytest.raises(InvalidArgumentError, match="autoreset_mode='Disabled'"):
        run_episodes(InterventionVectorEnv(2, **arguments()), SPECS)
    with pytest.raises(InvalidArgumentError, match="needs an InterventionVectorEnv"):
        run_episodes(gym.make("selfreg/Coin-v0"), SPECS)
    for probability in (None, 1.5, -0.1):
        with pytest.raises(InvalidArgumentError, match="help_probability"):
            run_episodes(table(1), [EpisodeSpec(0, 0, probability)])
    with pytest.raises(InvalidArgumentError, match="retries"):
        run_episodes(table(1), SPECS, retries=-1)


def test_the_exact_value_of_a_known_game() -> None:
    """Guessing until one coin is left, then asking: S = 0.5 ** 4 on five coins, M = S (Coin's own formula)."""
    helper = as_helper(lambda key: int(key.endswith("/1")), wrap=StateKeyObservation)
    specs = [EpisodeSpec(3, seed) for seed in range(4000)]
    episodes = list(run_episodes(table(32, actor=lambda text: "heads"), specs, helper, record_steps=False))
    assert np.mean([episode.success for episode in episodes]) == pytest.approx(0.5**4, abs=0.012)
    assert np.mean([episode.cost for episode in episodes]) == pytest.approx(0.5**4, abs=0.012)


def test_a_helper_that_raises_is_named() -> None:
    class Broken:
        def predict(self, observation: Any, **rest: Any) -> Any:
            raise KeyError("a word")

    with pytest.raises(TaskContractError, match="predict of Broken raised KeyError"):
        list(run_episodes(table(2), [EpisodeSpec(0, 0)], Broken()))
    for helper in (Broken, "never"):
        with pytest.raises(InvalidArgumentError, match="the helper must be an object with predict"):
            run_episodes(table(2), [EpisodeSpec(0, 0)], helper)  # type: ignore[arg-type]


def test_specs_of_another_type() -> None:
    for specs in (EpisodeSpec(0, 0, 0.5), 5, "ab", [(0, 0, 0.5)]):
        with pytest.raises(InvalidArgumentError, match="run_episodes takes a list of EpisodeSpec"):
            run_episodes(table(2), specs)  # type: ignore[arg-type]
    for p in ("0.5", float("nan"), 2, True):
        with pytest.raises(InvalidArgumentError, match="help_probability must be a finite number"):
            run_episodes(table(2), [EpisodeSpec(0, 0, p)])  # type: ignore[arg-type]
