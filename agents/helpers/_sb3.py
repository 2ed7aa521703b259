"""The base class of the Stable-Baselines3 helpers: training on the intervention env, the knob, files without pickle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from selfreg_gym.adapters import global_generators
from selfreg_gym.agents.helpers._choice import best_action, check_costs, knob_range
from selfreg_gym.agents.helpers._sb3_env import DrawnTasks, budget_left, observation_space, wrapped
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import check_number, is_number
from selfreg_gym.utils.model_record import INFO, NUMBER, ModelRecord, Rule
from selfreg_gym.utils.progress import progress_bar

_FILE, _WEIGHTS, _FORMAT = "rl.json", "policy.safetensors", "selfreg-rl-2"
_INPUTS = "inputs"  # the folder of an encoder
_OLDER = "selfreg-rl-1"  # its offset was the same for all interventions


class SB3Helper(Helper):
    """A policy of Stable-Baselines3 that reads :class:`~selfreg_gym.wrappers.FeatureObservation`, or encoded inputs.

    It is trained at one help cost r. Afterwards an offset per cost unit moves it along its curve: the action is
    ``argmax over k of gain_k + offset * cost_k``, with 0 for nohelp, where gain_k is the log-probability or the Q value
    of action k minus that of nohelp. It never samples.

    Args:
        policy: an SB3 policy in eval mode.
        costs: ``(K + 1,)`` expected cost units of a call: 0 for nohelp, then each intervention.
        cap: hard cap, cost units per episode (``HelpBudget``), or None.
        offset: gain added per cost unit; the knob.
        settings: ``policy_kwargs`` of its network.
        info: facts about its training.
        encoder: a :class:`selfreg_gym.inputs.InputEncoder`, whose inputs it reads in place of the features.
    """

    role = "baseline"
    minor = True
    needs_cap = False
    knob_bounds: tuple[float, float] = (-20.0, 20.0)  # with one intervention at cost 1
    knob_step: float = 0.5
    algorithm: ClassVar[str]
    module: ClassVar[str] = "stable_baselines3"
    policy_name: ClassVar[str] = "MultiInputPolicy"
    encoded_policy_name: ClassVar[str] = "MlpPolicy"
    defaults: ClassVar[dict[str, Any]] = {}
    network: ClassVar[dict[str, Any]] = {"net_arch": [64, 64]}

    def __init__(
        self,
        policy: Any,
        *,
        costs: Sequence[float],
        cap: float | None = None,
        offset: float = 0.0,
        settings: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
        encoder: Any = None,
    ) -> None:
        self.policy, self.encoder = policy, encoder
        self.costs = tuple(map(float, costs))
        self.cap = cap
        self.offset = float(offset)
        self.settings = dict(settings or self.network)
        self.info = dict(info or {})
        self._set_weights(self.costs[1:])

    def _set_weights(self, weights: Sequence[float]) -> None:
        """``weights``: ``(K,)`` change of each intervention's gain per unit of the knob."""
        self._weights = tuple(weights)
        own = type(self)
        self.knob_bounds, self.knob_step = knob_range(own.knob_bounds, own.knob_step, self._weights)

    @classmethod
    def train(
        cls,
        env: Mapping[str, Any],
        *,
        tasks: Sequence[int] | None = None,
        help_cost: float = 0.1,
        steps: int = 100_000,
        cap: float | None = None,
        spend: float | None = None,
        encoder: Any = None,
        seed: int = 0,
        num_envs: int = 16,
        progress: bool = True,
        **arguments: Any,
    ) -> Self:
        """Reinforcement learning on ``success - help_cost * cost units``, with p(s) left out of the features.

        Args:
            env: keyword arguments of ``selfreg/Intervention-v0``; ``abort`` is not used.
            tasks: training tasks, of which each episode draws one; None: all tasks of the split.
            help_cost: r.
            steps: number of decisions, over all envs.
            cap: hard cap, cost units per episode (``HelpBudget``), or None.
            spend: cost units after which the training stops, even if ``steps`` are not reached; None: no limit.
            encoder: a fitted :class:`selfreg_gym.inputs.InputEncoder`, to observe its inputs in place of the features.
            seed: of the network, the tasks and the episodes.
            num_envs: size of the batch.
            progress: show a progress bar.
            **arguments: of the algorithm; they replace its ``defaults``.

        Raises:
            InvalidArgumentError: invalid steps or tasks, or sb3-contrib is needed and missing.
        """
        from selfreg_gym.intervention_env.building import build_task
        from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv, to_sb3
        from selfreg_gym.lm.loading import limit_threads

        if spend is not None:
            check_number("spend (cost units)", spend, above=True)
        if steps < 1 or (tasks is not None and len(tasks) == 0):
            raise InvalidArgumentError(
                f"a training needs steps and tasks, received steps={steps!r} and "
                f"{'no' if tasks is not None else 'all'} tasks."
            )
        limit_threads()
        kwargs = {**env, "help_cost": help_cost, "autoreset_mode": "SameStep", "abort": False}
        task, task_kwargs = kwargs.pop("task"), kwargs.pop("task_kwargs", None)
        vector = InterventionVectorEnv(num_envs, lambda: DrawnTasks(build_task(task, task_kwargs), tasks), **kwargs)
        costs = (0.0, *(intervention.cost for intervention in vector.interventions))
        algorithm = cls._load_algorithm()
        begun = time.monotonic()
        with global_generators():
            model = algorithm(
                cls.policy_name if encoder is None else cls.encoded_policy_name,
                to_sb3(wrapped(vector, cap, encoder)),
                seed=seed,
                policy_kwargs=dict(cls.network),
                device="cpu",
                **{**cls.defaults, **arguments},
            )
            with progress_bar(cls.algorithm, steps, shown=progress) as update:
                spent = 0.0

                def show(found: Mapping[str, Any], _: Any) -> bool:
                    nonlocal spent
                    spent += sum(info["cost"] for info in found["infos"])
                    update(min(model.num_timesteps, steps))
                    return spend is None or spent < spend

                model.learn(steps, callback=show)
        info = {
            "help_cost": float(help_cost),
            "steps": int(model.num_timesteps),
            "spent": round(spent, 6),
            "tasks": None if tasks is None else len(tasks),
            "seed": seed,
            "arguments": {name: repr(value) for name, value in {**cls.defaults, **arguments}.items()},
            "seconds": round(time.monotonic() - begun, 1),
        }
        model.policy.set_training_mode(False)
        return cls(model.policy, costs=costs, cap=cap, info=info, encoder=encoder)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether the run has trained it (``rl.algorithms`` in its config)."""
        return (Path(run) / "rl" / cls._name() / _FILE).is_file()

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Self:
        """Load the helper that the run has trained.

        Raises:
            CheckpointError: the run has not trained it.
        """
        return cls.from_pretrained(Path(run) / "rl" / cls._name())

    @property
    def knob(self) -> float:
        """The offset, in units of gain per cost unit."""
        return self.offset

    def with_knob(self, x: float) -> Self:
        """The same policy with another offset."""
        return self._replaced(offset=float(x))

    def for_interventions(self, interventions: Sequence[Intervention]) -> Self:
        """The helper itself, if number and costs of the interventions are those of its training.

        Raises:
            InvalidArgumentError: their number or their costs differ.
        """
        check_costs(self, len(self.costs) - 1, self.costs[1:], interventions)
        return self

    def wrap(self, env: Any) -> Any:
        """The env with the observations that it reads, under the hard cap of its training, if any."""
        return wrapped(env, self.cap, self.encoder)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Take the best action for each observation of :meth:`wrap`; ties are nohelp."""
        import torch

        read: Any = observations
        if self.encoder is not None:
            read = np.asarray(observations)
        if not isinstance(read, Mapping) and not (self.encoder is not None and read.dtype.kind == "f"):
            raise InvalidArgumentError(f"{self._name()} reads features, not text: use it on wrap(env).")
        with torch.inference_mode():
            tensors: Any = (
                {name: torch.as_tensor(values) for name, values in read.items()}
                if isinstance(read, Mapping)
                else torch.as_tensor(read)
            )
            values, state = self._values(tensors, state, start)
        gain = (values[:, 1:] - values[:, :1]).double().numpy()
        if self.cap is not None:
            gain = np.where(np.asarray(self.costs[1:]) <= budget_left(read) + 1e-6, gain, -np.inf)
        return best_action(gain, self.offset, self._weights), state

    def batch_size(self, observation: Any, episode_start: NDArray[np.bool_] | None) -> int | None:
        """A single observation has its scalars in a vector."""
        if isinstance(observation, np.ndarray) and observation.dtype.kind == "f":
            return None if observation.ndim == 1 else len(observation)
        if not isinstance(observation, Mapping):
            return super().batch_size(observation, episode_start)
        return None if np.ndim(observation["scalars"]) == 1 else len(observation["scalars"])

    def _values(self, observation: Any, state: Any, start: NDArray[np.bool_]) -> tuple[Any, Any]:
        """``(N, K + 1)`` logits or Q values of the actions, and the state."""
        return self.policy.get_distribution(observation).distribution.logits, state

    def save_pretrained(self, path: str | Path) -> None:
        """Write the weights (safetensors) and, last, ``rl.json``. No pickle, unlike SB3's own zip."""
        from safetensors.torch import save_file

        folder = self._record().begin(path)
        weights = {name: tensor.detach().contiguous().clone() for name, tensor in self.policy.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        fields = {name: getattr(self, name) for name in ("algorithm", "cap", "offset", "settings", "info")}
        if self.encoder is not None:
            self.encoder.save(folder / _INPUTS)
        form = _FORMAT if self._weights == self.costs[1:] else _OLDER
        self._record().write(folder, format=form, costs=list(self.costs), **fields)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load what :meth:`save_pretrained` wrote.

        Raises:
            CheckpointError: the directory has no complete helper, a damaged one, or one of another algorithm.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from selfreg_gym.inputs import InputEncoder

        form, fields = cls._record().read(path)
        file = Path(path) / _FILE
        del fields["algorithm"]
        try:
            weights = load_file(Path(path) / _WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"{str(Path(path) / _WEIGHTS)!r} must hold the weights of a policy and cannot be read ({error}): copy "
                "the directory again, or train again."
            ) from error
        if broken := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
            raise CheckpointError(
                f"the weights in {str(Path(path) / _WEIGHTS)!r} must be finite, received NaN or infinity in "
                f"{broken[0]!r}: copy the directory again, or train again."
            )
        encoder = InputEncoder.load(Path(path) / _INPUTS) if (Path(path) / _INPUTS).is_dir() else None
        name = cls.policy_name if encoder is None else cls.encoded_policy_name
        policy_class = cls._load_algorithm().policy_aliases[name]
        actions = gym.spaces.Discrete(len(fields["costs"]))
        try:
            policy = policy_class(observation_space(encoder), actions, lambda _: 0.0, **fields["settings"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"'settings' in {str(file)!r} must be arguments of {policy_class.__name__}, received "
                f"{repr(fields['settings'])[:200]} ({error}): train again."
            ) from error
        try:
            policy.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{str(path)!r}: the weights do not fit the network: {error}: copy the directory again, or train again."
            ) from error
        policy.set_training_mode(False)
        helper = cls(policy, **fields, encoder=encoder)
        if form == _OLDER:
            helper._set_weights([1.0] * (len(helper.costs) - 1))
        return helper

    @classmethod
    def _record(cls) -> ModelRecord:
        return ModelRecord(
            f"a {cls._name()} helper",
            _FILE,
            _FORMAT,
            {
                "algorithm": Rule(repr(cls.algorithm), lambda name, _: name == cls.algorithm),
                "costs": Rule(
                    "at least 2 numbers",
                    lambda costs, _: isinstance(costs, list) and len(costs) > 1 and all(map(is_number, costs)),
                ),
                "cap": Rule("a number or null", lambda cap, _: cap is None or is_number(cap)),
                "offset": NUMBER,
                "settings": INFO,
                "info": INFO,
            },
            older={_OLDER: {}},
            hint=f" A run trains one with --set rl.algorithms=['{cls._name()}'].",
        )

    @classmethod
    def _load_algorithm(cls) -> Any:
        import importlib

        try:
            return getattr(importlib.import_module(cls.module), cls.algorithm)
        except ImportError as error:
            raise InvalidArgumentError(f"{cls.algorithm} needs sb3-contrib: pip install 'selfreg-gym[rl]'.") from error

    @classmethod
    def _name(cls) -> str:
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(offset={self.offset:g}, cap={self.cap}, K={len(self.costs) - 1})"
