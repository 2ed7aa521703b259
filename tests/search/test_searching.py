"""Tree search: known optima, honesty about hidden facts and chance, determinism, and the live task left as it was."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from small_tasks import Corridor, Game

import selfreg_gym
from selfreg_gym.agents.interventions.mcts import MCTS
from selfreg_gym.errors import InvalidArgumentError, SelfRegError, TaskContractError
from selfreg_gym.intervention_env.snapshots import ReplaySnapshots, with_snapshots
from selfreg_gym.playing.plan import EpisodeSpec
from selfreg_gym.search.leaf_values import RolloutValue
from selfreg_gym.search.searching import TreeSearch
from selfreg_gym.search.simulator import foresees
from selfreg_gym.search.states import TaskState
from selfreg_gym.search.trees import Outcome, Trees
from selfreg_gym.testing import check_intervention
from selfreg_gym.testing.reference_actors import RandomActor
from selfreg_gym.types import Act, Decision


class Uniform:
    """An actor that gives all admissible actions equal probability."""

    calls = 0

    def act(self, decisions):
        self.calls += 1
        found = []
        for d in decisions:
            n = len(d.admissible_actions)
            found.append(Act(d.admissible_actions[0], logprobs=(-np.log(n),) * n, tokens=2))
        return found


def zero(states):
    """The value of states that are not known to be good."""
    return np.zeros(len(states))


def at_reset(task, *, seed=0, episode=0, key=(1,)):
    task = with_snapshots(task)
    observation, info = task.reset(seed=seed, options={"episode": episode})
    return Decision(observation, info["admissible_actions"], task, key, {**info, "step": 0})


def following(decision, action, result=None):
    """The decision after an action, with the tree of a search."""
    observation, _, terminated, truncated, info = decision.task.step(action)
    step = decision.info["step"] + 1
    tree = None if result is None else result.tree
    key = (*decision._key, step)
    after = Decision(observation, info["admissible_actions"], decision.task, key, {**info, "step": step}, tree)
    return after, terminated or truncated, info


@pytest.mark.parametrize("reuse", [True, False])
def test_the_direct_way_through_a_corridor_is_found(reuse):
    search = TreeSearch(Uniform(), zero, simulations=100, reuse=reuse)
    decision, over = at_reset(Corridor(10)), False
    while not over:
        result = search.run([decision])[0]
        assert result.actions[result.best()] == "right"
        assert result.simulations == 100
        decision, over, info = following(decision, "right", result)
    assert info["success"]


def test_values_of_a_game_tree_with_chance_are_those_of_an_actor_that_reads_what_it_sees():
    search = TreeSearch(Uniform(), zero, simulations=2000, c_puct=2.0)
    result = search.run([at_reset(Game())])[0]
    assert result.actions[result.best()] == "look"
    safe, look = result.values
    assert abs(safe - 0.8) < 0.08
    assert look > 0.95
    assert len(result.tree.actions) == 3  # the root, red and blue
    reds = [n for (_, _, outcome), n in result.tree.children.items() if outcome.state_key == "red"]
    share = result.tree.visits[reds[0]].sum() / result.visits[1]
    assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize("episode", [0, 4, 8, 12])
def test_a_hidden_coin_is_not_foreseen(episode):
    coin = gym.make("selfreg/Coin-v0", heads=0.7, disable_env_checker=True)
    decision = at_reset(coin, seed=episode, episode=episode)  # two coins
    search = TreeSearch(Uniform(), zero, simulations=1500, c_puct=3.0)
    heads, tails = search.run([decision])[0].values
    assert abs(heads - 0.7**2) < 0.1
    assert abs(tails - 0.3 * 0.7) < 0.1
    true = decision.task.get_wrapper_attr("expert_action")()
    informed = TreeSearch(Uniform(), zero, simulations=200, privileged=True).run([decision])[0]
    assert informed.actions[informed.best()] == true
    assert max(informed.values) > 0.9  # it sees the second coin too


def test_the_optimal_moves_of_a_slippery_lake_are_found():
    """With the optimal values at the leaves, the chosen move is optimal wherever the second best is clearly worse."""
    lake = gym.make("selfreg/FrozenLake-v0", disable_env_checker=True).unwrapped
    _, info = lake.reset(seed=0, options={"episode": 0})
    tables = lake._dynamics
    best = np.zeros(16)
    for _ in range(2000):
        q = tables.win + tables.move @ best  # (moves, cells)
        best = q.max(axis=0)

    def optimal(states):
        return np.array([best[int(state.info["state_key"].partition("/")[2])] for state in states])

    search = TreeSearch(Uniform(), optimal, simulations=600, c_puct=1.0)
    checked = 0
    start = lake.snapshot()
    for cell in range(16):
        ordered = np.sort(q[:, cell])
        if lake._lake.rows[cell // 4][cell % 4] in "HG" or ordered[-1] - ordered[-2] < 0.08:
            continue
        task, _, left, over, state = start
        lake.restore((task, cell, left, over, state))
        info = lake._info(False) | {"step": 0}
        result = search.run([Decision(lake._text(), info["admissible_actions"], lake, (cell,), info)])[0]
        assert result.best() == int(q[:, cell].argmax()), (cell, q[:, cell], result.values)
        assert (result.values < q[:, cell] + 0.08).all()  # below: simulations also explore bad moves
        checked += 1
    assert checked >= 5


def test_rollouts_lead_across_a_lake_without_slips():
    lake = gym.make("selfreg/FrozenLake-v0", slippery=False, max_steps=12, disable_env_checker=True)
    search = TreeSearch(RandomActor(), RolloutValue(RandomActor(), rollouts=4), simulations=150, uniform=1.0)
    decision, over = at_reset(lake), False
    while not over:
        result = search.run([decision])[0]
        decision, over, info = following(decision, result.actions[result.best()], result)
    assert info["success"]


def sif_decisions(n):
    found = []
    for i in range(n):
        task = with_snapshots(gym.make("selfreg/SIF-v0", split="val-seen", disable_env_checker=True))
        observation, info = task.reset(seed=i, options={"episode": i})
        for _ in range(i % 3):
            observation, _, _, _, info = task.step(task.get_wrapper_attr("expert_action")())
        found.append(Decision(observation, info["admissible_actions"], task, (i, 5), {**info, "step": i % 3}))
    return found


def test_a_search_does_not_depend_on_the_batch_and_is_repeatable():
    actor, decisions = Uniform(), sif_decisions(6)
    search = TreeSearch(actor, RolloutValue(RandomActor()), simulations=12)
    together = search.run(decisions)
    assert actor.calls <= 13  # one for the roots and one per round
    alone = [search.run([decision.renewed()])[0] for decision in reversed(decisions)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert one.visits.tolist() == other.visits.tolist()
        assert np.array_equal(one.values, other.values, equal_nan=True)
        assert one.tokens == other.tokens > 0
    shared = [Decision(d.observation, d.admissible_actions, decisions[0].task, (k,), d.info)
              for k, d in enumerate([decisions[0]] * 3)]  # fmt: skip
    together, alone = search.run(shared), [search.run([one.renewed()])[0] for one in shared]
    assert [r.visits.tolist() for r in together] == [r.visits.tolist() for r in alone]


def test_a_value_that_reads_the_actor_shares_its_calls():
    class Reads:
        reads_actor = True

        def __call__(self, states):
            assert all(state.act is not None and len(state.act.logprobs) == 2 for state in states)
            return np.zeros(len(states))

    results = []
    for value in (Reads(), zero):
        actor = Uniform()
        results.append(TreeSearch(actor, value, simulations=40).run([at_reset(Corridor(6))])[0])
        assert actor.calls <= 41
        assert actor.calls == len(results[-1].tree.actions) or value is zero
    assert results[0].visits.tolist() == results[1].visits.tolist()


@pytest.mark.parametrize("task", ["selfreg/SIF-v0", "selfreg/Coin-v0", "selfreg/FrozenLake-v0", "replay"])
def test_the_live_task_is_bit_identical_after_a_search(task):
    made = ReplaySnapshots(gym.make("selfreg/Coin-v0")) if task == "replay" else with_snapshots(gym.make(task))
    for seed in range(4):
        decision = at_reset(made, seed=seed, episode=seed)
        snapshot = made.get_wrapper_attr("snapshot")
        before = pickle.dumps(snapshot())
        TreeSearch(Uniform(), RolloutValue(RandomActor()), simulations=10).run([decision])
        assert pickle.dumps(snapshot()) == before
        again = with_snapshots(gym.make("selfreg/Coin-v0" if task == "replay" else task))
        at_reset(again, seed=seed, episode=seed)
        rng, info = np.random.default_rng(seed), decision.info
        while True:
            actions = info["admissible_actions"]
            action = actions[int(rng.integers(len(actions)))]
            one, other = made.step(action), again.step(action)
            assert one[:4] == other[:4]
            info = one[4]
            if one[2] or one[3]:
                break


def test_an_error_in_a_simulation_leaves_the_task_as_it_was():
    class Fails:
        def act(self, decisions):
            return [Act("", error="out of memory")] * len(decisions)

    decision = at_reset(gym.make("selfreg/Coin-v0"))
    before = decision.task.get_wrapper_attr("snapshot")()
    with pytest.raises(TaskContractError, match="out of memory"):
        TreeSearch(Fails(), zero).run([decision])
    with pytest.raises(TaskContractError, match="one success probability"):
        TreeSearch(Uniform(), lambda states: np.full(len(states), 2.0)).run([decision])
    assert decision.task.get_wrapper_attr("snapshot")() == before


def test_the_tree_is_continued_within_an_episode():
    search = TreeSearch(Uniform(), zero, simulations=60)
    first = at_reset(Corridor(8))
    result = search.run([first])[0]
    second, _, _ = following(first, "right", result)
    continued = search.run([second])[0]
    root = result.tree.find(1, Outcome("5", 3, ("left", "right")))
    assert root is not None
    assert continued.visits.sum() == 60 + result.tree.visits[root].sum() > 60
    assert result.tree.visits.sum() == sum(result.tree.visits[i].sum() for i in range(len(result.tree.actions)))
    # A step without a search between, and a state that is not in the tree.
    third, _, _ = following(second, "right")
    skipped = Decision(third.observation, third.admissible_actions, third.task, (9,), third.info, result.tree)
    assert search.run([skipped])[0].visits.sum() > 60
    foreign = Decision(third.observation, third.admissible_actions, third.task, (9,),
                       {**third.info, "state_key": "another"}, result.tree)  # fmt: skip
    assert search.run([foreign])[0].visits.sum() == 60


class Patient(Corridor):
    """A corridor whose own limit is far away."""

    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed)
        self.left = 50
        return observation, self._info(("left", "right"))


@pytest.mark.parametrize("known", [True, False])
def test_the_limit_of_the_env_ends_simulated_episodes(known):
    """From cell 3 of 6 the direct way takes three steps, all that ``max_episode_steps`` allows."""

    class Task(Patient):
        def _info(self, actions, **over):
            info = super()._info(actions, **over)
            return info if known else {key: value for key, value in info.items() if key != "steps_left"}

    mcts = MCTS(simulations=150, value=zero)
    env = selfreg_gym.InterventionEnv(Task(6), Uniform(), [mcts], max_episode_steps=3)
    env.reset(seed=0)
    carried = []
    for _ in range(3):
        info = env.step(1)[4]
        tree = env.slots[0].memory[1]
        carried.append(int(tree.visits[0].sum()) > 150)
        assert info["action_text"] == "right"
        assert max(tree.depth) <= 3
    assert info["success"]
    assert carried == [False, True, True]


def test_rollouts_end_at_the_limit_of_the_env():
    class Right:
        def act(self, decisions):
            return ["right"] * len(decisions)

    found = []
    for limit in (2, 3):
        env = selfreg_gym.InterventionEnv(Patient(6), Right(), [], max_episode_steps=limit)
        env.reset(seed=0)
        slot = env.slots[0]
        found += RolloutValue(Right())([TaskState(slot.task, slot.observation, slot.info)]).tolist()
    assert found == [0.0, 1.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"value": 3}, "function of states, received 3"),
        ({"value": "prm", "folder": "no such folder"}, "must exist, received 'no such folder'"),
        ({"reuse": "no"}, "reuse must be True or False"),
        ({"privileged": 1}, "privileged must be True or False"),
        ({"simulations": 0}, "simulations, per decision, must be an integer of at least 1"),
    ],
)
def test_arguments_are_checked_when_it_is_made(given, words):
    with pytest.raises(SelfRegError, match=words):
        MCTS(**given)


def test_the_smallest_temperature_takes_the_most_visited_action():
    mcts = MCTS(simulations=60, value=zero, temperature=5e-324).with_actor(Uniform())
    assert [act.text for act in mcts.actor.act([at_reset(Corridor(6), key=(i,)) for i in range(4)])] == ["right"] * 4


def test_an_actor_without_probabilities_or_with_free_text():
    class Free:
        def act(self, decisions):
            return [("right", "left", "jump")[int(d.rng.integers(3))] for d in decisions]

    corridor = Corridor(4)
    corridor._info = lambda actions, **over: Corridor._info(corridor, None, **over)
    corridor.reset(seed=0)
    info = corridor._info(()) | {"step": 0}
    decision = Decision("cell 2", None, corridor, (3,), info)
    result = TreeSearch(Free(), zero, simulations=60, candidates=16).run([decision])[0]
    assert set(result.actions) == {"right", "left", "jump"}
    assert result.actions[result.best()] == "right"
    assert abs(result.prior.sum() - 1) < 1e-9
    one_hot = TreeSearch(RandomActor(), zero, simulations=4, uniform=0.2).run([at_reset(Corridor(4))])[0]
    assert sorted(one_hot.prior.tolist()) == pytest.approx([0.1, 0.9])
    assert one_hot.tokens is None


def test_selection_by_hand():
    trees = Trees(2)
    outcome = Outcome("s", None, None)
    trees.add(0, outcome, 0.5)
    trees.expand(0, 0, ("a", "b"), np.array([0.6, 0.4]))
    trees.add(1, outcome, 0.1)
    trees.expand(1, 0, ("a", "b", "c"), np.array([0.2, 0.2, 0.6]))
    rows, roots = np.arange(2), np.zeros(2, np.int64)
    assert trees.select(rows, roots, 1.0).tolist() == [0, 2]
    trees.back_up(0, [(0, 0)], 0.0)  # Q(a) = 0, U(a) = 0.6 * sqrt(2) / 2; Q(b) = 0.5, U(b) = 0.4 * sqrt(2)
    trees.back_up(1, [(0, 2)], 1.0)
    assert trees.select(rows, roots, 1.0).tolist() == [1, 2]
    trees.back_up(1, [(0, 2)], 0.0)
    trees.back_up(1, [(0, 2)], 0.0)  # Q(c) = 1/3, U(c) = 0.6 * 2 / 4 * c; Q(a) = 0.1, U(a) = 0.2 * 2 * c
    assert trees.select(rows, roots, 1.0)[1] == 2
    assert trees.select(rows, roots, 3.0)[1] == 0


def always(num_envs, intervention, specs, actor="scripted"):
    env = selfreg_gym.InterventionVectorEnv(
        num_envs, "selfreg/SIF-v0", actor, [intervention], task_kwargs={"split": "val-seen"}, autoreset_mode="Disabled"
    )
    return sorted(selfreg_gym.run_episodes(env, specs, lambda text: 1), key=lambda episode: episode.seed)


def test_episodes_do_not_depend_on_the_number_of_environments():
    specs = [EpisodeSpec(task_index=i, seed=i) for i in range(5)]
    mcts = MCTS(simulations=6, cost_per_simulation=0.01)
    many, one = always(5, mcts, specs), always(1, mcts, specs)
    assert many == one
    assert all(episode.error is None for episode in many)
    assert {step.cost for episode in many for step in episode.steps} == {0.06}


def test_a_restored_env_searches_with_the_tree_of_its_snapshot():
    env = selfreg_gym.InterventionEnv(
        "selfreg/SIF-v0", "scripted", [MCTS(simulations=8)], task_kwargs={"split": "val-seen"}
    )
    env.reset(seed=3, options={"episode": 5})
    env.step(1)
    snapshot = env.snapshot()
    first = [env.step(1)[4]["action_text"] for _ in range(2)]
    env.restore(snapshot)
    env.step(0)
    env.restore(snapshot)
    assert [env.step(1)[4]["action_text"] for _ in range(2)] == first
    assert env.slots[0].memory[1].step == 2
    env.reset(seed=4)
    assert env.slots[0].memory == {}


def test_the_intervention_passes_its_checks_and_says_where_it_is_privileged():
    check_intervention(MCTS(simulations=5))
    check_intervention(MCTS(simulations=5, temperature=1.0), task="selfreg/FrozenLake-v0")
    coin = gym.make("selfreg/Coin-v0")
    assert not MCTS().privileged_on(coin)
    assert MCTS(privileged=True).privileged_on(coin)

    class Plain(gym.Env):
        """A task that does not say whether it has hidden facts."""

    assert foresees(Plain())
    assert MCTS().privileged_on(Plain())
    with pytest.raises(InvalidArgumentError, match="with_actor"):
        MCTS().actor.act([at_reset(coin)])
    with pytest.raises(InvalidArgumentError, match="either simulations or seconds"):
        MCTS(simulations=3, seconds=1.0)
    with pytest.raises(InvalidArgumentError, match="needs folder="):
        MCTS(value="prm")
    assert MCTS(simulations=10, cost_per_simulation=0.05).cost == 0.5
    (act,) = MCTS(seconds=0.01).with_actor(Uniform()).actor.act([at_reset(coin)])
    assert act.text in ("heads", "tails")
    with pytest.raises(TaskContractError, match="without a task"):
        TreeSearch(Uniform(), zero).run([Decision("x", ("a", "b"))])
