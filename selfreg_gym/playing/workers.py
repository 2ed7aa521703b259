"""Worker processes: a pool that runs the shards of a job, and a single call in the background.

The pools of the standard library return a shard only when all of it is finished, leave processes behind on Ctrl-C, and
report "terminated abruptly" without the shard that was lost. This pool, on ``multiprocessing`` pipes, streams results.

Processes are spawned, never forked: a fork of a process that has used torch or Numba may deadlock. They run with one
thread each (OpenMP threads that busy-wait on shared cores are many times slower), ignore Ctrl-C (the parent ends them),
and end by themselves when the parent is killed.
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
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from selfreg_gym.errors import InvalidArgumentError, WorkerError

__all__ = ["ProcessPool", "background", "results_of"]

# BLAS, OpenMP, Numba, torch and tokenizers read these when they are loaded, so they are set before a worker starts.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_GRACE_SECONDS = 2.0  # between asking a process to end and killing it


class ProcessPool:
    """Runs shards in ``workers`` processes (:func:`selfreg_gym.playing.executor.run_sharded`)."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, function: Callable[[Any], Any], shards: Sequence[Any], on_result: Callable[[Any], None]) -> None:
        """Call ``function(shard)`` for every shard; see :func:`selfreg_gym.playing.executor.run_sharded`."""
        sent = _pickled(function, "the function")
        queue = [_pickled(shard, f"shard {i}") for i, shard in enumerate(shards)]
        with _processes(min(self.workers, len(shards)), sent) as processes:
            _run_queue(processes, queue, on_result)


@contextlib.contextmanager
def background(function: Callable[[Any], Any], argument: Any) -> Iterator[Callable[[], Any]]:
    """Call ``function(argument)`` in another process while the block runs.

    Args:
        function: importable from a module.
        argument: picklable.

    Yields:
        A function that waits for the result and returns it; call it once. If the block ends without calling it, the
        process is ended.

    Raises:
        As :func:`selfreg_gym.playing.executor.run_sharded`.
    """
    sent, shard = _pickled(function, "the function"), _pickled(argument, "its argument")
    with _processes(1, sent) as processes:
        (pipe,) = processes
        with contextlib.suppress(ConnectionError):  # the pipe holds it until the process is ready
            pipe.send_bytes(shard)

        def result() -> Any:
            what, payload = "ready", None
            while what != "result":
                what, payload = _receive(pipe, processes[pipe], 0)
            return payload

        yield result


def _run_queue(processes: dict[Connection, Any], queue: Sequence[bytes], on_result: Callable[[Any], None]) -> None:
    """Keep every process busy until all shards are finished."""
    waiting = iter(enumerate(queue))
    current: dict[Connection, int | None] = dict.fromkeys(processes)  # each process's shard, None before the first
    while current:
        for pipe in wait(list(current)):
            assert isinstance(pipe, Connection)
            what, payload = _receive(pipe, processes[pipe], current[pipe])
            if what == "result":
                on_result(payload)
            else:  # "ready" for the next shard
                index, shard = next(waiting, (None, None))
                if shard is None:
                    del current[pipe]
                else:
                    current[pipe] = index
                    with contextlib.suppress(ConnectionError):  # a dead process is noticed at the next wait
                        pipe.send_bytes(shard)


def _receive(pipe: Connection, process: Any, shard: int | None) -> tuple[str, Any]:
    """The next message of a process: ``("ready", None)`` or ``("result", value)``; its error or death is raised."""
    try:
        what, payload = pickle.loads(pipe.recv_bytes())
    except (EOFError, ConnectionError):
        raise _death(process, shard) from None
    if what == "error":
        raise _remote_error(*payload, shard=shard)
    return what, payload


@contextlib.contextmanager
def _processes(count: int, function: bytes) -> Iterator[dict[Connection, Any]]:
    """Start ``count`` processes; all have ended when the block is left, for whatever reason."""
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection, Any] = {}
    # multiprocessing unblocks SIGINT when it starts its resource tracker, so the tracker is started first.
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()
    try:
        with _one_thread(), _sigint_blocked():  # a spawned process inherits both
            for number in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, function), name=f"selfreg-worker-{number}", daemon=True
                )
                process.start()
                theirs.close()  # so that the pipe closes when the process dies
                processes[ours] = process
        yield processes
    finally:
        for pipe in processes:
            pipe.close()  # a process that waits for a shard then ends by itself
        if sys.exc_info()[0] is not None:
            for process in processes.values():
                process.terminate()
        for process in processes.values():
            process.join(_GRACE_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Set the environment variables within the block."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name in before:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Delay a Ctrl-C until the block ends. A process that is started in the block never receives one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remote_error(data: bytes | None, text: str, trace: str, *, shard: int | None) -> BaseException:
    """The exception of a worker, with the worker's traceback as its cause, so that both are printed."""
    where = "a worker process" if shard is None else f"a worker process, in shard {shard}"
    cause = WorkerError(f"in {where}:\n\n{trace}")
    if data is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(data)
            error.__cause__ = cause
            return error
    failure = WorkerError(f"{where} raised {text}, which cannot be pickled.")
    failure.__cause__ = cause
    return failure


def _death(process: Any, shard: int | None) -> WorkerError:
    """The error for a process whose pipe closed."""
    process.join(_GRACE_SECONDS)
    code = process.exitcode
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            code = f"signal {signal.Signals(-code).name}"
    how = f"ended by {code}" if isinstance(code, str) else f"ended with exit code {code}"
    if shard is None:
        return WorkerError(
            f"a worker process could not start ({how}). A script that uses workers > 1 must keep its own work under "
            "`if __name__ == '__main__':`, because each worker imports the script."
        )
    return WorkerError(
        f"a worker process was {how} during shard {shard}: it ran out of memory or was killed. Delivered results are "
        "kept; run again for the remaining ones, with fewer workers if memory is short."
    )


def _work(pipe: Connection, function: bytes) -> None:
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
                pipe.send_bytes(_pickled(("result", result), "a result of the function", protocol=5))
            _limit_torch()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more shards, or has ended
    except BaseException as error:
        text = traceback.format_exc()
        with contextlib.suppress(OSError):
            pipe.send_bytes(pickle.dumps(("error", (_picklable(error), repr(error), text))))


def results_of(function: Callable[[Any], Any], shard: Any) -> Iterator[Any]:
    """The results of one shard: each item of a generator, or the one value."""
    value = function(shard)
    if inspect.isgenerator(value):
        yield from value
    else:
        yield value


def _pickled(value: Any, what: str, protocol: int | None = None) -> bytes:
    """The value as bytes, or an ``InvalidArgumentError`` about ``what``."""
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


def _picklable(error: BaseException) -> bytes | None:
    """The exception as bytes that can be loaded again, or None (some exceptions cannot be rebuilt)."""
    with contextlib.suppress(Exception):
        data = pickle.dumps(error)
        pickle.loads(data)
        return data
    return None
