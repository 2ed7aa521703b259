"""Exports of stored episodes: Parquet, Hugging Face ``datasets``, Minari.

Each export needs an optional package; the error has the command that installs it. Files are written to a temporary
path and moved when they are complete, so a failed export leaves no files. Characters that a format cannot hold become
U+FFFD: lone surrogates in all formats, and NUL in Minari (HDF5).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import string
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, Text

from selfreg_gym.errors import InvalidArgumentError, SelfRegError, StoreError, shown
from selfreg_gym.types import Episode
from selfreg_gym.utils.files import atomic_path
from selfreg_gym.utils.optional_packages import optional_package
from selfreg_gym.utils.printable import repaired

__all__ = ["rows", "to_hf_dataset", "to_minari", "to_parquet"]

_CHUNK = 16_384
_LETTERS = string.ascii_letters + string.digits + string.punctuation + " \n"
_COLUMNS = (
    "episode t task task_id kind seed help_probability success usage observation admissible_actions state_key "
    "feature_key steps_left action action_text cost reward terminated truncated invalid tokens price actor_logprobs "
    "feature_vector propensities continuation"
).split()
_NO_EPISODES = "there is no episode to export: the store is empty, or no episode meets the filter."


def rows(episodes: Iterable[Episode]) -> Iterator[dict[str, Any]]:
    """One flat dict per transition, with the values of its episode; ``usage`` has the cost units per intervention."""
    for number, e in enumerate(episodes):
        for s in e.steps:
            yield {
                "episode": number,
                "t": s.t,
                "task": e.task_index,
                "task_id": repaired(e.task_id),
                "kind": repaired(e.kind),
                "seed": e.seed,
                "help_probability": e.help_probability,
                "success": e.success,
                "usage": list(e.usage),
                "observation": repaired(s.observation),
                "admissible_actions": _repaired_list(s.admissible_actions),
                "state_key": repaired(s.state_key),
                "feature_key": None if s.feature_key is None else repaired(s.feature_key),
                "steps_left": s.steps_left,
                "action": s.action,
                "action_text": repaired(s.action_text),
                "cost": s.cost,
                "reward": s.reward,
                "terminated": s.terminated,
                "truncated": s.truncated,
                "invalid": s.invalid,
                "tokens": s.tokens,
                "price": s.reported_cost,
                "actor_logprobs": None if s.actor_logprobs is None else list(s.actor_logprobs),
                "feature_vector": None if s.feature_vector is None else list(s.feature_vector),
                "propensities": None if s.propensities is None else list(s.propensities),
                "continuation": s.continuation,
            }


def to_parquet(episodes: Iterable[Episode], path: Path) -> Path:
    """Write a Parquet file with one row per transition; only some thousand rows are in memory.

    Args:
        episodes: the episodes; the column ``episode`` numbers them from 0.
        path: the file, replaced only when the new file is complete.

    Returns:
        ``path``.

    Raises:
        MissingPackageError: pyarrow is not installed.
        InvalidArgumentError: no episodes.
        StoreError: the file cannot be written.
    """
    arrow = optional_package("pyarrow", user="this export", requirement="selfreg-gym[data]")
    parquet = optional_package("pyarrow.parquet", user="this export", requirement="selfreg-gym[data]")
    schema = _arrow_schema(arrow)
    source, written = rows(episodes), 0
    with _explained(path):
        if path.is_dir():
            raise StoreError(f"the path of a Parquet file must not be a folder, received the folder {path}.")
        with atomic_path(path) as temporary:
            with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
                while chunk := list(islice(source, _CHUNK)):
                    writer.write_table(arrow.Table.from_pylist(chunk, schema=schema))
                    written += len(chunk)
            if not written:
                raise InvalidArgumentError(_NO_EPISODES)
    return path


@contextlib.contextmanager
def _explained(target: object) -> Iterator[None]:
    """Convert errors of libraries and of the file system into a ``StoreError`` with the target."""
    try:
        yield
    except SelfRegError:
        raise
    except Exception as error:
        raise StoreError(
            f"the export to {target} failed and left no files: {type(error).__name__}: {shown(str(error))}."
        ) from error


def to_hf_dataset(episodes: Iterable[Episode]) -> Any:
    """Make a ``datasets.Dataset`` in memory with the columns of the Parquet file.

    Raises:
        MissingPackageError: ``datasets`` or pyarrow is not installed.
    """
    datasets = optional_package("datasets", user="this export", requirement="selfreg-gym[hf]")
    arrow = optional_package("pyarrow", user="this export", requirement="selfreg-gym[data]")
    with _explained("a Hugging Face dataset"):
        return datasets.Dataset(arrow.Table.from_pylist(list(rows(episodes)), schema=_arrow_schema(arrow)))


def to_minari(spec: dict[str, Any], episodes: Iterable[Episode], dataset_id: str) -> Any:
    """Make a Minari dataset: observations and actions as in ``selfreg/Intervention-v0``, other values in ``infos``.

    Minari needs one more observation than actions. The observation after the last action is not stored, because no
    decision is made there, so it is the empty string. ``admissible_actions`` and ``actor_logprobs`` (if there are any)
    are JSON strings, with null for a probability of 0. ``feature_vector`` is there if the task reports it, and
    ``propensities`` if they are known at every step, with NaN in the last row. Tokens that were not counted are -1,
    costs that were not reported NaN. The observation space is a Gymnasium ``Text`` with the occurring characters and
    the maximal length, so it contains every observation also after loading.

    Args:
        spec: the store's spec, the description of the dataset.
        episodes: the episodes; all are in memory.
        dataset_id: ``namespace/name-v0``.

    Raises:
        MissingPackageError: Minari is not installed.
        InvalidArgumentError: no episodes, or ``dataset_id`` is malformed.
        StoreError: the dataset exists, or it cannot be written; a failed export leaves no files.
    """
    minari = optional_package("minari", user="this export", requirement="selfreg-gym[minari]")
    target = _minari_target(dataset_id)
    buffers = []
    interventions = 0
    episodes = list(episodes)
    with_logprobs = any(s.actor_logprobs is not None for e in episodes for s in e.steps)
    lists = [
        name
        for name in ("feature_vector", "propensities")
        if all(getattr(s, name) is not None for e in episodes for s in e.steps)
    ]
    for number, e in enumerate(episodes):
        interventions = len(e.usage)
        infos = {
            "task_id": [_without_nul(e.task_id)] * (len(e) + 1),
            "state_key": [_without_nul(s.state_key) for s in e.steps] + [""],
            "feature_key": [_without_nul(s.feature_key or "") for s in e.steps] + [""],
            "admissible_actions": [json.dumps(_repaired_list(s.admissible_actions)) for s in e.steps] + ["null"],
            "action_text": ["", *(_without_nul(s.action_text) for s in e.steps)],
            "cost": np.array([0.0, *(s.cost for s in e.steps)]),
            "tokens": np.array([-1, *(-1 if s.tokens is None else s.tokens for s in e.steps)]),
            "price": np.array([np.nan, *(np.nan if s.reported_cost is None else s.reported_cost for s in e.steps)]),
            "invalid_action": np.array([False, *(s.invalid for s in e.steps)]),
            "continuation": np.array([False, *(s.continuation for s in e.steps)]),
            "success": np.array([False] * len(e) + [e.success]),
        }
        if with_logprobs:
            infos["actor_logprobs"] = [*(_logprobs_json(s.actor_logprobs) for s in e.steps), "null"]
        for name in lists:
            vectors = [getattr(s, name) for s in e.steps]
            infos[name] = np.array([*vectors, np.full(len(vectors[0]), np.nan)], np.float32)
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=number,
                seed=e.seed,
                options={"episode": e.task_index},
                observations=[_without_nul(s.observation) for s in e.steps] + [""],
                actions=[s.action for s in e.steps],
                rewards=[s.reward for s in e.steps],
                terminations=[s.terminated for s in e.steps],
                truncations=[s.truncated for s in e.steps],
                infos=infos,
            )
        )
    if not buffers:
        raise InvalidArgumentError(_NO_EPISODES)
    texts = [text for buffer in buffers for text in buffer.observations]
    space = Text(max(1, *map(len, texts)), min_length=0, charset="".join(sorted({*" ".join(texts), *_LETTERS})))
    with _explained(f"the Minari dataset {dataset_id!r}"), _moved_when_complete(target, dataset_id):
        minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            observation_space=space,
            action_space=Discrete(1 + interventions + any(e.aborted for e in episodes)),
            description=json.dumps(spec, allow_nan=False),
        )
    return minari.load_dataset(dataset_id)


def _minari_target(dataset_id: str) -> Path:
    """The folder of a new dataset; raises if the id is malformed or the dataset exists (:func:`to_minari`)."""
    dataset = importlib.import_module("minari.dataset.minari_dataset")
    roots = importlib.import_module("minari.storage.datasets_root_dir")
    rule = "the id of a Minari dataset must be like 'namespace/name-v0' (letters, digits, '-', '_')"
    try:
        dataset.parse_dataset_id(dataset_id)
        with _explained("Minari's folder of datasets"):
            target, root = Path(roots.get_dataset_path(dataset_id)), Path(roots.get_dataset_path())
    except (ValueError, TypeError):
        raise InvalidArgumentError(f"{rule}, received {shown(dataset_id)}.") from None
    if not target.resolve().is_relative_to(root.resolve()):
        raise InvalidArgumentError(f"{rule}, received {shown(dataset_id)}, which is outside {root}.")
    if target.exists():
        raise StoreError(
            f"the Minari dataset {dataset_id!r} already exists in {root}: choose another name or version, or delete it "
            f"with minari.delete_dataset({dataset_id!r})."
        )
    return target


@contextlib.contextmanager
def _moved_when_complete(target: Path, dataset_id: str) -> Iterator[None]:
    """Let Minari write into a temporary root, and move the dataset to ``target`` when it is complete."""
    roots = importlib.import_module("minari.storage.datasets_root_dir")
    namespaces = importlib.import_module("minari.namespace")
    root = Path(roots.get_dataset_path())
    before = os.environ.get("MINARI_DATASETS_PATH")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=root, ignore_cleanup_errors=True) as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["MINARI_DATASETS_PATH"]
            else:
                os.environ["MINARI_DATASETS_PATH"] = before
        namespace = dataset_id.rpartition("/")[0]
        if namespace and namespace not in namespaces.list_local_namespaces():
            namespaces.create_namespace(namespace)
        target.parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / dataset_id).rename(target)


def _repaired_list(actions: Iterable[str] | None) -> list[str] | None:
    return None if actions is None else [repaired(action) for action in actions]


def _logprobs_json(logprobs: Sequence[float] | None) -> str:
    return json.dumps(None if logprobs is None else [x if math.isfinite(x) else None for x in logprobs])


def _without_nul(text: str) -> str:
    """The text with U+FFFD in place of NUL and lone surrogates, which HDF5 cannot hold."""
    return repaired(text).replace("\0", "\ufffd")


def _arrow_schema(arrow: Any) -> Any:
    """The columns of :func:`rows`, in its order."""
    types = {
        **dict.fromkeys("task_id kind observation state_key feature_key action_text".split(), arrow.string()),
        **dict.fromkeys(("help_probability", "cost", "reward", "price"), arrow.float64()),
        **dict.fromkeys(("success", "terminated", "truncated", "invalid", "continuation"), arrow.bool_()),
        "usage": arrow.list_(arrow.float64()),
        "admissible_actions": arrow.list_(arrow.string()),
        **dict.fromkeys(("actor_logprobs", "feature_vector", "propensities"), arrow.list_(arrow.float32())),
    }
    return arrow.schema({name: types.get(name, arrow.int64()) for name in _COLUMNS})
