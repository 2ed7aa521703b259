"""The training loop of actors, process reward models and helpers: seeded, resumable, with batches of similar lengths.

All batches are drawn from the seed in advance, so a resumed run sees the same batches. To form batches of similar
lengths, pools of shuffled examples are sorted and cut into batches, which are then shuffled. Otherwise padding would
take a third of the time.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from selfreg_gym.errors import InvalidArgumentError, SelfRegError
from selfreg_gym.lm.loading import limit_threads
from selfreg_gym.lm.training_state import Best, Progress, TrainingState
from selfreg_gym.utils.progress import progress_bar
from selfreg_gym.utils.random_streams import BATCHES, stream

__all__ = [
    "TrainingLog",
    "add_lora",
    "cast_parameters",
    "early_stopping",
    "finetune",
    "held_out_loss",
    "merge_lora",
    "plan_batches",
    "seeded",
]

T = TypeVar("T")
_POOL = 32  # batches per pool that is sorted by length
_SAVE_SECONDS = 120.0  # largest loss of work when a run is killed


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Statistics of a training run.

    Attributes:
        steps: number of optimiser steps, including those before a resume.
        loss: mean loss of each tenth of the run, in order.
        validation: ``(step, score)`` of each validation; smaller is better.
        seconds: wall time of this call.
        stopped_early: whether training stopped because ``patience`` was exceeded.
    """

    steps: int
    loss: tuple[float, ...]
    validation: tuple[tuple[int, float], ...]
    seconds: float
    stopped_early: bool


def finetune(
    model: Any,
    examples: Sequence[T],
    loss: Callable[[Any, Sequence[T]], torch.Tensor],
    *,
    lengths: Sequence[int],
    seed: int,
    lr: float,
    batch_size: int = 8,
    epochs: float = 1.0,
    steps: int | None = None,
    accumulate: int = 1,
    warmup: float = 0.05,
    weight_decay: float = 0.01,
    clip: float = 1.0,
    validate: Callable[[Any], float] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    resume: str | Path | None = None,
    save_every: int = 500,
    progress: bool = False,
    description: str = "training",
) -> TrainingLog:
    """Minimise ``loss`` over the trainable parameters of ``model``, in place.

    AdamW with gradient clipping; the learning rate rises linearly during the warm-up and then falls linearly to zero.

    Args:
        model: a torch module; parameters that do not require a gradient are not changed.
        examples: N examples of any type.
        loss: ``loss(model, batch) -> scalar tensor``, the mean over the batch.
        lengths: ``(N,)`` token counts, for sorting.
        seed: seed of the order of examples and of dropout.
        lr: peak learning rate.
        batch_size: examples per forward pass.
        epochs: passes over the data.
        steps: number of optimiser steps; overrides ``epochs``.
        accumulate: forward passes per optimiser step. Its gradient equals that of one batch of all their examples.
        warmup: share of the steps in the warm-up.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        validate: ``validate(model) -> score``, smaller is better. It runs every ``validate_every`` steps and at the
            end, and the weights with the best score are kept. None: the last weights are kept.
        validate_every: steps between validations; None is a tenth of the steps.
        patience: number of validations in a row without improvement after which training stops.
        resume: directory for the state of an unfinished run, saved every ``save_every`` steps and every two minutes.
            Training continues from a state found there. The state is removed when training ends.
        save_every: steps between saved states.
        progress: show a progress bar.
        description: text of the progress bar.

    Returns:
        Statistics of the run.

    Raises:
        InvalidArgumentError: there are no examples, an argument is out of range, or trainable weights are float16.
        CheckpointError: the state in ``resume`` belongs to another run.
        SelfRegError: a loss, a gradient or a validation is not finite. The weights are those before that step.
    """
    if not examples or len(lengths) != len(examples):
        raise InvalidArgumentError(
            f"training needs examples and one length for each, received {len(examples)} and {len(lengths)}."
        )
    if batch_size < 1 or accumulate < 1 or lr <= 0 or epochs <= 0 or (steps is not None and steps < 1):
        raise InvalidArgumentError(
            "batch_size, accumulate, lr, epochs and steps must be positive, received "
            f"batch_size={batch_size}, accumulate={accumulate}, lr={lr}, epochs={epochs}, steps={steps}."
        )
    if (validate_every is not None and validate_every < 1) or (patience is not None and patience < 1):
        raise InvalidArgumentError(
            "validate_every and patience must be at least 1 (None: every tenth of the steps; no early stopping), "
            f"received validate_every={validate_every}, patience={patience}."
        )
    limit_threads()
    per_epoch = math.ceil(len(examples) / batch_size)
    total = steps if steps is not None else max(1, round(epochs * per_epoch / accumulate))
    plan = plan_batches(lengths, batch_size=batch_size, count=total * accumulate, seed=seed)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    half = [name for name, p in trainable.items() if p.dtype == torch.float16]
    if half:  # AdamW's eps of 1e-8 is 0 in float16: the first step would divide by 0
        raise InvalidArgumentError(
            f"weights in float16 cannot be trained, received {len(half)} of {len(trainable)} parameters in float16 "
            f"({half[0]!r}, ...): train with LoRA, whose adapters are float32 on a float16 model, or in float32."
        )
    optimizer = torch.optim.AdamW(trainable.values(), lr=lr, weight_decay=weight_decay)
    ramp = max(1, round(warmup * total))
    validate_every = validate_every or max(1, total // 10)
    fingerprint = f"{total}/{accumulate}/{batch_size}/{len(examples)}/{sum(lengths)}/{seed}/{lr}"
    store = TrainingState(resume, fingerprint=fingerprint)
    done, losses, validation, best = store.load(trainable, optimizer)
    begun, saved, stopped, average = time.perf_counter(), time.perf_counter(), False, math.nan
    since_best = len(validation) - 1 - min(range(len(validation)), key=lambda i: validation[i][1], default=-1)
    model.train()
    bar = progress_bar(description, total, done=done, shown=progress, transient=False)
    with bar as update, seeded(seed):
        for step in range(done, total):
            torch.manual_seed(seed + 0x9E3779B1 * (step + 1))  # the same dropout in a resumed run
            value = 0.0
            batches = plan[step * accumulate : (step + 1) * accumulate]
            for batch in batches:
                share = len(batch) / sum(map(len, batches))  # an epoch's last batch may be smaller
                part = loss(model, [examples[i] for i in batch]) * share
                part.backward()
                value += float(part.detach())
            norm = float(torch.nn.utils.clip_grad_norm_(list(trainable.values()), clip))
            _check_finite(step + 1, total, loss=value, gradient=norm)
            for group in optimizer.param_groups:
                group["lr"] = lr * min((step + 1) / ramp, (total - step) / max(1, total - ramp + 1))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(value)
            average = value if math.isnan(average) else 0.95 * average + 0.05 * value
            update(step + 1, f"loss {average:.3f}")
            last = step + 1 == total
            if validate is not None and (last or (step + 1) % validate_every == 0):
                model.eval()
                score = float(validate(model))
                model.train()
                _check_finite(step + 1, total, validation=score)
                validation.append((step + 1, score))
                if best is None or score < best.score:
                    best, since_best = Best(score, {n: p.detach().clone() for n, p in trainable.items()}), 0
                else:
                    since_best += 1
                if patience is not None and since_best >= patience:
                    stopped = not last
                    break
            if ((step + 1) % save_every == 0 or time.perf_counter() - saved > _SAVE_SECONDS) and not last:
                store.save(Progress(step + 1, losses, validation, best), trainable, optimizer)
                saved = time.perf_counter()
    if best is not None:
        with torch.no_grad():
            for name, parameter in trainable.items():
                parameter.copy_(best.weights[name])
    model.eval()
    store.remove()
    tenths = [part for part in np.array_split(np.asarray(losses), 10) if len(part)]
    return TrainingLog(
        steps=len(losses),
        loss=tuple(float(part.mean()) for part in tenths),
        validation=tuple(validation),
        seconds=time.perf_counter() - begun,
        stopped_early=stopped,
    )


def _check_finite(step: int, total: int, **figures: float) -> None:
    """Raise before NaN or infinity enters the weights or the saved state."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise SelfRegError(
                f"the {name} of a training must be finite, received {value} at step {step} of {total}: try a smaller "
                "learning rate (lr) or dtype float32 (bfloat16 with LoRA if memory is too small); at the first step, "
                "check the examples and the model."
            )


def held_out_loss(
    loss: Callable[[Any, Sequence[T]], torch.Tensor], examples: Sequence[T], *, lengths: Sequence[int], batch_size: int
) -> Callable[[Any], float]:
    """Return a function for ``validate`` of :func:`finetune`: the mean training loss over held-out examples."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    batches = [[examples[i] for i in order[begin : begin + batch_size]] for begin in range(0, len(order), batch_size)]

    def validate(model: Any) -> float:
        with torch.inference_mode():
            return sum(float(loss(model, batch)) * len(batch) for batch in batches) / len(examples)

    return validate


def early_stopping(log: TrainingLog, *, patience: int) -> dict[str, Any]:
    """Return the record of a validated training run for a model card, as plain values."""
    best = min(log.validation, key=lambda entry: entry[1])
    return {
        "patience": patience,
        "validation": [[step, round(value, 5)] for step, value in log.validation],
        "best_step": best[0],
        "stopped_early": log.stopped_early,
    }


def plan_batches(lengths: Sequence[int], *, batch_size: int, count: int, seed: int) -> list[list[int]]:
    """Draw ``count`` batches of example indices, epoch by epoch, each of similar lengths."""
    rng = stream(BATCHES, seed)
    size = np.asarray(lengths)
    plan: list[list[int]] = []
    while len(plan) < count:
        order = rng.permutation(len(size))
        epoch: list[list[int]] = []
        for begin in range(0, len(order), _POOL * batch_size):
            pool = order[begin : begin + _POOL * batch_size]
            pool = pool[np.argsort(size[pool], kind="stable")]
            epoch += [pool[i : i + batch_size].tolist() for i in range(0, len(pool), batch_size)]
        plan += [epoch[i] for i in rng.permutation(len(epoch))]
    return plan[:count]


def add_lora(model: Any, *, task: str, rank: int | bool = 8, seed: int = 0) -> Any:
    """Add LoRA adapters (Hu et al. 2021) to every linear layer except the output head (PEFT's "all-linear").

    A tied ``lm_head`` gets no adapter, which would be merged wrongly into the shared embedding.

    Args:
        model: a transformers model.
        task: PEFT's task type, "SEQ_CLS" (the new head is trained in full) or "CAUSAL_LM".
        rank: rank of the adapters (True: 8); their scale alpha is twice the rank.
        seed: seed of the adapters' initial weights.

    Returns:
        The PEFT model; :func:`merge_lora` returns the plain model. Adapters and a new head are float32 in any case,
        because 16-bit weights are too coarse for small steps.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils import ModulesToSaveWrapper

    rank = 8 if rank is True else int(rank)
    config = LoraConfig(task_type=task, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    with seeded(seed), warnings.catch_warnings():
        # PEFT 0.21 uses the deprecated name of an attribute of transformers 5.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for head in module.modules_to_save.values():
                head.float().register_forward_pre_hook(_in_float32)
    return adapted


def merge_lora(model: Any) -> Any:
    """Merge the adapters of :func:`add_lora` into the weights and return the plain model in its original dtype."""
    plain = model.merge_and_unload()
    for module in plain.modules():
        for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _in_float32]:
            del module._forward_pre_hooks[key]
    return cast_parameters(plain, plain.dtype)


def cast_parameters(model: Any, dtype: torch.dtype) -> Any:
    """Cast all parameters, in place. ``model.to(dtype)`` would also round the buffers (rotary frequencies)."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def _in_float32(module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(argument.float() for argument in arguments)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block and restore the state of its global generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
