"""The code of a worker process: receive shards, send results and errors, end with the parent.

A worker runs with one thread (OpenMP threads that busy-wait on shared cores make several workers much slower than one
thread each), ignores Ctrl-C (the parent ends it), and ends by itself when the parent is killed.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from selfreg_gym.errors import InvalidArgumentError

__all__ = ["pickled", "results_of", "work"]


def work(pipe: Connection, function: bytes) -> None:
    """Send ``("ready", None)``, receive a shard, send its results, and repeat until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all processes; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _limit_torch()
        loaded = pickle.loads(function)
        while True:
            pipe.send_bytes(pickle.dumps(("ready", None)))
            shard = pickle.loads(pipe.recv_bytes())
            for result in results_of(loaded, shard):
                pipe.send_bytes(pickled(("result", result), "a result of the function", protocol=5))
            _limit_torch()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more shards, or has ended
    except BaseException as error:
        text = traceback.format_exc()
        with contextlib.suppress(OSError):
            pipe.send_bytes(pickle.dumps(("error", (_pickled_error(error), repr(error), text))))


def results_of(function: Callable[[Any], Any], shard: Any) -> Iterator[Any]:
    """The results of one shard: each item of a generator, or the one value."""
    value = function(shard)
    if inspect.isgenerator(value):
        yield from value
    else:
        yield value


def pickled(value: Any, what: str, protocol: int | None = None) -> bytes:
    """The value as bytes; ``what`` names it in the message.

    Raises:
        InvalidArgumentError: it cannot be pickled.
    """
    try:
        return pickle.dumps(value, protocol=protocol)
    except Exception as error:
        raise InvalidArgumentError(
            f"other processes receive their work by pickle, and {what} cannot be pickled ({error}). Use a function "
            "defined at the top level of a module and plain values (ids, numbers, text), or workers=1."
        ) from error


def _limit_torch() -> None:
    """Set one thread in torch too: the main module may have loaded it before the environment variables were set."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _end_with_parent() -> None:
    """Wait for the parent to end, then exit at once: nothing can receive a result any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _pickled_error(error: BaseException) -> bytes | None:
    """The exception as bytes that can be loaded again, or None (some exceptions cannot be rebuilt)."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return None
    return data
