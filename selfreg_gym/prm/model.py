"""``ProcessRewardModel``: p(s) from a language model with a classification head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from selfreg_gym.errors import InvalidArgumentError
from selfreg_gym.lm.backbone import AUTO, checkpoint_of_spec, task_of_spec
from selfreg_gym.lm.finetuning_settings import FinetuningSettings
from selfreg_gym.lm.loading import load_classifier, load_tokenizer, trained_with
from selfreg_gym.lm.prompts import success_prompt
from selfreg_gym.lm.readers import TextReader, classifier_logits
from selfreg_gym.lm.subsampling import subsample
from selfreg_gym.lm.training import seeded
from selfreg_gym.lm.training_start import TrainingStart, check_backbone
from selfreg_gym.prm.export import save_as_decision, write_model_card
from selfreg_gym.prm.fitting import fit_classifier
from selfreg_gym.prm.hard_tasks import hard_tasks
from selfreg_gym.prm.held_out import calibration_examples, cross_fit, measure, task_scores
from selfreg_gym.prm.reliability import CalibrationTable, auc, calibration_table, platt, sigmoid
from selfreg_gym.prm.targets import CLIP, gather, split_tasks
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.files import set_default_modes
from selfreg_gym.utils.model_record import INFO, ModelRecord, Rule
from selfreg_gym.utils.random_streams import PRM_EXAMPLES, stream

__all__ = ["ProcessRewardModel"]

_SCALE = Rule("two numbers", lambda pair, _: isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)))
_RECORD = ModelRecord("a process reward model", "prm.json", "selfreg-prm-1", {"scale": _SCALE, "info": INFO})


class ProcessRewardModel:
    """P(success | observation) under a named continuation policy: ``sigmoid(a * logit + b)``.

    The logit is that of a sequence classifier on the actor's backbone; (a, b) are Platt's, fitted on held-out tasks.

    Args:
        model: a transformers sequence classifier with one logit, in eval mode.
        tokenizer: its tokenizer.
        scale: ``(a, b)``.
        info: the training record: targets, seed, backbone, held-out calibration.
        memo: number of observations whose scores are kept in memory.

    Attributes:
        source: the directory from which it was loaded, or None.
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
            backbone: a checkpoint directory, the id of an actor with a checkpoint, or "auto": the first checkpoint
                that can read the observations (of the actor, then the default one), otherwise a small Llama built
                from the observations (:mod:`selfreg_gym.lm.backbone`).
            actor: for "auto", the actor's checkpoint; default: that of the actor in the store's spec.
            targets: "nohelp" or "mixture" (:mod:`selfreg_gym.prm.targets`).
            seed: seed of the split by task, the sample, the new head and the order of the examples.
            epochs: passes over the sample; for a built backbone up to 8, if ``epochs`` gives fewer than 1,000 steps.
            lora: adapter rank on all linear layers, merged after training; None trains all weights. A built backbone
                has random weights, so all weights are trained in any case.
            lr: learning rate; default 1e-3 with LoRA and for a built backbone, else 5e-4.
            batch_size: examples per forward pass.
            accumulate: forward passes per optimiser step.
            max_states: size of the training sample, drawn in proportion to weight; None takes all examples.
            share: share of the tasks that is held out for calibration.
            clip: largest inverse-probability weight.
            patience: stop after this many validations on held-out tasks without improvement, and keep the best
                weights. None: train to the end.
            dtype, device: those of the model, in training and later use.
            resume: directory for the state of an unfinished training.
            progress: show a progress bar.

        Raises:
            UnknownNameError: an unknown target or backbone.
            InvalidArgumentError: too few tasks, no example of the target, or a named backbone for whose tokenizer more
                than 5 % of the observations' tokens are unknown.
            CheckpointError: the backbone is not a checkpoint.
        """
        task = task_of_spec(getattr(rollouts, "spec", None))
        check_backbone(backbone, task=task)
        examples = gather(rollouts, targets=targets, clip=clip)
        held_out = split_tasks(examples.task, share=share, seed=seed)
        rng = stream(PRM_EXAMPLES, seed)
        inside = np.flatnonzero(~held_out)
        chosen, weight = subsample(examples.weight[inside], max_states, rng)
        fit = examples.take(inside[chosen], weight=weight)
        judged = calibration_examples(examples, held_out, targets=targets, limit=max_states, rng=rng)
        validation = None
        if patience is not None:
            chosen, weight = subsample(judged.weight, max(256, len(fit) // 20), rng)
            validation = judged.take(chosen, weight=weight)

        settings = FinetuningSettings(
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
        )

        def load(path: Path) -> Any:
            with seeded(seed):  # the new head is random
                return load_classifier(path, dtype=dtype, device=device)

        checkpoint = checkpoint_of_spec(getattr(rollouts, "spec", None))
        start = TrainingStart.open(settings, load, examples.observations, actor=checkpoint, task=task)
        start.adapt(task="SEQ_CLS")
        loop = start.loop(len(fit), adapters=1e-3, weights=5e-4)
        log = fit_classifier(start.model, start.tokenizer, fit, validation=validation, **loop)
        prm = cls(start.merged(), start.tokenizer)
        logit = prm.logits(judged.observations)
        prm.scale = platt(logit, judged.outcome, weight=judged.weight)
        cross_fitted = cross_fit(logit, judged, seed=seed)
        prm.info = {
            "targets": targets,
            **start.record(log, prm.model),
            "lora": start.rank or None,
            "data": _collection_record(rollouts),
            "states": len(fit),
            "calibration_tasks": sorted(set(examples.task[held_out])),
            "held_out": {
                **calibration_table(cross_fitted(judged, logit), judged.outcome, weight=judged.weight),
                # The saved model has one scale, which keeps the order; the two scales of cross-fitting do not.
                "auc": auc(logit, judged.outcome, judged.weight),
            },
        }
        tasks = task_scores(examples.take(np.flatnonzero(held_out)), prm.logits, cross_fitted)
        if tasks is not None:
            prm.info["held_out_tasks"] = tasks
            prm.info["hard_tasks"] = hard_tasks(tasks, 0.5)
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

    def calibration(self, rollouts: Any = None, *, targets: str | None = None, bins: int = 10) -> CalibrationTable:
        """Reliability of the probabilities (:func:`selfreg_gym.prm.reliability.calibration_table`).

        Args:
            rollouts: a store or episodes (the examples of ``targets``, weighted as in training), or a pair
                ``(observations, outcomes)``. None: the table of the training, on held-out tasks, episodes without
                help, with the scale fitted on the other half of these tasks.
            targets: default: the target of the training.
            bins: number of bins.

        Raises:
            InvalidArgumentError: the model has no held-out table and ``rollouts`` is None.
        """
        if rollouts is None:
            if "held_out" not in self.info:
                raise InvalidArgumentError("this model has no held-out figures: pass rollouts, or (texts, outcomes).")
            return cast(CalibrationTable, self.info["held_out"])
        return measure(self.score, rollouts, targets=targets or self.info.get("targets", "nohelp"), bins=bins)

    def save_pretrained(self, path: str | Path) -> None:
        """Write weights (safetensors), tokenizer, model card and, last, ``prm.json``, which marks it as complete."""
        folder = _RECORD.begin(path)
        self.model.save_pretrained(folder)
        set_default_modes(*folder.glob("*.safetensors"))
        self.tokenizer.save_pretrained(folder)
        write_model_card(folder, scale=self.scale, info=self.info)
        _RECORD.write(folder, scale=list(self.scale), info=self.info)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: str | None = None, device: str | None = None, memo: int = 50_000
    ) -> ProcessRewardModel:
        """Load a directory written by :meth:`save_pretrained`.

        Args:
            path: the directory.
            dtype, device: default: those of the training (the CPU if that device does not exist).
            memo: number of observations whose scores are kept in memory.

        Raises:
            CheckpointError: the directory has no complete process reward model, another format, or weights that are
                missing, unknown, of another shape or not finite.
        """
        _, fields = _RECORD.read(path)
        scale, info = fields["scale"], fields["info"]
        dtype, device = trained_with(info, dtype=dtype, device=device)
        model = load_classifier(path, dtype=dtype, device=device, trained=True)
        loaded = cls(model, load_tokenizer(path), scale=(scale[0], scale[1]), info=info, memo=memo)
        loaded.source = Path(path).resolve()
        return loaded

    def export_decision(self, path: str | Path) -> None:
        """Write a ``transformers.decision`` repository whose answers are p(s) (:mod:`selfreg_gym.lm.decision_export`).

        The question has the type ``noul`` (yes or no; p is ``noul`` of the answer), ``choice`` between "failure" and
        "success", or ``score`` over these two levels (p is ``score`` of the answer)::

            pipe = transformers.pipeline("decision", model=path)
            pipe({"state": observation, "questions": {"success": {"type": "noul"}}})["success"]["noul"]

        Raises:
            InvalidArgumentError: the installed transformers has no decision models.
            CheckpointError: the exported model gives other probabilities.
        """
        save_as_decision(path, self.model, self.tokenizer, scale=self.scale, logits=self.logits)
        write_model_card(Path(path), scale=self.scale, info=self.info, decision=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> ProcessRewardModel:
        return self

    def __repr__(self) -> str:
        return f"ProcessRewardModel(targets={self.info.get('targets')!r}, backbone={self.info.get('backbone')!r})"


def _collection_record(rollouts: Any) -> dict[str, Any] | None:
    """The env, task count, episodes and seed of a store's collection; None for bare episodes."""
    spec = getattr(rollouts, "spec", None)
    if not isinstance(spec, dict):
        return None
    tasks = spec.get("tasks")
    count = len(tasks) if isinstance(tasks, list | tuple) else tasks
    env = dict(spec.get("env", {}))
    if "path" in env.get("actor_kwargs", {}):  # a model card is shared: no folders of this machine
        env["actor_kwargs"] = {**env["actor_kwargs"], "path": Path(env["actor_kwargs"]["path"]).name}
    return {**env, "tasks": count, "episodes": spec.get("episodes"), "seed": spec.get("seed")}
