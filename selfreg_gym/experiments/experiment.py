"""``Experiment``: the base class of experiments, and ``Cell``: a part of an experiment, measured once per seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from selfreg_gym.pipeline.config import RunConfig

if TYPE_CHECKING:
    from selfreg_gym.experiments.findings import Findings
    from selfreg_gym.experiments.results import Results
    from selfreg_gym.experiments.trial import Trial

__all__ = ["Cell", "Experiment"]


@dataclass(frozen=True)
class Cell:
    """A part of an experiment, measured once per seed.

    Attributes:
        name: its name, different from those of the other cells.
        shared: the cell does not depend on the training seed, and is measured once, with the first seed.
        reads_others: the cell reads the runs of the other seeds, so it is measured again if their number changes.
    """

    name: str
    shared: bool = False
    reads_others: bool = False


class Experiment(ABC):
    """A question, cells that are measured for several seeds, and findings from all of them.

    A subclass sets the class attributes and defines :meth:`cells`, :meth:`measure` and :meth:`findings`. Seeds differ
    in the rollouts and in all trainings; they share the tasks, and the episodes of the evaluation.
    """

    title: ClassVar[str]
    """The heading of its page."""
    question: ClassVar[str]
    """The question and the method, in a paragraph of Markdown."""
    defaults: ClassVar[Sequence[str]] = ()
    """Changes of a preset (``section.key=value``) in both versions. They do not apply to a config file."""
    presets: ClassVar[Sequence[str]] = ()
    """Names of the built-in configs that are measured if no config is asked for; empty: only ``tiny``. The results of
    several configs are given to :meth:`overview`."""
    seeds: ClassVar[int] = 3
    """Number of training seeds if none is asked for."""
    full: ClassVar[Sequence[str]] = (
        "collect.tasks=60",
        "collect.episodes=22",
        "prm.max_states=3000",
        "helper.max_labels=6000",
        "rl.steps=20000",
        "calibrate.tasks=100",
        "calibrate.episodes=40",
        "calibrate.max_episodes=80",
        "evaluate.tasks=84",
        "evaluate.episodes=1",
    )
    """Changes of the config (``section.key=value``) for the full version, which takes about ten minutes. Experiments
    with the same changes share their runs. With three seeds a row of these sizes has 252 episodes."""
    quick: ClassVar[Sequence[str]] = (
        "collect.tasks=12",
        "collect.episodes=11",
        "collect.workers=1",
        "prm.epochs=1",
        "prm.max_states=256",
        "helper.epochs=1",
        "helper.max_labels=512",
        "helper.max_decisions=256",
        "values.folds=2",
        "values.members=1",
        "values.rounds=4",
        "values.prices=8",
        "rl.steps=2000",
        "solve.gap=0.01",
        "calibrate.tasks=12",
        "calibrate.episodes=24",
        "calibrate.max_episodes=24",
        "calibrate.workers=1",
        "evaluate.tasks=12",
        "evaluate.episodes=2",
        "evaluate.workers=1",
    )
    """Changes of the config for the quick version, which takes less than two minutes."""

    @abstractmethod
    def cells(self, config: RunConfig) -> Sequence[Cell]:
        """The cells, in the order in which they are measured."""

    @abstractmethod
    def measure(self, trial: Trial, cell: str) -> Mapping[str, Any]:
        """Measure a cell for the seed of ``trial``, and return plain JSON values.

        The value with the key ``"evaluation"``, made by :meth:`Trial.compare`, is merged into
        :attr:`Results.evaluation`.
        """

    @abstractmethod
    def findings(self, results: Results) -> Findings:
        """The findings from all cells and seeds."""

    def overview(self, results: Mapping[str, Results], unavailable: Mapping[str, str]) -> Findings:
        """The findings from several configs, of an experiment with :attr:`presets`.

        Args:
            results: those of each config, by its name.
            unavailable: the name of each config that could not be measured -> the reason, such as a missing package.
        """
        raise NotImplementedError(f"{type(self).__name__} has presets, and must define overview().")
