"""The trained helper: a language model that reads the observation and the budget, and says help or nohelp."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._arguments import checked_costs
from selfreg_gym.agents.helpers._choice import best_action, check_costs, knob_range
from selfreg_gym.agents.helpers._labelled import gather_pages, split_by_task
from selfreg_gym.agents.helpers._lm_record import FILE, FORMAT, check_answers, read_helper
from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.intervention_env.building import check_budget
from selfreg_gym.utils.json_text import dumps
from selfreg_gym.utils.random_streams import LABEL_EXAMPLES, stream

if TYPE_CHECKING:
    from selfreg_gym.lm.choice_training import ChoiceExample
    from selfreg_gym.types import Intervention

__all__ = ["LMHelper"]


class LMHelper(Helper):
    """Chooses between the answers "nohelp", "help", "help2", ... by their logits and by what each intervention costs.

    The action is ``argmax over k of logit_k - logit_0 + offset * cost_k``, with 0 for nohelp. The prompt is the
    observation, then ``Budget 1.00. Help?``; one model serves every budget. It is trained on labels
    (:func:`selfreg_gym.labels.label`), each with its weight.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer.
        answers: token ids of the K + 1 answers, nohelp first.
        budget: cost units of help per episode that it is asked to spend; :meth:`with_budget` changes it.
        offset: logits added per cost unit of an intervention; the knob that calibration turns.
        costs: ``(K,)`` cost units of a call of each intervention; None: unknown (helpers saved by earlier versions),
            and every intervention counts as one cost unit.
        info: what is known about its training.
        memo: how many (observation, budget) are remembered.

    Raises:
        InvalidArgumentError: the budget is negative, or there are fewer than two different answers.
    """

    label, marker, colour = "LM helper", "o", "blue"
    takes_budget = True
    knob_bounds = (-20.0, 20.0)  # in logits per cost unit, where one intervention costs 1
    knob_step = 0.5  # half a logit changes usage considerably

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
    ) -> LMHelper:
        """Supervised fine-tuning on labels of all budgets at once.

        Args:
            labels: objects with ``observation, budget, action, weight``.
            backbone: a directory with a checkpoint, the id of an actor that has one, or "auto": the first trunk that
                can read the labels' observations (the actor's, then that of the shipped actor), otherwise a small Llama
                built from them (:mod:`selfreg_gym.lm.backbone`).
            actor: for "auto", the actor's checkpoint.
            seed: of the sample and the order of training.
            epochs: passes over the sample; for a built backbone up to 8, where fewer are less than 1,000 steps.
            lora: False trains every weight; True or a rank puts adapters on all linear layers and merges them. A built
                backbone has random weights, so every weight is trained whatever ``lora`` is.
            lr: default 5e-4, with LoRA 3e-3, for a built backbone 1e-3.
            batch_size, accumulate: observations per forward (each with all its budgets), forwards per step.
            max_labels: about so many (observation, budget) are trained on, at most as many as there are labels.
                Observations are drawn in proportion to the weight of their labels, all budgets of an observation at
                once; one that many labels have is drawn many times. None: as many as there are labels.
            help_weight: factor on the weight of labels that say help.
            interventions: K; default: the number of costs, or the largest action among the labels, at least 1.
            costs: ``(K,)`` cost units of a call of each intervention. They are saved with the helper, weigh its offset,
                and must be those of the env that it plays in. None: unknown, and each call counts as one cost unit.
            augment: rewrites an observation without changing its meaning (``TextTask.augment``). Each drawn observation
                is rewritten, so that a helper trained on few places does not memorise them.
            features: the feature key of observations, where it is known. Predicting it is an auxiliary task (our
                extension): it takes fewer examples to learn than the choice does.
            patience: hold out the labels of a ``share`` of the tasks and stop after so many validations on them
                without improvement; the best weights are kept. None: train on all labels to the end. If all held-out
                labels have weight 0, validation is impossible: it warns and trains to the end.
            share: share of the tasks that are held out if ``patience`` is given.
            dtype, device: of the model, in training and afterwards.
            resume: directory for the state of an unfinished training.
            progress: show a progress bar.

        Raises:
            InvalidArgumentError: there are no labels, actions beyond K, or a named backbone to which more than 5 % of
                the tokens are unknown.
            UnknownNameError, CheckpointError: the backbone is not a checkpoint.
        """
        from selfreg_gym.lm.backbone import AUTO, backbone_path, opened_backbone
        from selfreg_gym.lm.choice_training import train_choice
        from selfreg_gym.lm.loading import load_causal, load_tokenizer
        from selfreg_gym.lm.prompts import helper_prompt
        from selfreg_gym.lm.small_llama import LEARNING_RATE, steps_from_scratch
        from selfreg_gym.lm.subsampling import resample
        from selfreg_gym.lm.training import add_lora, early_stopping, merge_lora

        if str(backbone) != AUTO:
            backbone_path(backbone)  # a wrong name is found before the labels are read
        rows = list(labels)
        interventions = interventions or len(costs or ()) or max([1, *(int(row.action) for row in rows)])
        if costs is not None:
            costs = checked_costs(costs, interventions)
        rows, held = split_by_task(rows, share=share, seed=seed) if patience is not None else (rows, [])
        pages = gather_pages(rows, interventions=interventions, help_weight=help_weight)
        if not pages:
            raise InvalidArgumentError("labels must have weights, not all 0.")
        texts = [page.observation for page in pages]
        budgets = sorted({budget for page in pages for budget in page.budgets})
        asked = [helper_prompt("", budget) for budget in budgets]
        if len(set(asked)) < len(asked):
            raise InvalidArgumentError(
                f"the budgets of a helper must differ when written with two decimals, received {budgets}: choose "
                "others, or count cost units in a smaller unit (costs and budgets times 100)."
            )
        with opened_backbone(backbone, texts, prompts=asked, actor=actor, seed=seed) as start:
            tokenizer = load_tokenizer(start.path)
            answers = _answer_tokens(tokenizer, interventions)
            model = load_causal(start.path, dtype=dtype, device=device)
            origin = start.record()
        lora = 0 if start.built else lora
        total = np.asarray([page.wanted.sum() for page in pages])
        count = sum(len(page.budgets) for page in pages)
        # Equal labels are one entry of `pages`, drawn in proportion to their number.
        wanted = len(rows) if max_labels is None else min(max_labels, len(rows))
        size = max(1, round(len(pages) * wanted / count))
        rng = stream(LABEL_EXAMPLES, seed)
        names = sorted(set((features or {}).values()))
        number = {name: i for i, name in enumerate(names)}
        topics = {text: number[name] for text, name in (features or {}).items()}
        told: dict[str, Any] = {"tokenizer": tokenizer, "topics": topics, "augment": augment, "rng": rng}
        chosen = [pages[i].questions(**told) for i in resample(total, size, rng)]
        aside: list[ChoiceExample] = []
        judged = gather_pages(held, interventions=interventions, help_weight=help_weight) if held else []
        if held and not judged:
            warnings.warn(
                "the held-out labels all have weight 0, so the helper is trained to the end: "
                "keep more tasks aside (share), or draw others (seed).",
                RuntimeWarning,
                stacklevel=2,
            )
        if judged:
            mass = np.asarray([page.wanted.sum() for page in judged])
            sample = resample(mass, min(len(judged), max(256, size // 20)), rng)
            aside = [judged[i].questions(**{**told, "augment": None}) for i in sample]

        if lora:
            model = add_lora(model, task="CAUSAL_LM", rank=8 if lora is True else int(lora), seed=seed)
        least = None
        if start.built:
            least = steps_from_scratch(len(chosen), epochs=epochs, batch_size=batch_size, accumulate=accumulate)
        log = train_choice(
            model,
            tokenizer,
            chosen,
            answers,
            held_out=aside,
            topics=len(names),
            patience=patience,
            seed=seed,
            lr=lr or (LEARNING_RATE if start.built else 3e-3 if lora else 5e-4),
            epochs=epochs,
            steps=least,
            batch_size=batch_size,
            accumulate=accumulate,
            resume=resume,
            progress=progress,
            description="helper",
        )
        merged = merge_lora(model) if lora else model
        data = dict(getattr(labels, "info", {}))
        if "source" in data:
            data["source"] = Path(data["source"]).name  # without the folders of this machine
        info = {
            **origin,
            "data": data or None,
            "seed": seed,
            "epochs": epochs,
            "lora": int(lora),
            "augmented": augment is not None,
            "features": len(names),
            "labels": len(rows),
            "trained_on": sum(len(page.prompts) for page in chosen),
            "budgets": sorted({round(float(row.budget), 4) for row in rows}),
            "help_share": float(np.mean([row.action > 0 for row in rows])),
            "steps": log.steps,
            "loss": [round(value, 4) for value in log.loss],
            "seconds": round(log.seconds, 1),
            "dtype": str(merged.dtype).removeprefix("torch."),
            "device": str(device),
        }
        if patience is not None and log.validation:
            info["early_stopping"] = early_stopping(log, patience=patience)
        return cls(merged.eval(), tokenizer, answers=answers, costs=costs, info=info)

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> LMHelper:
        """The helper that a run has trained, at this budget."""
        helper = cls.from_pretrained(Path(run) / "helper")
        return helper if budget is None else helper.with_budget(budget)

    def with_budget(self, budget: float) -> LMHelper:
        """The same model asked to spend ``budget`` cost units per episode; the offset is that of training, 0."""
        return self._replaced(budget=check_budget(budget), offset=0.0)

    def for_budgets(self, budgets: Sequence[float]) -> dict[float, LMHelper]:
        """The same model at several budgets that are compared: a page is read once for all of them."""
        helpers = {budget: self.with_budget(budget) for budget in budgets}
        for helper in helpers.values():
            helper._budgets = tuple(sorted(helper.budget for helper in helpers.values()))
        return helpers

    def with_offset(self, offset: float) -> LMHelper:
        """The same model with another offset (logits per cost unit); usage does not fall when it rises."""
        return self._replaced(offset=float(offset))

    @property
    def knob(self) -> float:
        """The offset, in logits per cost unit."""
        return self.offset

    @property
    def offset_weights(self) -> tuple[float, ...]:
        """``(K,)`` by how much each help answer's logit moves per unit of the offset: the costs, or 1 where unknown."""
        return (1.0,) * (len(self.answers) - 1) if self.costs is None else self.costs

    def for_interventions(self, interventions: Sequence[Intervention]) -> LMHelper:
        """Return itself, if these are as many interventions at the same costs as in its training.

        Raises:
            InvalidArgumentError: their number or their costs differ.
        """
        check_costs(self, len(self.answers) - 1, self.costs, interventions)
        return self

    def with_knob(self, x: float) -> LMHelper:
        """As :meth:`with_offset`."""
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
        """Write weights (safetensors), tokenizer, model card and, last, ``helper.json``: now the folder is complete."""
        from selfreg_gym.agents.helpers._lm_sharing import write_card_of
        from selfreg_gym.utils.files import set_default_modes

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).unlink(missing_ok=True)
        self.model.save_pretrained(folder)
        set_default_modes(*folder.glob("*.safetensors"))
        self.tokenizer.save_pretrained(folder)
        write_card_of(self, folder)
        record = {
            "format": FORMAT,
            "answers": list(self.answers),
            "budget": self.budget,
            "offset": self.offset,
            "costs": None if self.costs is None else list(self.costs),
            "info": self.info,
        }
        (folder / FILE).write_text(dumps(record, indent=1), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: str | None = None, device: str | None = None, memo: int = 50_000
    ) -> LMHelper:
        """Load what :meth:`save_pretrained` wrote.

        Args:
            dtype, device: None: those it was trained with (the CPU where that device does not exist).
            memo: how many (observation, budget) are remembered.

        Raises:
            CheckpointError: the directory holds no helper, an unfinished one, another format, or weights that are
                missing, unknown, of another shape or not finite.
        """
        from selfreg_gym.lm.loading import load_causal, load_tokenizer, trained_with

        folder = Path(path)
        known = read_helper(folder)
        dtype, device = trained_with(known["info"], dtype=dtype, device=device)
        model = load_causal(folder, dtype=dtype, device=device)
        check_answers(folder, known["answers"], model)
        return cls(model, load_tokenizer(folder), memo=memo, **known)

    def export_decision(self, path: str | Path, *, budget: float | None = None) -> None:
        """Write a ``transformers.decision`` repository that decides alike (:mod:`selfreg_gym.lm.decision_export`).

        The question is of type ``choice`` between "nohelp", "help", "help2", ...; with one intervention also ``noul``
        (yes or no; ``noul`` of the answer is P(help)). Instructions such as ``Budget 2.00. Help?`` ask at that budget,
        with the same offset; any others are left aside::

            pipe = transformers.pipeline("decision", model=path)
            pipe({"state": observation, "questions": {"help": {"type": "noul"}}})["help"]["noul"]

        Args:
            path: where to.
            budget: the budget that is asked at unless the instructions name one; None is this helper's own.

        Raises:
            InvalidArgumentError: a negative budget, or a transformers without decision models.
            CheckpointError: the answers would not be this helper's.
        """
        from selfreg_gym.agents.helpers._lm_sharing import export_decision

        export_decision(self, path, budget=budget)

    def __repr__(self) -> str:
        return f"LMHelper(budget={self.budget:g}, offset={self.offset:g}, costs={self.offset_weights})"


def _reader(model: Any, tokenizer: Any, answers: Sequence[int], memo: int) -> Any:
    from selfreg_gym.lm.readers import PromptGroupReader

    return PromptGroupReader(model, tokenizer, answers, memo=memo)


def _answer_tokens(tokenizer: Any, interventions: int) -> list[int]:
    """First tokens of the answers in words; of digits where a tokenizer cannot tell the words apart by one token."""
    from selfreg_gym.lm.tokenizer import PromptEncoder

    encoder = PromptEncoder(tokenizer)
    words = ["nohelp", "help", *(f"help{k}" for k in range(2, interventions + 1))]
    for answers in (words, [str(k) for k in range(interventions + 1)]):
        tokens = [encoder.continuation(f" {answer}", after="?") for answer in answers]
        first = [row[0] for row in tokens if row and row[0] != tokenizer.unk_token_id]
        if len(set(first)) == interventions + 1:
            return first
    raise InvalidArgumentError(f"this tokenizer has no {interventions + 1} different tokens for a helper's answers.")
