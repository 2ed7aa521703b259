"""Privileged interventions are marked wherever results name them."""

import gymnasium as gym

import selfreg_gym
from selfreg_gym.agents.helpers.always import Always
from selfreg_gym.agents.interventions.expert import Expert
from selfreg_gym.agents.interventions.mcts import MCTS
from selfreg_gym.intervention_env.interventions import privileged_names
from selfreg_gym.report.data import ReportData
from selfreg_gym.report.sections import facts


class Unclear(gym.Wrapper):
    """A coin that cannot be reseeded."""

    def get_wrapper_attr(self, name):
        if name == "reseed":
            raise AttributeError(name)
        return super().get_wrapper_attr(name)


def test_names_of_privileged_interventions():
    env = {"task": "selfreg/Coin-v0", "interventions": ["expert", "mcts", "all=mcts"]}
    assert privileged_names({**env, "intervention_kwargs": {"all": {"privileged": True}}}) == ["expert", "all"]
    assert privileged_names({**env, "task": lambda: Unclear(gym.make("selfreg/Coin-v0"))}) == ["expert", "mcts", "all"]
    assert privileged_names({"task": "selfreg/Coin-v0", "interventions": ["no such"]}) == []
    made = selfreg_gym.InterventionEnv("selfreg/Coin-v0", lambda text: "heads", [Expert(), MCTS()])
    assert privileged_names(made) == ["expert"]


def test_an_evaluation_and_its_report_mark_them():
    env = {"task": "selfreg/Coin-v0", "actor": "scripted", "interventions": ["expert", "mcts"]}
    evaluation = selfreg_gym.evaluate(
        env, {"always": Always()}, tasks=range(3), episodes=2, seed=0, progress=False, warn=False
    )
    (meta,) = evaluation.meta.values()
    assert meta["privileged"] == ["expert"]
    config = {"interventions": {"ids": ["expert", "mcts"]}, "task": {"id": "coin"}, "actor": {"id": "scripted"}}
    data = ReportData(evaluation, manifest={"config": config})
    assert data.interventions == ["expert (privileged)", "mcts"]
    assert "help from expert (privileged), mcts" in facts(data)
