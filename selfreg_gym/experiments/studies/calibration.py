"""Calibration of p(s): reliability on new tasks, and precision and recall of hard tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfreg_gym.errors import FailedEpisodesError
from selfreg_gym.evaluation import evaluation_plan
from selfreg_gym.evaluation.playing import make_env
from selfreg_gym.experiments.experiment import Cell, Experiment
from selfreg_gym.experiments.findings import Column, Findings, Plot, Published, Table
from selfreg_gym.experiments.plots import ends_of, split_title
from selfreg_gym.experiments.results import Results
from selfreg_gym.experiments.trial import Trial
from selfreg_gym.pipeline.config import RunConfig
from selfreg_gym.playing.loop import run_episodes
from selfreg_gym.prm import BagOfWords, ProcessRewardModel
from selfreg_gym.prm.hard_tasks import TaskScores, hard_tasks, per_task
from selfreg_gym.prm.reliability import calibration_table

__all__ = ["Calibration"]

THRESHOLDS = (0.3, 0.5, 0.7)
ROLLOUTS = 12
"""Rollouts of each task without help; half of them give its success rate."""

SCORED = 4
"""Rollouts of each task whose decisions are all scored; of the others, the first decision."""

MODELS = {"prm": "process reward model", "words": "bag of words", "rollouts": "success rate of other rollouts"}


class Calibration(Experiment):
    """Whether p(s) is a probability, and whether it tells hard tasks from easy ones at the first observation."""

    title = "Calibration: reliability of p(s), and hard tasks"
    question = """
The process reward model p(s) is trained on rollouts of the collected tasks. Two questions are asked on episodes
without help, in which it predicts the outcome. *Reliability*: among decisions with a predicted probability of about
p, does the share p of them end in success? *Hard tasks*: a task is hard at the threshold x if the actor alone
succeeds in less than the share x of its rollouts, and flagged if p(s) at its first observation is below x. A logistic
regression on word counts is the baseline. The success rate of a task is measured on half of its rollouts, and the
success rate of the other half, taken as a prediction, shows the best precision and recall that so few rollouts allow.
"""

    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """One cell: a process reward model of each seed."""
        return (Cell("models"),)

    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Score the decisions of new episodes without help, on every split."""
        run = trial.run("collect", "train-prm")
        model = ProcessRewardModel.from_pretrained(run.path / "prm")
        c = run.config.prm
        with trial.rollouts() as rollouts:
            words = BagOfWords.train(
                rollouts, targets=c.targets, seed=c.seed, share=c.share, max_states=c.max_states or None
            )
        found: dict[str, Any] = {"held out": _held_out(model, words)}
        for split in ends_of(trial.config):
            found[split] = self._on_split(trial, split, model, words)
        return found

    def _on_split(self, trial: Trial, split: str, model: ProcessRewardModel, words: BagOfWords) -> dict[str, Any]:
        e = trial.config.evaluate
        plan = evaluation_plan(trial.tasks(split), ROLLOUTS, seed=e.seed)
        plan = [replace(spec, help_probability=0.0) for spec in plan]
        env = make_env(trial.run().env_kwargs(split), e.num_envs)
        played = {(one.task_index, one.seed): one for one in run_episodes(env, plan)}
        if failed := [one for one in played.values() if one.error is not None]:
            raise FailedEpisodesError(
                "all episodes of an experiment must end without an error, and "
                f"{len(failed)} did not: {failed[0].error}. Remove the cause and run again."
            )
        episodes = [played[spec.task_index, spec.seed] for spec in plan]
        first = [one.steps[0].observation for one in episodes]
        scored = [one for i, one in enumerate(episodes) if i % ROLLOUTS < SCORED]  # the plan goes task by task
        texts = [step.observation for one in scored for step in one.steps]
        outcome = np.array([float(one.success) for one in scored for _ in one.steps])
        length = np.array([len(one.steps) for one in scored])
        weight = np.repeat(1.0 / length, length)  # every episode counts equally
        result: dict[str, Any] = {}
        success = np.array([float(one.success) for one in episodes])
        even = np.arange(len(episodes)) % 2 == 0  # halves of the rollouts of every task
        names = [one.task_id for one in episodes]
        predictors: tuple[tuple[str, Any], ...] = (("prm", model), ("words", words))
        for name, predictor in predictors:
            result[name] = {
                "reliability": calibration_table(predictor.score(texts), outcome, weight=weight),
                "hard": _hard(names, predictor.score(first), success, even),
            }
        task = np.unique(names, return_inverse=True)[1]
        rate = np.bincount(task[even], success[even]) / np.bincount(task[even])
        result["rollouts"] = {"hard": _hard(names, rate[task], success, even)}
        return result

    def findings(self, results: Results) -> Findings:
        """Tables of reliability and of hard tasks, and the reliability diagram."""
        splits = ends_of(results.config)
        reliability, hard = [], []
        for part in ("held out", *splits):
            title = "held-out collected tasks" if part == "held out" else split_title(results.config, part)
            for model in ("prm", "words"):
                row: dict[str, Any] = {"split": title, "model": MODELS[model]}
                for figure in ("ece", "brier", "auc", "base_rate"):
                    row[figure] = results.values("models", part, model, "reliability", figure)
                reliability.append(row)
        for split in splits:
            for x in THRESHOLDS:
                for model, name in MODELS.items():
                    row = {"split": split_title(results.config, split), "threshold": x, "model": name}
                    for figure in ("precision", "recall", "base"):
                        row[figure] = results.values("models", split, model, "hard", str(x), figure)
                    hard.append(row)
        tables = [
            Table(
                "reliability",
                "Reliability",
                (
                    Column("split", "episodes"),
                    Column("model", "model"),
                    Column("ece", "calibration error", digits=3),
                    Column("brier", "Brier score", digits=3),
                    Column("auc", "AUC", digits=3),
                    Column("base_rate", "success rate without help", "%", 0),
                ),
                reliability,
                "Every episode has the same weight, shared by its decisions. The first rows are those of the training, "
                "with a scale that is fitted on other tasks than it is measured on.",
            ),
            Table(
                "hard_tasks",
                "Hard tasks at the first observation",
                (
                    Column("split", "split"),
                    Column("threshold", "threshold", digits=1),
                    Column("model", "prediction"),
                    Column("precision", "precision", "%", 0),
                    Column("recall", "recall", "%", 0),
                    Column("base", "share of hard tasks", "%", 0),
                ),
                hard,
                "Flagging all tasks has the precision of the last column and recall 100 %.",
            ),
        ]
        return Findings(
            statements=[_statement(results, split) for split in splits],
            tables=tables,
            plots=[
                Plot("reliability", "Success rate against predicted p(s), in bins of equal mass.", _diagram(results))
            ],
            published=[
                Published(
                    "precision and recall of hard tasks",
                    "88 to 100 %",
                    _range(hard, split_title(results.config, splits[-1])),
                    "arXiv 2502.04576",
                )
            ],
            notes=[
                f"Here each evaluated task has {ROLLOUTS} rollouts without help, whatever the config says. {SCORED} of "
                "them count for reliability; the odd ones give the success rate of the task.",
            ],
        )


def _held_out(model: ProcessRewardModel, words: BagOfWords) -> dict[str, Any]:
    """The reliability on the held-out tasks of the training."""
    return {"prm": {"reliability": model.calibration()}, "words": {"reliability": words.held_out}}


def _hard(names: Sequence[str], scores: np.ndarray, success: np.ndarray, even: np.ndarray) -> dict[str, Any]:
    """Precision, recall and share of hard tasks by threshold; scores and success rates of the odd rollouts."""
    odd = np.flatnonzero(~even).tolist()
    tasks: TaskScores = per_task([names[i] for i in odd], scores[odd], success[odd], np.ones(len(odd)))
    found = {}
    for x in THRESHOLDS:
        one = hard_tasks(tasks, x)
        found[str(x)] = {"precision": one["precision"], "recall": one["recall"], "base": one["hard"] / one["tasks"]}
    return found


def _statement(results: Results, split: str) -> str:
    x = str(THRESHOLDS[1])
    auc, words = (results.values("models", split, name, "reliability", "auc").value for name in ("prm", "words"))
    ece = results.values("models", split, "prm", "reliability", "ece").value
    figures = {
        (model, figure): results.values("models", split, model, "hard", x, figure).value
        for model in MODELS
        for figure in ("precision", "recall", "base")
    }
    return (
        f"{split_title(results.config, split)}: p(s) has an AUC of {auc:.2f} (bag of words {words:.2f}) and a "
        f"calibration error of {ece:.3f}. At the threshold {x}, {100 * figures['prm', 'precision']:.0f} % of the "
        f"flagged tasks are hard, and {100 * figures['prm', 'recall']:.0f} % of the hard tasks are flagged; "
        f"{100 * figures['prm', 'base']:.0f} % of all tasks are hard. Other rollouts of the same tasks reach "
        f"{100 * figures['rollouts', 'precision']:.0f} % and {100 * figures['rollouts', 'recall']:.0f} %."
    )


def _range(rows: Sequence[Mapping[str, Any]], split: str) -> str:
    """The lowest and the highest precision and recall of the process reward model on a split."""
    own = [row for row in rows if row["split"] == split and row["model"] == MODELS["prm"]]
    texts = []
    for figure in ("precision", "recall"):
        values = [100 * row[figure].value for row in own if np.isfinite(row[figure].value)]
        texts.append(f"{figure} {min(values):.0f} to {max(values):.0f} %" if values else f"{figure} unknown")
    return f"{', '.join(texts)} ({split}, thresholds {', '.join(map(str, THRESHOLDS))})"


def _diagram(results: Results) -> Any:
    """The reliability diagram of every seed, one panel per split."""
    from selfreg_gym.report.styles import INK, PALETTE
    from selfreg_gym.report.svg import figure, style

    splits = ends_of(results.config)
    drawn, axes = figure(1, len(splits), size=(3.6 * len(splits) + 0.4, 3.4), sharey=True)
    with style():
        for axis, split in zip(axes[0], splits, strict=True):
            axis.plot([0, 1], [0, 1], color=INK["muted"][0], lw=1, ls=":")
            for number, one in enumerate(results.of("models")):
                for model, colour in (("prm", "blue"), ("words", "grey")):
                    table = one[split][model]["reliability"]
                    label = MODELS[model] if number == 0 and axis is axes[0, 0] else None
                    axis.plot(
                        table["mean"], table["rate"], color=PALETTE[colour][0], marker="o", ms=3, lw=1, label=label
                    )
            axis.set_title(split_title(results.config, split))
            axis.set_xlabel("predicted p(s)")
        axes[0, 0].set_ylabel("success rate")
        axes[0, 0].legend(loc="upper left")
    return drawn
