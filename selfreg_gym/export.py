"""Stored episodes in the formats of others: Parquet, Hugging Face ``datasets``, Minari.

Each needs a package that is not among the core dependencies; without it the error says what to install.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from selfreg_gym.errors import InvalidArgumentError, MissingPackageError
from selfreg_gym.spaces import FreeText
from selfreg_gym.types import Episode

__all__ = ["rows", "to_hf_dataset", "to_minari", "to_parquet"]

_ROWS_AT_ONCE = 16_384
_NOTHING = "there is no episode to export: the store is empty, or the filter fits none."


def rows(episodes: Iterable[Episode]) -> Iterator[dict[str, Any]]:
    """One flat dict per transition, the facts of its episode repeated; ``usage`` are cost units per intervention."""
    for number, e in enumerate(episodes):
        for s in e.steps:
            yield {
                "episode": number,
                "t": s.t,
                "task": e.episode,
                "task_id": e.task_id,
                "kind": e.kind,
                "seed": e.seed,
                "help_probability": e.help_probability,
                "success": e.success,
                "usage": list(e.usage),
                "observation": s.observation,
                "admissible_actions": None if s.admissible_actions is None else list(s.admissible_actions),
                "state_key": s.state_key,
                "feature_key": s.feature_key,
                "steps_left": s.steps_left,
                "action": s.action,
                "action_text": s.action_text,
                "cost": s.cost,
                "reward": s.reward,
                "terminated": s.terminated,
                "truncated": s.truncated,
                "invalid": s.invalid,
                "tokens": s.tokens,
                "price": s.price,
            }


def to_parquet(episodes: Iterable[Episode], path: Path) -> Path:
    """Write one Parquet file with a row per transition; only some thousand rows are in memory.

    Args:
        episodes: what to write; ``episode`` in the file numbers them from 0.
        path: the file, replaced only when the new one is whole.

    Returns:
        ``path``.

    Raises:
        MissingPackageError: pyarrow is not installed.
        InvalidArgumentError: there is no episode to write.
    """
    arrow = _imported("pyarrow", "data")
    parquet = _imported("pyarrow.parquet", "data")
    schema = _arrow_schema(arrow)
    draft = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    source, written = rows(episodes), 0
    try:
        with parquet.ParquetWriter(draft, schema, compression="zstd") as writer:
            while chunk := list(islice(source, _ROWS_AT_ONCE)):
                writer.write_table(arrow.Table.from_pylist(chunk, schema=schema))
                written += len(chunk)
        if not written:
            raise InvalidArgumentError(_NOTHING)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def to_hf_dataset(episodes: Iterable[Episode]) -> Any:
    """Make a ``datasets.Dataset`` in memory with the columns of the Parquet file.

    Raises:
        MissingPackageError: ``datasets`` or pyarrow is not installed.
    """
    datasets = _imported("datasets", "hf")
    arrow = _imported("pyarrow", "data")
    return datasets.Dataset(arrow.Table.from_pylist(list(rows(episodes)), schema=_arrow_schema(arrow)))


def to_minari(spec: dict[str, Any], episodes: Iterable[Episode], dataset_id: str) -> Any:
    """Make a Minari dataset: observations and actions as in ``selfreg/Intervention-v0``, the rest in ``infos``.

    Minari wants one more observation than actions; what is seen after the last action is not stored (nobody decides
    there), so it is the empty string. Ragged values (``admissible_actions``) are one JSON string each. Tokens
    and prices that nobody counted are -1 and NaN.

    Args:
        spec: the store's spec, kept as the dataset's description.
        episodes: what to write, read into memory.
        dataset_id: ``namespace/name-v0``.

    Raises:
        MissingPackageError: Minari is not installed.
        InvalidArgumentError: there is no episode to write.
    """
    minari = _imported("minari", "minari")
    buffers = []
    interventions = 0
    for number, e in enumerate(episodes):
        interventions = len(e.usage)
        infos = {
            "task_id": [e.task_id] * (len(e) + 1),
            "state_key": [s.state_key for s in e.steps] + [""],
            "feature_key": [s.feature_key or "" for s in e.steps] + [""],
            "admissible_actions": [json.dumps(s.admissible_actions) for s in e.steps] + ["null"],
            "action_text": ["", *(s.action_text for s in e.steps)],
            "cost": np.array([0.0, *(s.cost for s in e.steps)]),
            "tokens": np.array([-1, *(-1 if s.tokens is None else s.tokens for s in e.steps)]),
            "price": np.array([np.nan, *(np.nan if s.price is None else s.price for s in e.steps)]),
            "invalid_action": np.array([False, *(s.invalid for s in e.steps)]),
            "success": np.array([False] * len(e) + [e.success]),
        }
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=number,
                seed=e.seed,
                options={"episode": e.episode},
                observations=[s.observation for s in e.steps] + [""],
                actions=[s.action for s in e.steps],
                rewards=[s.reward for s in e.steps],
                terminations=[s.terminated for s in e.steps],
                truncations=[s.truncated for s in e.steps],
                infos=infos,
            )
        )
    if not buffers:
        raise InvalidArgumentError(_NOTHING)
    from gymnasium.spaces import Discrete

    return minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        observation_space=FreeText(),
        action_space=Discrete(1 + interventions),
        description=json.dumps(spec),
    )


def _arrow_schema(arrow: Any) -> Any:
    """The columns of :func:`rows`, in its order."""
    number, real, flag, text = arrow.int64(), arrow.float64(), arrow.bool_(), arrow.string()
    return arrow.schema(
        {
            "episode": number,
            "t": number,
            "task": number,
            "task_id": text,
            "kind": text,
            "seed": number,
            "help_probability": real,
            "success": flag,
            "usage": arrow.list_(real),
            "observation": text,
            "admissible_actions": arrow.list_(text),
            "state_key": text,
            "feature_key": text,
            "steps_left": number,
            "action": number,
            "action_text": text,
            "cost": real,
            "reward": real,
            "terminated": flag,
            "truncated": flag,
            "invalid": flag,
            "tokens": number,
            "price": real,
        }
    )


def _imported(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise MissingPackageError(
            f"this export needs the package {package!r}, which is not installed: "
            f"pip install 'selfreg-gym[{extra}]' (or pip install {package})."
        ) from error
