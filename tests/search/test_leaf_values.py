"""Values of task states: rollouts against exact values, models, batches, and tasks that are left as they were."""

import gymnasium as gym
import numpy as np
import pytest

import selfreg_gym
from selfreg_gym.errors import InvalidArgumentError, TaskContractError, UnknownNameError
from selfreg_gym.intervention_env.snapshots import with_snapshots
from selfreg_gym.search.leaf_values import FittedValue, PRMValue, RolloutValue, leaf_value
from selfreg_gym.search.states import TaskState, apart
from selfreg_gym.types import Act


class Says:
    """An actor that always gives one answer, and counts its calls."""

    def __init__(self, text):
        self.text, self.calls = text, []

    def act(self, decisions):
        self.calls.append(len(decisions))
        return [self.text] * len(decisions)


def coin(episode, seed=3, heads=0.8):
    task = with_snapshots(gym.make("selfreg/Coin-v0", heads=heads, disable_env_checker=True))
    return task, *task.reset(seed=seed, options={"episode": episode})


def coin_state(episode, key, seed=3):
    task, observation, info = coin(episode, seed)
    return TaskState(task, observation, info, key=(key,))


def test_rollouts_average_the_success_of_the_actor():
    task, observation, info = coin(1)  # three coins
    states, start = [], task.get_wrapper_attr("snapshot")()
    for i in range(2000):
        task.get_wrapper_attr("restore")(start)
        if i % 2:
            task.get_wrapper_attr("sample_hidden")(np.random.default_rng(i))
        states.append(TaskState(task, observation, info, key=(i,), snapshot=task.get_wrapper_attr("snapshot")()))
    values = RolloutValue(Says("heads"))(states)
    # The coin under the cup is sampled in every second state, and shows its true side in the others.
    sampled = values[1::2].mean()
    assert abs(sampled - 0.8**3) < 3 * np.sqrt(0.25 / 1000)
    task.get_wrapper_attr("restore")(start)
    true = 1.0 if task.get_wrapper_attr("expert_action")() == "heads" else 0.0
    assert abs(values[::2].mean() - true * 0.8**2) < 3 * np.sqrt(0.25 / 1000)


def test_rollouts_of_different_tasks_share_the_calls_of_the_actor():
    states = [coin_state(episode, key=episode) for episode in (0, 1, 2, 3)]
    actor = Says("heads")
    RolloutValue(actor)(states)
    assert actor.calls[0] == 4
    assert len(actor.calls) <= 5


def test_rollouts_do_not_depend_on_the_batch_and_leave_the_task_as_it_was():
    states = [coin_state(i % 4, key=i, seed=i) for i in range(12)]
    before = [state.task.get_wrapper_attr("snapshot")() for state in states]
    value = RolloutValue(Says("heads"), rollouts=5)
    together = value(states)
    alone = np.concatenate([value([state]) for state in reversed(states)])[::-1]
    assert together.tolist() == alone.tolist()
    assert 0 < together.mean() < 1
    assert [state.task.get_wrapper_attr("snapshot")() for state in states] == before


def test_states_of_one_task_are_told_apart_by_their_snapshots():
    task, observation, info = coin(0)  # two coins
    start = task.get_wrapper_attr("snapshot")()
    right = task.get_wrapper_attr("expert_action")()
    after, _, _, _, info_after = task.step(right)
    end = task.get_wrapper_attr("snapshot")()
    wrong = {"heads": "tails", "tails": "heads"}[right]
    states = [
        TaskState(task, observation, info, key=(1,), snapshot=start),
        TaskState(task, after, info_after, key=(2,), snapshot=end),
    ]
    assert RolloutValue(Says(wrong))(states)[0] == 0
    assert task.get_wrapper_attr("snapshot")() == end
    assert [list(group) for group in apart([task, task, states, task])] == [[0, 2], [1], [3]]


def test_a_task_is_restored_no_more_often_than_needed():
    """A task without snapshots of its own is restored by a replay of its episode."""
    restored = []

    class Counted(gym.Wrapper):
        def snapshot(self):
            return self.env.get_wrapper_attr("snapshot")()

        def restore(self, snapshot):
            restored.append(snapshot)
            self.env.get_wrapper_attr("restore")(snapshot)

    task, observation, info = coin(1)
    state = TaskState(Counted(task), observation, info)
    for rollouts, expected in ((1, 1), (3, 3)):
        restored.clear()
        values = RolloutValue(Says("heads"), rollouts=rollouts)([state])
        assert values.tolist() == RolloutValue(Says("heads"), rollouts=rollouts)([state]).tolist()
        assert len(restored) == 2 * expected


def test_a_failed_act_in_a_rollout_is_an_error():
    class Fails:
        def act(self, decisions):
            return [Act("", error="no model")] * len(decisions)

    state = coin_state(0, key=0)
    with pytest.raises(TaskContractError, match="no model"):
        RolloutValue(Fails())([state])


def test_a_process_reward_model_scores_the_observations():
    class Length:
        def score(self, observations):
            return np.array([len(text) / 1000 for text in observations])

    states = [coin_state(episode, key=0) for episode in (0, 3)]
    assert PRMValue(Length())(states).tolist() == [len(state.observation) / 1000 for state in states]
    assert PRMValue(Length())([]).shape == (0,)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Fitted values of a coin of which the actor, who says heads, knows nothing more; and their folder."""
    env = selfreg_gym.InterventionVectorEnv(
        8, "selfreg/Coin-v0", Says("heads"), ["expert"], task_kwargs={"heads": 0.7}, autoreset_mode="Disabled"
    )
    folder = tmp_path_factory.mktemp("coins")
    rollouts = selfreg_gym.collect(
        env, store=folder / "rollouts.sqlite", tasks=range(4), episodes=100, help_probabilities=[0.0, 0.5], seed=0,
        progress=False,
    )  # fmt: skip
    frontier = selfreg_gym.solve_fitted(
        rollouts, inputs=["steps_left"], prices=6, folds=2, members=1, rounds=4, progress=False
    )
    frontier.save(folder / "values")
    return frontier, folder / "values"


def test_fitted_values_are_the_success_of_the_actor_at_the_largest_price(fitted):
    frontier, folder = fitted
    states = [coin_state(episode, key=0) for episode in range(4)]  # two to five coins
    values = FittedValue(folder)(states)
    assert np.abs(values - 0.7 ** np.arange(2, 6)).max() < 0.12
    assert (np.diff(values) < 0).all()
    # At price 0 the actor acts once and the expert then to the end.
    free = FittedValue(frontier, price=0.0)(states)
    assert np.abs(free - 0.7).max() < 0.12
    assert FittedValue(folder.parent)([]).shape == (0,)


def test_values_are_made_by_their_kind(fitted):
    _, folder = fitted
    state = coin_state(0, key=0)
    assert leaf_value("fitted", folder=folder)([state]) == FittedValue(folder.parent)([state])  # a helper's folder
    assert leaf_value("rollouts", actor=Says("heads"), rollouts=3)([state]).shape == (1,)
    with pytest.raises(UnknownNameError, match="kind of leaf value"):
        leaf_value("fited", folder=folder)
    with pytest.raises(InvalidArgumentError, match="needs folder="):
        leaf_value("prm")
    with pytest.raises(InvalidArgumentError, match="rollouts need the actor"):
        leaf_value("rollouts")
    with pytest.raises(InvalidArgumentError, match="received 3"):
        PRMValue(3)
    with pytest.raises(InvalidArgumentError, match="received 3"):
        FittedValue(3)
