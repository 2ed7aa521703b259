"""``run_sharded`` runs the shards of a job, in this process or in a pool of processes.

A job is a function and a list of shards. The function is called once per shard, and each result is passed to the caller
*as soon as it arrives*, so that the caller can store it: results that were delivered before a Ctrl-C or a crash are
kept. Another place for the work (a cluster) is one more class with the method ``run`` of ``ProcessPool``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from selfreg_gym.playing.workers import ProcessPool, results_of
from selfreg_gym.utils.arguments import check_count

__all__ = ["run_sharded"]


def run_sharded(
    function: Callable[[Any], Any], shards: Sequence[Any], *, workers: int, on_result: Callable[[Any], None]
) -> None:
    """Call ``function(shard)`` for every shard, in ``workers`` processes; the results do not depend on ``workers``.

    Args:
        function: if it is a generator function, each item that it yields is one result, delivered at once. With
            ``workers > 1`` it must be importable from a module (not a lambda, not defined inside a function) and is
            sent to each worker *once*: an object with ``__call__`` can build what is expensive (an env, a model) at
            its first shard and keep it for the next ones.
        shards: arguments of ``function``, picklable when ``workers > 1``. The next shard goes to the first idle worker.
        workers: number of processes; 1 runs everything in this process.
        on_result: called in this process with each result. If it raises, the workers are ended and the exception
            propagates.

    Raises:
        InvalidArgumentError: ``workers < 1``, or ``function`` or a shard cannot be pickled.
        WorkerError: a worker process died (the message has its signal or exit code), or a result cannot be pickled.
        Exception: whatever ``function`` raised, with the traceback of the worker as its cause.
        KeyboardInterrupt: on Ctrl-C, after all workers have ended.
    """
    if check_count("workers", workers) > 1:
        ProcessPool(workers).run(function, list(shards), on_result)
        return
    for shard in shards:
        for result in results_of(function, shard):
            on_result(result)
