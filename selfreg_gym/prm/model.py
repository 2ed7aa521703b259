"""``ProcessRewardModel``: p(s) read off a language model's trunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.lm.backbone import AUTO, backbone_path, opened_backbone, trunk_of_spec
from selfreg_gym.lm.batching import pad_right
from selfreg_gym.lm.limits import match_tokenizer
from selfreg_gym.lm.loading import load_classifier, load_tokenizer, trained_with
from selfreg_gym.lm.prompts import success_prompt
from selfreg_gym.lm.readers import TextReader, classifier_logits
from selfreg_gym.lm.small_llama import LEARNING_RATE, steps_from_scratch
from selfreg_gym.lm.subsampling import subsample
from selfreg_gym.lm.tokenizer import PromptEncoder
from selfreg_gym.lm.training import (
    TrainingLog,
    add_lora,
    early_stopping,
    finetune,
    held_out_loss,
    merge_lora,
    seeded,
)
from selfreg_gym.prm.hard_tasks import hard_tasks, per_task
from selfreg_gym.prm.reliability import auc, calibration_table, platt, sigmoid
from selfreg_gym.prm.targets import CLIP, Examples, gather, split_tasks
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.files import set_default_modes
from selfreg_gym.utils.json_text import dumps, read_object
from selfreg_gym.utils.random_streams import PRM_EXAMPLES, stream

__all__ = ["ProcessRewardModel"]

_FILE = "prm.json"
_FORMAT = "selfreg-prm-1"


class ProcessRewardModel:
    """P(success | observation) under a named continuation policy.

    A sequence classifier with one logit on the actor's trunk; the logit is scaled by two numbers (Platt) fitted on
    tasks that the weights never saw.

    Args:
        model: a transformers sequence classifier with one logit, in eval mode.
        tokenizer: its tokenizer.
        scale: ``(a, b)``; the probability is sigmoid(a * logit + b).
        info: what is known about it: targets, seed, backbone, held-out calibration.
        memo: how many scored observations are remembered.

    Attributes:
        source: the directory that it was loaded from, or None.
    """

    source: Path | None = None

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        scale: tuple[float, float] = (1.0, 0.0),
        info: dict[str, Any] | None = None,
        memo: int = 50_000,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.scale = (float(scale[0]), float(scale[1]))
        self.info: dict[str, Any] = dict(info or {})
        self._reader = TextReader(model, tokenizer, classifier_logits, memo=memo)

    @classmethod
    def train(
        cls,
        rollouts: Any,
        *,
        backbone: str | Path = AUTO,
        actor: str | Path | None = None,
        targets: str = "nohelp",
        seed: int = 0,
        epochs: float = 2.0,
        lora: int | None = 8,
        lr: float | None = None,
        batch_size: int = 16,
        accumulate: int = 1,
        max_states: int | None = 6000,
        share: float = 0.2,
        clip: float = CLIP,
        patience: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        resume: str | Path | None = None,
        progress: bool = True,
    ) -> ProcessRewardModel:
        """Train on stored episodes.

        Args:
            rollouts: a ``Rollouts`` store or an iterable of episodes.
            backbone: a directory with a checkpoint, the id of an actor that has one, or "auto": the first trunk that
                can read the observations (the actor's, then that of the shipped actor), otherwise a small Llama
                built from them (:mod:`selfreg_gym.lm.backbone`).
            actor: for "auto", the actor's checkpoint; default: that of the actor which the store names.
            targets: "nohelp" (outcome after help stops) or "mixture" (outcome of everything).
            seed: of the split by task, the sample, the new head and the order of training.
            epochs: passes over the sample; for a built backbone up to 8, where fewer are less than 1,000 steps.
            lora: adapter rank on all linear layers, merged after training; None trains every weight. A built backbone
                has random weights, so every weight is trained whatever ``lora`` is.
            lr: default 1e-3 for LoRA, 5e-4 without, 1e-3 for a built backbone.
            batch_size, accumulate: examples per forward, forwards per step.
            max_states: decisions trained on, drawn in proportion to their weight; None takes all.
            share: share of the tasks that are held out for calibration.
            clip: largest inverse-probability weight (:mod:`selfreg_gym.prm.targets`).
            patience: stop after so many validations on the held-out tasks without improvement; the best weights are
                kept. None: train to the end.
            dtype, device: of the model, in training and afterwards.
            resume: directory for the state of an unfinished training.
            progress: show a progress bar.

        Raises:
            UnknownNameError, InvalidArgumentError: bad names, too few tasks, no decision for the target, or a named
                backbone to which more than 5 % of the observations' tokens are unknown.
            CheckpointError: the backbone is not a checkpoint.
        """
        if str(backbone) != AUTO:
            backbone_path(backbone)  # a wrong name is found before the rollouts are read
        examples = gather(rollouts, targets=targets, clip=clip)
        aside = split_tasks(examples.task, share=share, seed=seed)
        rng = stream(PRM_EXAMPLES, seed)
        inside = np.flatnonzero(~aside)
        chosen, weight = subsample(examples.weight[inside], max_states, rng)
        fit = examples.take(inside[chosen], weight=weight)
        judge = _judged(examples, aside, targets=targets, limit=max_states, rng=rng)

        trunk = actor if actor is not None else trunk_of_spec(getattr(rollouts, "spec", None))
        with opened_backbone(backbone, examples.observations, actor=trunk, seed=seed) as start:
            with seeded(seed):  # the new head is drawn here
                base = load_classifier(start.path, dtype=dtype, device=device)
            tokenizer = load_tokenizer(start.path)
            origin = start.record()
        lora = None if start.built else lora
        model = base if lora is None else add_lora(base, task="SEQ_CLS", rank=lora, seed=seed)
        least = None
        if start.built:
            least = steps_from_scratch(len(fit), epochs=epochs, batch_size=batch_size, accumulate=accumulate)
        log = _fit(
            model,
            tokenizer,
            fit,
            validation=_part(judge, max(256, len(fit) // 20), rng) if patience is not None else None,
            seed=seed,
            lr=lr or (LEARNING_RATE if start.built else 5e-4 if lora is None else 1e-3),
            epochs=epochs,
            steps=least,
            batch_size=batch_size,
            accumulate=accumulate,
            patience=patience,
            resume=resume,
            progress=progress,
        )
        merged = model if lora is None else merge_lora(model)
        prm = cls(merged.eval(), tokenizer)
        logit = prm.logits(judge.observations)
        prm.scale = platt(logit, judge.outcome, weight=judge.weight)
        cross = _cross_fit(logit, judge, seed=seed)
        prm.info = {
            "targets": targets,
            "seed": seed,
            **origin,
            "data": _told(rollouts),
            "epochs": epochs,
            "lora": lora,
            "states": len(fit),
            "steps": log.steps,
            "loss": [round(value, 4) for value in log.loss],
            "seconds": round(log.seconds, 1),
            "calibration_tasks": sorted(set(examples.task[aside])),
            "held_out": {
                **calibration_table(cross(judge, logit), judge.outcome, weight=judge.weight),
                # The saved model has one scale, which changes no order; two scales, one for each half of the tasks, do.
                "auc": auc(logit, judge.outcome, judge.weight),
            },
            "dtype": str(merged.dtype).removeprefix("torch."),
            "device": str(device),
        }
        tasks = _held_out_tasks(prm, examples.take(np.flatnonzero(aside)), cross)
        if tasks is not None:
            prm.info["held_out_tasks"] = tasks
            prm.info["hard_tasks"] = hard_tasks(tasks, 0.5)
        if patience is not None:
            prm.info["early_stopping"] = early_stopping(log, patience=patience)
        return prm

    def logits(self, observations: Sequence[str]) -> np.ndarray:
        """The unscaled logits of N observations, ``(N,)`` float64."""
        if len(observations) == 0:
            return np.zeros(0)
        return self._reader.read([success_prompt(text, tokenizer=self.tokenizer) for text in observations])[:, 0]

    def score(self, observations: Sequence[str] | str) -> np.ndarray:
        """P(success) of N observations, ``(N,)`` float64 in [0, 1]; a single text gives ``(1,)``."""
        texts = [observations] if isinstance(observations, str) else list(observations)
        return sigmoid(self.scale[0] * self.logits(texts) + self.scale[1])

    def calibration(self, rollouts: Any = None, *, targets: str | None = None, bins: int = 10) -> dict[str, Any]:
        """Say how far the probabilities can be trusted (:func:`selfreg_gym.prm.reliability.calibration_table`).

        Args:
            rollouts: a store or episodes (the moments of ``targets``, weighted as in training), or a pair
                ``(observations, outcomes)``. None: what was measured in training on the held-out tasks, on episodes
                without help, with the scale fitted on the other half of these tasks.
            targets: default those the model was trained on.
            bins: bins of equal mass.
        """
        if rollouts is None:
            if "held_out" not in self.info:
                raise InvalidArgumentError("this model has no held-out figures: pass rollouts, or (texts, outcomes).")
            return self.info["held_out"]
        if isinstance(rollouts, tuple):
            observations, outcome = rollouts
            return calibration_table(self.score(observations), outcome, bins=bins)
        examples = gather(rollouts, targets=targets or self.info.get("targets", "nohelp"))
        return calibration_table(self.score(examples.observations), examples.outcome, weight=examples.weight, bins=bins)

    def save_pretrained(self, path: str | Path) -> None:
        """Write weights (safetensors), tokenizer, model card and, last, ``prm.json``: now the folder is complete."""
        from selfreg_gym.prm.export import write_card_of

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).unlink(missing_ok=True)
        self.model.save_pretrained(folder)
        set_default_modes(*folder.glob("*.safetensors"))
        self.tokenizer.save_pretrained(folder)
        write_card_of(self, folder)
        record = {"format": _FORMAT, "scale": list(self.scale), "info": self.info}
        (folder / _FILE).write_text(dumps(record, indent=1), encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: str | None = None, device: str | None = None, memo: int = 50_000
    ) -> ProcessRewardModel:
        """Load what :meth:`save_pretrained` wrote.

        Args:
            dtype, device: None: those it was trained with (the CPU where that device does not exist).
            memo: how many scored observations are remembered.

        Raises:
            CheckpointError: the directory holds no process reward model, an unfinished one, another format, or weights
                that are missing, unknown, of another shape or not finite.
        """
        file = Path(path) / _FILE
        if not file.is_file():
            raise CheckpointError(
                f"a process reward model is a directory with {_FILE} (as save_pretrained writes it), "
                f"received {str(path)!r}, which has none."
            )
        record = read_object(
            file,
            what="the record of a process reward model",
            keys=("format",),
            remedy="copy the directory again, or train again",
        )
        form, scale, info = record.get("format"), record.get("scale"), record.get("info")
        if form != _FORMAT:
            raise CheckpointError(
                f"{str(file)!r} has the format {form!r}, this version reads {_FORMAT!r}: train again."
            )
        if not isinstance(scale, list) or len(scale) != 2 or not all(map(is_number, scale)):
            raise CheckpointError(f"'scale' in {str(file)!r} must be two numbers, received {scale!r}: train again.")
        if not isinstance(info, dict):
            raise CheckpointError(f"'info' in {str(file)!r} must be an object, received {info!r}: train again.")
        dtype, device = trained_with(info, dtype=dtype, device=device)
        model = load_classifier(path, dtype=dtype, device=device, trained=True)
        loaded = cls(model, load_tokenizer(path), scale=(scale[0], scale[1]), info=info, memo=memo)
        loaded.source = Path(path).resolve()
        return loaded

    def export_decision(self, path: str | Path) -> None:
        """Write a ``transformers.decision`` repository that answers with p(s) (:mod:`selfreg_gym.lm.decision_export`).

        The question is of type ``noul`` (yes or no; ``noul`` of the answer is p), ``choice`` between "failure" and
        "success", or ``score`` over these two levels (``score`` of the answer is p)::

            pipe = transformers.pipeline("decision", model=path)
            pipe({"state": observation, "questions": {"success": {"type": "noul"}}})["success"]["noul"]

        Raises:
            InvalidArgumentError: this transformers has no decision models.
            CheckpointError: the answers would not be ours.
        """
        from selfreg_gym.prm.export import export_decision

        export_decision(self, path)

    def __deepcopy__(self, memo: dict[int, Any]) -> ProcessRewardModel:
        return self

    def __repr__(self) -> str:
        return f"ProcessRewardModel(targets={self.info.get('targets')!r}, backbone={self.info.get('backbone')!r})"


def _told(rollouts: Any) -> dict[str, Any] | None:
    """What a store says it was collected on; None for bare episodes."""
    spec = getattr(rollouts, "spec", None)
    if not isinstance(spec, dict):
        return None
    tasks = spec.get("tasks")
    count = len(tasks) if isinstance(tasks, list | tuple) else tasks
    env = dict(spec.get("env", {}))
    if "path" in env.get("actor_kwargs", {}):  # a card is made to be shared: without the folders of this machine
        env["actor_kwargs"] = {**env["actor_kwargs"], "path": Path(env["actor_kwargs"]["path"]).name}
    return {**env, "tasks": count, "episodes": spec.get("episodes"), "seed": spec.get("seed")}


def _fit(
    model: Any,
    tokenizer: Any,
    examples: Examples,
    *,
    validation: Examples | None,
    seed: int,
    lr: float,
    epochs: float,
    steps: int | None,
    batch_size: int,
    accumulate: int,
    patience: int | None,
    resume: str | Path | None,
    progress: bool,
) -> TrainingLog:
    encoder, pad = PromptEncoder(tokenizer), int(tokenizer.pad_token_id)
    limits = match_tokenizer(model, tokenizer)

    def rows(part: Examples) -> list[tuple[list[int], float, float]]:
        ids = [encoder.prompt(success_prompt(text, tokenizer=tokenizer)) for text in part.observations]
        for row in ids:
            limits.check(row)
        return list(zip(ids, part.outcome.tolist(), part.weight.tolist(), strict=True))

    def loss(net: Any, batch: Sequence[tuple[list[int], float, float]]) -> torch.Tensor:
        logits = net(input_ids=pad_right([ids for ids, _, _ in batch], pad=pad).to(net.device)).logits.float()
        labels = torch.tensor([[y] for _, y, _ in batch], device=logits.device)  # (B, 1), float: BCE
        weight = torch.tensor([[w] for _, _, w in batch], device=logits.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, weight=weight)

    data = rows(examples)
    held = rows(validation) if validation is not None else []
    validate = held_out_loss(loss, held, lengths=[len(ids) for ids, _, _ in held], batch_size=batch_size)
    return finetune(
        model,
        data,
        loss,
        lengths=[len(ids) for ids, _, _ in data],
        seed=seed,
        lr=lr,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        validate=validate if held else None,
        patience=patience,
        resume=resume,
        progress=progress,
        description="process reward model",
    )


def _part(examples: Examples, size: int, rng: np.random.Generator) -> Examples:
    """At most ``size`` of the examples, standing for all of them."""
    chosen, weight = subsample(examples.weight, size, rng)
    return examples.take(chosen, weight=weight)


def _judged(
    examples: Examples, aside: np.ndarray, *, targets: str, limit: int | None, rng: np.random.Generator
) -> Examples:
    """The decisions to calibrate on: of held-out tasks; for "nohelp" those of unhelped episodes if there are any."""
    rows = np.flatnonzero(aside & examples.unhelped) if targets == "nohelp" else np.flatnonzero(aside)
    if len(rows) == 0 or len(set(examples.task[rows])) < 2:
        rows = np.flatnonzero(aside)
    chosen, weight = subsample(examples.weight[rows], limit, rng)
    return examples.take(rows[chosen], weight=weight)


def _cross_fit(logit: np.ndarray, judge: Examples, *, seed: int) -> Callable[[Examples, np.ndarray], np.ndarray]:
    """Fit a scale on either half of the judged tasks.

    Returns:
        A function of examples and their logits: probabilities in which each half of the tasks is scaled by what the
        other half says. With one task, unscaled.
    """
    names = np.unique(judge.task.astype(str))
    if len(names) < 2:
        return lambda examples, values: sigmoid(values)
    first = set(names[split_tasks(names, share=0.5, seed=seed + 1)])
    half = np.asarray([task in first for task in judge.task])
    scales = [platt(logit[side], judge.outcome[side], weight=judge.weight[side]) for side in (half, ~half)]

    def scaled(examples: Examples, values: np.ndarray) -> np.ndarray:
        # a task of the first half is scaled by what the second half says, and the other way round
        a, b = np.asarray([scales[task in first] for task in examples.task]).T
        return sigmoid(a * values + b)

    return scaled


def _held_out_tasks(
    prm: ProcessRewardModel, examples: Examples, cross: Callable[[Examples, np.ndarray], np.ndarray]
) -> dict[str, Any] | None:
    """Score at reset and success without help of each held-out task; None if no episode began without help."""
    rows = np.flatnonzero(examples.first & examples.unhelped)
    if not len(rows):
        return None
    firsts = examples.take(rows)
    scores = cross(firsts, prm.logits(firsts.observations))
    return per_task(firsts.task.tolist(), scores, firsts.outcome, firsts.weight)
