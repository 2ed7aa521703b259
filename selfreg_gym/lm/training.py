"""One training loop for actor, process reward model and helper: seeded, sorted by length, resumable.

The plan of batches is drawn once from the seed, so a resumed run sees exactly the batches it would have seen. A batch
holds examples of similar length (pools of shuffled examples are sorted, cut, and the batches shuffled again): padding
would otherwise cost a third of the time.
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
from selfreg_gym.lm.loading import one_thread
from selfreg_gym.lm.training_state import Best, TrainingState
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
_SAVE_SECONDS = 120.0  # so much work is lost at the most when a run is killed


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """What a training run did.

    Attributes:
        steps: optimiser steps taken in all, those before a resume included.
        loss: mean loss of each tenth of the run, in order.
        validation: ``(step, score)`` of every validation; smaller is better.
        seconds: wall time of this call.
        stopped_early: whether patience ran out.
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
    """Minimise ``loss`` over the trainable parameters of ``model``, in place, with AdamW and a linear decay to zero.

    Args:
        model: a torch module; parameters that do not require a gradient stay as they are.
        examples: N examples of any type.
        loss: ``loss(model, batch) -> scalar tensor``, the mean over the batch.
        lengths: N token counts, for sorting.
        seed: fixes the order of the examples.
        lr: peak learning rate, reached after ``warmup`` (a share of the steps).
        batch_size: examples per forward.
        epochs: passes over the data; ``steps``, if given, counts optimiser steps instead.
        accumulate: forwards per optimiser step; its gradient is that of one batch of all their examples.
        clip: largest norm of the gradient.
        validate: ``validate(model) -> score``, smaller is better, every ``validate_every`` steps and at the end;
            the weights with the best score are kept. None: the last weights are.
        validate_every: None is a tenth of the steps.
        patience: stop after so many validations in a row without improvement.
        resume: a directory for the state of an unfinished run, saved every ``save_every`` steps and every two minutes.
            If it holds one, training goes on from there; when training ends the state is removed.
        progress: show a progress bar.

    Raises:
        InvalidArgumentError: there are no examples, a number is out of range, or weights to train are float16.
        CheckpointError: the state in ``resume`` belongs to another run.
        SelfRegError: a loss, a gradient or a validation is not finite; the weights are those before that step.
    """
    if not examples or len(lengths) != len(examples):
        raise InvalidArgumentError(
            f"training needs examples and their lengths, received {len(examples)} and {len(lengths)}."
        )
    if batch_size < 1 or accumulate < 1 or lr <= 0 or epochs <= 0 or (steps is not None and steps < 1):
        raise InvalidArgumentError(
            "batch_size, accumulate, lr, epochs and steps must be positive, received "
            f"batch_size={batch_size}, accumulate={accumulate}, lr={lr}, epochs={epochs}, steps={steps}."
        )
    if (validate_every is not None and validate_every < 1) or (patience is not None and patience < 1):
        raise InvalidArgumentError(
            "validate_every and patience must be at least 1 (None: every tenth of the steps, and never stop early), "
            f"received validate_every={validate_every}, patience={patience}."
        )
    one_thread()
    per_epoch = math.ceil(len(examples) / batch_size)
    total = steps if steps is not None else max(1, round(epochs * per_epoch / accumulate))
    plan = plan_batches(lengths, batch_size=batch_size, count=total * accumulate, seed=seed)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    halves = [name for name, p in trainable.items() if p.dtype == torch.float16]
    if halves:  # AdamW's eps of 1e-8 is 0 in float16: the first step would divide by 0
        raise InvalidArgumentError(
            f"weights in float16 cannot be trained, received {len(halves)} of {len(trainable)} parameters in it "
            f"({halves[0]!r}, ...): train with LoRA, whose adapters are float32 on a float16 model, or in float32."
        )
    optimizer = torch.optim.AdamW(trainable.values(), lr=lr, weight_decay=weight_decay)
    ramp = max(1, round(warmup * total))
    validate_every = validate_every or max(1, total // 10)
    fingerprint = f"{total}/{accumulate}/{batch_size}/{len(examples)}/{sum(lengths)}/{seed}/{lr}"
    store = TrainingState(resume, fingerprint=fingerprint)
    done, losses, validation, best = store.load(trainable, optimizer)
    begun, saved, stopped = time.perf_counter(), time.perf_counter(), False
    since_best = len(validation) - 1 - min(range(len(validation)), key=lambda i: validation[i][1], default=-1)
    model.train()
    with _loss_bar(description, total, done, progress) as advance, seeded(seed):
        for step in range(done, total):
            torch.manual_seed(seed + 0x9E3779B1 * (step + 1))  # dropout is the same in a resumed run
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
            advance(value)
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
                store.save(step + 1, trainable, optimizer, losses, validation, best)
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
    """Stop before NaN or infinity gets into the weights, or into the state that a resumed run begins with."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise SelfRegError(
                f"the {name} of a training must be finite, received {value} at step {step} of {total}: try a smaller "
                "learning rate (lr), or dtype float32 (bfloat16 where that does not fit, with LoRA); if it happens at "
                "the first step, look at the examples and at the model itself."
            )


def held_out_loss(
    loss: Callable[[Any, Sequence[T]], torch.Tensor], examples: Sequence[T], *, lengths: Sequence[int], batch_size: int
) -> Callable[[Any], float]:
    """``validate`` of :func:`finetune`: the mean of the training's own loss over examples that are not trained on."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    batches = [[examples[i] for i in order[begin : begin + batch_size]] for begin in range(0, len(order), batch_size)]

    def validate(model: Any) -> float:
        with torch.inference_mode():
            return sum(float(loss(model, batch)) * len(batch) for batch in batches) / len(examples)

    return validate


def early_stopping(log: TrainingLog, *, patience: int) -> dict[str, Any]:
    """What a model card tells of a training that was validated: plain values."""
    best = min(log.validation, key=lambda entry: entry[1])
    return {
        "patience": patience,
        "validation": [[step, round(value, 5)] for step, value in log.validation],
        "best_step": best[0],
        "stopped_early": log.stopped_early,
    }


def plan_batches(lengths: Sequence[int], *, batch_size: int, count: int, seed: int) -> list[list[int]]:
    """Draw ``count`` batches of example indices, epoch after epoch, each of similar lengths; fixed by ``seed``."""
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


def add_lora(model: Any, *, task: str, rank: int = 8, alpha: int | None = None, seed: int = 0) -> Any:
    """Put LoRA adapters on every linear layer but the output head (PEFT's "all-linear").

    A tied ``lm_head`` is left out on purpose: an adapter on it merges wrongly into the shared embedding.

    Args:
        task: PEFT's task type, "SEQ_CLS" (its new head is trained in full) or "CAUSAL_LM".
        rank: adapter rank; ``alpha`` defaults to twice the rank.
        seed: of the adapters' first weights.

    Returns:
        The PEFT model; :func:`merge_lora` gives the plain model back with the adapters added in. Adapters and a new
        head are float32 whatever the model is: steps of a small learning rate are lost in two bytes.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils import ModulesToSaveWrapper

    config = LoraConfig(
        task_type=task, r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=0.0, target_modules="all-linear"
    )
    with seeded(seed), warnings.catch_warnings():
        # PEFT 0.21 asks transformers 5 for an attribute by its old name; the user cannot do anything about it.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for head in module.modules_to_save.values():
                head.float().register_forward_pre_hook(_in_float32)
    return adapted


def merge_lora(model: Any) -> Any:
    """Add the adapters of :func:`add_lora` into the weights and return the plain model, all of it in its own dtype."""
    plain = model.merge_and_unload()
    for module in plain.modules():
        for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _in_float32]:
            del module._forward_pre_hooks[key]
    return cast_parameters(plain, plain.dtype)


def cast_parameters(model: Any, dtype: torch.dtype) -> Any:
    """Give all parameters one dtype, in place. ``model.to(dtype)`` would round the buffers too (rotary frequencies)."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def _in_float32(module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(argument.float() for argument in arguments)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` inside the block, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _loss_bar(description: str, total: int, done: int, show: bool) -> Iterator[Callable[[float], None]]:
    """Draw a progress bar with the exponential moving average of the loss; yield a function that takes each loss."""
    average = math.nan
    with progress_bar(description, total, done=done, shown=show, transient=False) as update:

        def advance(loss: float) -> None:
            nonlocal done, average
            done += 1
            average = loss if math.isnan(average) else 0.95 * average + 0.05 * loss
            update(done, f"loss {average:.3f}")

        yield advance
