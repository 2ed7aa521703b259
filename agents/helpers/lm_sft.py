"""The published helper: supervised fine-tuning of a language model on labels; it answers help or nohelp."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._choice import best_action, check_costs, knob_range
from selfreg_gym.agents.helpers._saved import saved_format
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.model_record import INFO, NUMBER, ModelRecord, Rule

if TYPE_CHECKING:
    from selfreg_gym.types import Intervention

__all__ = ["LMSFTHelper"]

_RECORD = ModelRecord(
    "a helper",
    "helper.json",
    "selfreg-helper-2",
    {
        "answers": Rule(
            "at least 2 different token ids",
            lambda ids, _: (
                isinstance(ids, list)
                and all(type(token) is int and token >= 0 for token in ids)
                and len(set(ids)) == len(ids) > 1
            ),
        ),
        "budget": Rule("a number of at least 0", lambda budget, _: is_number(budget) and budget >= 0),
        "offset": NUMBER,
        "costs": Rule(
            "null, or a number for each help answer",
            lambda costs, fields: (
                costs is None
                or (isinstance(costs, list) and len(costs) == len(fields["answers"]) - 1 and all(map(is_number, costs)))
            ),
        ),
        "info": INFO,
    },
    older={"selfreg-helper-1": {"costs": None}},
)


class LMSFTHelper(Helper):
    """Chooses between the answers "nohelp", "help", "help2", ... by their logits and the costs of the interventions.

    The action is ``argmax over k of logit_k - logit_0 + offset * cost_k``, with 0 for nohelp. The prompt is the
    observation, then ``Budget 1.00. Help?``; one model serves every budget. It is trained on labels
    (:func:`selfreg_gym.labels.label`), each with its weight.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        answers: token ids of the K + 1 answers, nohelp first.
        budget: C in its prompt, cost units of help per episode; :meth:`with_budget` changes it.
        offset: logits added per cost unit of an intervention; the knob.
        costs: ``(K,)`` cost units of a call of each intervention; None: unknown (helpers saved by earlier versions),
            and every intervention counts as one cost unit.
        info: facts about its training, for the model card.
        memo: number of (observation, budget) whose logits are kept in memory.

    Raises:
        InvalidArgumentError: the budget is negative, or there are fewer than two different answers.
    """

    label, marker, colour, minor = "LM helper, SFT on labels", "s", "blue", True
    takes_budget = True
    knob_bounds = (-20.0, 20.0)  # in logits per cost unit, where one intervention costs 1
    knob_step = 0.5

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        answers: Sequence[int],
        budget: float = 1.0,
        offset: float = 0.0,
        costs: Sequence[float] | None = None,
        info: dict[str, Any] | None = None,
        memo: int = 50_000,
    ) -> None:
        if len(set(answers)) < 2 or len(set(answers)) != len(answers):
            raise InvalidArgumentError(
                f"a helper needs at least 2 different answer tokens, received {list(answers)!r}."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.answers = tuple(int(token) for token in answers)
        self.budget = check_budget(budget)
        self.offset = float(offset)
        self.costs = None if costs is None else checked_costs(costs, len(self.answers) - 1)
        self.knob_bounds, self.knob_step = knob_range(type(self).knob_bounds, type(self).knob_step, self.offset_weights)
        self.info: dict[str, Any] = dict(info or {})
        self._budgets: tuple[float, ...] = ()  # read along with this helper's own
        self._reader = _reader(model, tokenizer, self.answers, memo)

    @classmethod
    def train(
        cls,
        labels: Iterable[Any],
        *,
        backbone: str | Path = "auto",
        actor: str | Path | None = None,
        seed: int = 0,
        epochs: float = 1.0,
        lora: int | bool = False,
        lr: float | None = None,
        batch_size: int = 8,
        accumulate: int = 1,
        max_labels: int | None = 20_000,
        help_weight: float = 1.0,
        interventions: int | None = None,
        costs: Sequence[float] | None = None,
        augment: Callable[[str, np.random.Generator], str] | None = None,
        features: Mapping[str, str] | None = None,
        patience: int | None = None,
        share: float = 0.1,
        dtype: str = "float32",
        device: str = "cpu",
        resume: str | Path | None = None,
        progress: bool = True,
    ) -> LMSFTHelper:
        """Supervised fine-tuning on labels of all budgets at once.

        Args:
            labels: objects with ``observation, budget, action, weight``.
            backbone: a directory with a checkpoint, the id of an actor that has one, or "auto": the first one that
                can read the labels' observations (the actor's, then that of the shipped actor), otherwise a small Llama
                built from them (:mod:`selfreg_gym.lm.backbone`).
            actor: for "auto", the actor's checkpoint.
            seed: seed of the sample and of the order of training.
            epochs, lora, dtype, device, resume, progress: as for :meth:`selfreg_gym.LMHelper.train`.
            lr: default 5e-4, with LoRA 3e-3, for a built backbone 1e-3.
            batch_size, accumulate: observations (with all budgets) per forward pass, forward passes per step.
            max_labels: approximate number of drawn (observation, budget) pairs, at most the number of labels.
                Observations are drawn with replacement in proportion to the weight of their labels, each with all its
                budgets. None: the number of labels.
            help_weight: factor on the weight of labels whose action is help.
            interventions: K; default: the number of costs, or the largest action among the labels, at least 1.
            costs: ``(K,)`` cost units of a call of each intervention. They are saved with the helper, weight its
                offset, and must be those of the env that it plays in. None: unknown; each call is one cost unit.
            augment: rewrites an observation without changing its meaning (``augment`` of a task), to reduce
                overfitting. It is applied to each drawn observation.
            features: the feature key of observations, if known. Predicting it is an auxiliary task (our extension) that
                needs fewer examples than the choice.
            patience: hold out the labels of a ``share`` of the tasks, and stop after this many validations on them
                without improvement; the best weights are kept. None: train on all labels to the end. If all held-out
                labels have weight 0, validation is impossible: it warns and trains to the end.
            share: share of the tasks that are held out if ``patience`` is given.

        Raises:
            InvalidArgumentError: there are no labels, actions beyond K, or a named backbone with more than 5 %
                unknown tokens.
            UnknownNameError, CheckpointError: the backbone is not a checkpoint.
        """
        from selfreg_gym.agents.helpers._lm_sft_training import train_on_labels
        from selfreg_gym.lm.finetuning_settings import FinetuningSettings

        parts = train_on_labels(
            labels,
            max_labels=max_labels,
            help_weight=help_weight,
            interventions=interventions,
            costs=costs,
            augment=augment,
            features=features,
            settings=FinetuningSettings(
                backbone=backbone,
                actor=actor,
                seed=seed,
                epochs=epochs,
                lora=lora,
                lr=lr,
                batch_size=batch_size,
                accumulate=accumulate,
                share=share,
                patience=patience,
                dtype=dtype,
                device=device,
                resume=resume,
                progress=progress,
            ),
        )
        return cls(**parts)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether the helper of the run is one with answer tokens."""
        return saved_format(Path(run) / "helper" / _RECORD.file) in (_RECORD.format, *_RECORD.older)

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> LMSFTHelper:
        """The trained helper of a run, at this budget."""
        helper = cls.from_pretrained(Path(run) / "helper")
        return helper if budget is None else helper.with_budget(budget)

    def with_budget(self, budget: float) -> LMSFTHelper:
        """The same model with another budget in its prompt (cost units per episode), and offset 0 as in training."""
        return self._replaced(budget=check_budget(budget), offset=0.0)

    def for_budgets(self, budgets: Sequence[float]) -> dict[float, LMSFTHelper]:
        """The same model at several budgets; each observation is read once for all of them."""
        helpers = {budget: self.with_budget(budget) for budget in budgets}
        for helper in helpers.values():
            helper._budgets = tuple(sorted(helper.budget for helper in helpers.values()))
        return helpers

    def with_offset(self, offset: float) -> LMSFTHelper:
        """The same model with another offset (logits per cost unit)."""
        return self._replaced(offset=float(offset))

    @property
    def knob(self) -> float:
        """The offset, in logits per cost unit."""
        return self.offset

    @property
    def offset_weights(self) -> tuple[float, ...]:
        """``(K,)`` change of each help answer's logit per unit of the offset: the costs, or 1 if they are unknown."""
        return (1.0,) * (len(self.answers) - 1) if self.costs is None else self.costs

    def for_interventions(self, interventions: Sequence[Intervention]) -> LMSFTHelper:
        """The helper itself, if number and costs of the interventions are those of its training.

        Raises:
            InvalidArgumentError: their number or their costs differ.
        """
        check_costs(self, len(self.answers) - 1, self.costs, interventions)
        return self

    def with_knob(self, x: float) -> LMSFTHelper:
        """The same model with another offset, in logits per cost unit: :meth:`with_offset`."""
        return self.with_offset(x)

    def logits(self, observations: Sequence[str]) -> np.ndarray:
        """Logit of each help answer minus that of nohelp, without offset, ``(N, K)`` float64."""
        from selfreg_gym.lm.prompts import helper_prompt

        if len(observations) == 0:
            return np.zeros((0, len(self.answers) - 1))
        budgets = sorted({*self._budgets, self.budget})
        asked = [[helper_prompt(text, budget, tokenizer=self.tokenizer) for budget in budgets] for text in observations]
        values = self._reader.read(asked)[:, budgets.index(self.budget)]
        return values[:, 1:] - values[:, :1]

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Take the best action for each text; ties are nohelp."""
        return best_action(self.logits(observations), self.offset, self.offset_weights), state

    def save_pretrained(self, path: str | Path) -> None:
        """Write weights (safetensors), tokenizer, model card and, last, ``helper.json``, which marks it as complete."""
        from selfreg_gym.agents.helpers._lm_export import write_model_card
        from selfreg_gym.utils.files import set_default_modes

        folder = _RECORD.begin(path)
        self.model.save_pretrained(folder)
        set_default_modes(*folder.glob("*.safetensors"))
        self.tokenizer.save_pretrained(folder)
        write_model_card(self, folder)
        costs = None if self.costs is None else list(self.costs)
        _RECORD.write(
            folder, answers=list(self.answers), budget=self.budget, offset=self.offset, costs=costs, info=self.info
        )

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: str | None = None, device: str | None = None, memo: int = 50_000
    ) -> LMSFTHelper:
        """Load what :meth:`save_pretrained` wrote.

        Args:
            path: the folder.
            dtype, device: None: those of its training (the CPU if that device does not exist).
            memo: number of (observation, budget) whose logits are kept in memory.

        Raises:
            CheckpointError: the directory has no complete helper, another format, or weights that are missing, unknown,
                of another shape or not finite.
        """
        from selfreg_gym.lm.loading import load_causal, load_tokenizer, trained_with

        _, fields = _RECORD.read(path)
        dtype, device = trained_with(fields["info"], dtype=dtype, device=device)
        model = load_causal(path, dtype=dtype, device=device)
        outputs = model.get_output_embeddings().weight.shape[0]
        if max(fields["answers"]) >= outputs:
            raise CheckpointError(
                f"'answers' in {str(Path(path) / _RECORD.file)!r} must be below {outputs}, the size of the model's "
                f"output layer, received {fields['answers']!r}: the record belongs to another model."
            )
        return cls(model, load_tokenizer(path), memo=memo, **fields)

    def export_decision(self, path: str | Path, *, budget: float | None = None) -> None:
        """Write a ``transformers.decision`` repository with the same decisions (:mod:`selfreg_gym.lm.decision_export`).

        The question is of type ``choice`` between "nohelp", "help", "help2", ...; with one intervention also ``noul``
        (yes or no; ``noul`` of the answer is P(help)). Instructions such as ``Budget 2.00. Help?`` set the budget, with
        the same offset; all others are ignored::

            pipe = transformers.pipeline("decision", model=path)
            pipe({"state": observation, "questions": {"help": {"type": "noul"}}})["help"]["noul"]

        Args:
            path: the directory.
            budget: the budget if the instructions name none; None is this helper's own.

        Raises:
            InvalidArgumentError: a negative budget, or the installed transformers has no decision models.
            CheckpointError: the exported model gives other answers.
        """
        from selfreg_gym.agents.helpers._lm_export import export_decision

        export_decision(self, path, budget=budget)

    def __repr__(self) -> str:
        return f"LMSFTHelper(budget={self.budget:g}, offset={self.offset:g}, costs={self.offset_weights})"


def _reader(model: Any, tokenizer: Any, answers: Sequence[int], memo: int) -> Any:
    from selfreg_gym.lm.readers import PromptGroupReader

    return PromptGroupReader(model, tokenizer, answers, memo=memo)
