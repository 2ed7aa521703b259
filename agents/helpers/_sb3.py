"""What the Stable-Baselines3 helpers share: training on the intervention env, the knob, and files without pickles."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from selfreg_gym.agents.helpers._choice import best_action, check_costs, knob_range
from selfreg_gym.errors import CheckpointError, InvalidArgumentError
from selfreg_gym.helper import Helper
from selfreg_gym.types import Intervention
from selfreg_gym.utils.arguments import is_number
from selfreg_gym.utils.json_text import dumps, read_object
from selfreg_gym.utils.progress import progress_bar
from selfreg_gym.utils.random_streams import TRAINING_TASKS, stream

_FILE, _WEIGHTS, _FORMAT = "rl.json", "policy.safetensors", "selfreg-rl-2"
_OLDER = "selfreg-rl-1"  # its offset was the same for all interventions


class SB3Helper(Helper):
    """A policy of Stable-Baselines3 that reads :class:`~selfreg_gym.wrappers.FeatureObservation`.

    It is trained at one help cost r and then moved along its curve by an offset per cost unit on what help gains (a
    difference of log-probabilities or of Q values): action ``argmax over k of gain_k + offset * cost_k``, with 0 for
    nohelp. The best action is always taken, never a sample.

    Args:
        policy: an SB3 policy in eval mode.
        costs: expected cost units of nohelp and of each intervention, ``(K + 1,)``.
        cap: cost units that an episode may spend at the most (``HelpBudget``), or None.
        offset: gain added per cost unit; the knob.
        settings: how the policy's network was made.
        info: what is known about its training.
    """

    role = "baseline"
    minor = True
    needs_cap = False
    knob_bounds: tuple[float, float] = (-20.0, 20.0)  # with one intervention at cost 1
    knob_step: float = 0.5
    algorithm: ClassVar[str]
    module: ClassVar[str] = "stable_baselines3"
    policy_name: ClassVar[str] = "MultiInputPolicy"
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
    ) -> None:
        self.policy = policy
        self.costs = tuple(map(float, costs))
        self.cap = cap
        self.offset = float(offset)
        self.settings = dict(settings or self.network)
        self.info = dict(info or {})
        self._set_weights(self.costs[1:])

    def _set_weights(self, weights: Sequence[float]) -> None:
        """``(K,)``: by how much each intervention's gain moves per unit of the knob."""
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
        seed: int = 0,
        num_envs: int = 16,
        progress: bool = True,
        **arguments: Any,
    ) -> Self:
        """Reinforcement learning on ``success - help_cost * cost units``, with p(s) left out of the features.

        Args:
            env: keyword arguments of ``selfreg/Intervention-v0``.
            tasks: training tasks, each episode draws one; None draws from the whole split.
            help_cost: r.
            steps: decisions that are played, over all rows.
            cap: a hard budget per episode (``HelpBudget``), or None.
            seed: of the network, the tasks and the episodes.
            num_envs: rows.
            progress: show a bar.
            **arguments: of the algorithm, over its ``defaults``.

        Raises:
            InvalidArgumentError: invalid steps or tasks, or sb3-contrib is needed and missing.
        """
        from selfreg_gym.intervention_env.building import build_task
        from selfreg_gym.intervention_env.vector_env import InterventionVectorEnv, to_sb3
        from selfreg_gym.lm.loading import one_thread

        if steps < 1 or (tasks is not None and len(tasks) == 0):
            raise InvalidArgumentError(
                f"a training needs steps and tasks, received steps={steps!r} and "
                f"{'no' if tasks is not None else 'all'} tasks."
            )
        one_thread()
        kwargs = {**env, "help_cost": help_cost, "autoreset_mode": "SameStep"}
        task, task_kwargs = kwargs.pop("task"), kwargs.pop("task_kwargs", None)
        vector = InterventionVectorEnv(num_envs, lambda: _DrawnTasks(build_task(task, task_kwargs), tasks), **kwargs)
        costs = (0.0, *(intervention.cost for intervention in vector.interventions))
        algorithm = cls._load_algorithm()
        begun = time.monotonic()
        with _own_randomness():
            model = algorithm(
                cls.policy_name,
                to_sb3(_wrap(vector, cap)),
                seed=seed,
                policy_kwargs=dict(cls.network),
                device="cpu",
                **{**cls.defaults, **arguments},
            )
            with progress_bar(cls.algorithm, steps, shown=progress) as update:

                def show(*_: Any) -> bool:
                    update(min(model.num_timesteps, steps))
                    return True

                model.learn(steps, callback=show)
        info = {
            "help_cost": float(help_cost),
            "steps": int(model.num_timesteps),
            "tasks": None if tasks is None else len(tasks),
            "seed": seed,
            "arguments": {name: repr(value) for name, value in {**cls.defaults, **arguments}.items()},
            "seconds": round(time.monotonic() - begun, 1),
        }
        model.policy.set_training_mode(False)
        return cls(model.policy, costs=costs, cap=cap, info=info)

    @classmethod
    def made_in(cls, run: Path) -> bool:
        """Whether a run has trained it (``rl.algorithms`` in its config)."""
        return (Path(run) / "rl" / cls._name() / _FILE).is_file()

    @classmethod
    def from_run(cls, run: Path, *, budget: float | None = None, seed: int = 0) -> Self:
        """What the run has trained.

        Raises:
            CheckpointError: the run has trained none.
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
        """Return itself, if these are as many interventions at the same costs as in its training.

        Raises:
            InvalidArgumentError: their number or their costs differ.
        """
        check_costs(self, len(self.costs) - 1, self.costs[1:], interventions)
        return self

    def wrap(self, env: Any) -> Any:
        """The env that shows features, under the hard budget that it was trained with, if any."""
        return _wrap(env, self.cap)

    def decide(self, observations: Any, state: Any, start: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Any]:
        """Take the best action for each dict of features; ties are nohelp."""
        import torch

        if not isinstance(observations, Mapping):
            raise InvalidArgumentError(f"{self._name()} reads features, not text: play it in wrap(env).")
        with torch.inference_mode():
            tensors = {name: torch.as_tensor(values) for name, values in observations.items()}
            values, state = self._values(tensors, state, start)
        gain = (values[:, 1:] - values[:, :1]).double().numpy()
        if self.cap is not None:
            left = observations["scalars"][:, 2:3]
            gain = np.where(np.asarray(self.costs[1:]) <= left + 1e-6, gain, -np.inf)
        return best_action(gain, self.offset, self._weights), state

    def batch_size(self, observation: Any, episode_start: NDArray[np.bool_] | None) -> int | None:
        """A single observation has its scalars in a vector."""
        if not isinstance(observation, Mapping):
            return super().batch_size(observation, episode_start)
        return None if np.ndim(observation["scalars"]) == 1 else len(observation["scalars"])

    @abstractmethod
    def _values(self, observation: Any, state: Any, start: np.ndarray) -> tuple[Any, Any]:
        """``(N, K + 1)`` what each action is worth (up to a constant of the row), and the memory."""

    def save_pretrained(self, path: str | Path) -> None:
        """Write the weights (safetensors) and, last, ``rl.json``. No pickle, unlike SB3's own zip."""
        from safetensors.torch import save_file

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).unlink(missing_ok=True)
        weights = {name: tensor.detach().contiguous().clone() for name, tensor in self.policy.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        record = {
            "format": _FORMAT if self._weights == self.costs[1:] else _OLDER,
            "algorithm": self.algorithm,
            "costs": list(self.costs),
            "cap": self.cap,
            "offset": self.offset,
            "settings": self.settings,
            "info": self.info,
        }
        (folder / _FILE).write_text(dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Load what :meth:`save_pretrained` wrote.

        Raises:
            CheckpointError: the directory holds none, an unfinished or damaged one, or that of another algorithm.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from selfreg_gym.wrappers.features import feature_space

        file = Path(path) / _FILE
        if not file.is_file():
            raise CheckpointError(
                f"a {cls._name()} helper is a directory with {_FILE} (as save_pretrained writes it), received "
                f"{str(path)!r}, which has none. A run trains one with --set rl.algorithms=['{cls._name()}']."
            )
        names = ("costs", "cap", "offset", "settings", "info")
        record = read_object(
            file,
            what="the record of an RL helper",
            remedy="copy the directory again, or train again",
            keys=("format", "algorithm", *names),
        )
        form = (record["format"], record["algorithm"])
        known = {name: record[name] for name in names}
        sound = {
            "at least 2 numbers": isinstance(known["costs"], list)
            and len(known["costs"]) > 1
            and all(map(is_number, known["costs"])),
            "a number or null": known["cap"] is None or is_number(known["cap"]),
            "a number": is_number(known["offset"]),
            "an object": isinstance(known["settings"], dict),
            "an object ": isinstance(known["info"], dict),
        }
        for (name, value), (rule, holds) in zip(known.items(), sound.items(), strict=True):
            if not holds:
                received = repr(value)[:100]
                raise CheckpointError(
                    f"{name!r} in {str(file)!r} must be {rule.strip()}, received {received}: train again."
                )
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
        if form not in ((_FORMAT, cls.algorithm), (_OLDER, cls.algorithm)):
            raise CheckpointError(f"{str(file)!r} holds {form}, expected {(_FORMAT, cls.algorithm)}: train again.")
        policy_class = cls._load_algorithm().policy_aliases[cls.policy_name]
        actions = gym.spaces.Discrete(len(known["costs"]))
        try:
            policy = policy_class(feature_space(), actions, lambda _: 0.0, **known["settings"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"'settings' in {str(file)!r} must be arguments of {policy_class.__name__}, received "
                f"{repr(known['settings'])[:200]} ({error}): train again."
            ) from error
        try:
            policy.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{str(path)!r}: the weights do not fit the network: {error}: copy the directory again, or train again."
            ) from error
        policy.set_training_mode(False)
        helper = cls(policy, **known)
        if form[0] == _OLDER:
            helper._set_weights([1.0] * (len(helper.costs) - 1))
        return helper

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


def _wrap(env: Any, cap: float | None) -> Any:
    from selfreg_gym.wrappers import FeatureObservation, HelpBudget

    return FeatureObservation(env if cap is None else HelpBudget(env, cap))


class _DrawnTasks(gym.Wrapper):  # type: ignore[type-arg]
    """An episode without a task index gets one of ``tasks``, drawn from the episode's seed."""

    def __init__(self, env: Any, tasks: Sequence[int] | None) -> None:
        super().__init__(env)
        self._tasks = tasks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self._tasks is not None and (options is None or "episode" not in options):
            drawn = int(stream(TRAINING_TASKS, 0 if seed is None else seed).integers(len(self._tasks)))
            options = {**(options or {}), "episode": int(self._tasks[drawn])}
        return self.env.reset(seed=seed, options=options)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """SB3 seeds the global generators of Python, NumPy and torch: put them back afterwards."""
    import random

    import torch

    python, old = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(old)  # noqa: NPY002
