"""Work in processes of its own: a pool for everything that plays episodes, and one thing done beside another.

``run_sharded`` sends shards to children and hands each result to the parent *as it comes*, so that the parent can
write it down at once: what was finished before a Ctrl-C or a crash stays finished. The standard pools return a shard
only when all of it is done, leave children behind on Ctrl-C, and say "terminated abruptly" without saying which work
was lost; hence this one, on ``multiprocessing`` pipes.

Children are spawned, never forked (a fork of a process that has used torch or numba may deadlock), run with one
thread each (busy OpenMP teams that share cores are many times slower than one thread each), ignore Ctrl-C (the parent
ends them), and end by themselves when the parent is killed.
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
from selfreg_gym.utils.arguments import check_count

__all__ = ["beside", "check_workers", "run_sharded"]

# Read by BLAS, OpenMP, numba, torch and tokenizers when they load, so they must be there before the child imports.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_PATIENCE = 2.0  # seconds between asking a child to end and killing it


def run_sharded(
    function: Callable[[Any], Any],
    shards: Sequence[Any],
    *,
    workers: int,
    on_result: Callable[[Any], None],
) -> None:
    """Call ``function(shard)`` for every shard, in ``workers`` processes, and hand over the results as they come.

    ``function`` may be a generator function: then each item it yields is one result, delivered at once. It is sent
    to each child *once*, so an object with ``__call__`` can build what is dear (an env, a model) at its first shard
    and keep it for the next ones. Shards go to whichever child is free, in their order.

    Args:
        function: importable from a module (not a lambda, not defined inside a function), when ``workers > 1``.
        shards: what to call it with; picklable when ``workers > 1``.
        workers: how many processes; with 1 everything runs here, in this process, with the same results.
        on_result: called in this process with each result. If it raises, the children are ended and it propagates.

    Raises:
        InvalidArgumentError: ``workers < 1``, or ``function`` or a shard cannot be pickled.
        WorkerError: a child died (it says which signal or exit code), or sent what cannot be pickled.
        Exception: whatever ``function`` raised, with the child's traceback as its cause.
        KeyboardInterrupt: on Ctrl-C, after all children have ended.
    """
    workers = check_workers(workers)
    shards = list(shards)
    if workers == 1:
        for shard in shards:
            for result in _results(function, shard):
                on_result(result)
        return
    task = _pickled(function, "the function")
    todo = [_pickled(shard, f"shard {i}") for i, shard in enumerate(shards)]
    with _children(min(workers, len(shards)), task) as children:
        _drive(children, todo, on_result)


@contextlib.contextmanager
def beside(function: Callable[[Any], Any], argument: Any) -> Iterator[Callable[[], Any]]:
    """Call ``function(argument)`` in a process of its own, while the block goes on with something else.

    Args:
        function: importable from a module.
        argument: picklable.

    Yields:
        A function that waits for the result and returns it; to be called once. A block that ends without calling it
        ends the process.

    Raises:
        As :func:`run_sharded`.
    """
    task, shard = _pickled(function, "the function"), _pickled(argument, "its argument")
    with _children(1, task) as children:
        (pipe,) = children
        with contextlib.suppress(ConnectionError):  # it waits in the pipe until the child is ready for it
            pipe.send_bytes(shard)

        def result() -> Any:
            what, payload = "ready", None
            while what != "result":
                what, payload = _received(pipe, children[pipe], 0)
            return payload

        yield result


def check_workers(workers: int) -> int:
    """Return a number of processes as an int.

    Raises:
        InvalidArgumentError: ``workers`` is not an integer of at least 1.
    """
    return check_count("workers", workers)


def _drive(
    children: dict[Connection, Any],
    todo: Sequence[bytes],
    on_result: Callable[[Any], None],
) -> None:
    """Keep every child busy until all shards are done."""
    waiting = iter(enumerate(todo))
    at_work: dict[Connection, int | None] = dict.fromkeys(children)  # the shard each child has, None before its first
    while at_work:
        for pipe in wait(list(at_work)):
            assert isinstance(pipe, Connection)
            what, payload = _received(pipe, children[pipe], at_work[pipe])
            if what == "result":
                on_result(payload)
            else:  # "ready" for the next shard
                index, shard = next(waiting, (None, None))
                if shard is None:
                    del at_work[pipe]
                else:
                    at_work[pipe] = index
                    with contextlib.suppress(ConnectionError):  # a dead child is noticed at the next wait
                        pipe.send_bytes(shard)


def _received(pipe: Connection, child: Any, shard: int | None) -> tuple[str, Any]:
    """What a child says next: ``("ready", None)`` or ``("result", value)``; its error and its death are raised."""
    try:
        what, payload = pickle.loads(pipe.recv_bytes())
    except (EOFError, ConnectionError):
        raise _death(child, shard) from None
    if what == "error":
        raise _remote(*payload, shard=shard)
    return what, payload


@contextlib.contextmanager
def _children(count: int, task: bytes) -> Iterator[dict[Connection, Any]]:
    """Start ``count`` children and end them all on the way out, whatever happened."""
    context = multiprocessing.get_context("spawn")
    children: dict[Connection, Any] = {}
    # Starting its tracker, multiprocessing unblocks SIGINT: so it is started before SIGINT is blocked for the children.
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()
    try:
        with _one_thread(), _deaf_to_ctrl_c():  # a spawned child inherits both
            for number in range(count):
                ours, theirs = context.Pipe()
                child = context.Process(
                    target=_child, args=(theirs, task), name=f"selfreg-worker-{number}", daemon=True
                )
                child.start()
                theirs.close()  # so that the child's death closes the pipe
                children[ours] = child
        yield children
    finally:
        for pipe in children:
            pipe.close()  # a child that waits for a shard ends by itself
        if sys.exc_info()[0] is not None:
            for child in children.values():
                child.terminate()
        for child in children.values():
            child.join(_PATIENCE)
            if child.is_alive():
                child.kill()
                child.join()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Set the environment variables for the time of the block."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block; a child that begins inside never hears one, from its first moment."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _child(pipe: Connection, task: bytes) -> None:
    """The life of a child: say ready, take a shard, send its results, until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to all processes; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _limit_torch()
        function = pickle.loads(task)
        while True:
            pipe.send_bytes(pickle.dumps(("ready", None)))
            shard = pickle.loads(pipe.recv_bytes())
            for result in _results(function, shard):
                pipe.send_bytes(_pickled(("result", result), "a result of the function", protocol=5))
            _limit_torch()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more work, or is gone
    except BaseException as error:
        text = traceback.format_exc()
        with contextlib.suppress(OSError):
            pipe.send_bytes(pickle.dumps(("error", (_picklable(error), repr(error), text))))


def _results(function: Callable[[Any], Any], shard: Any) -> Iterator[Any]:
    """The results of one shard: each item of a generator, or the one value."""
    value = function(shard)
    if inspect.isgenerator(value):
        yield from value
    else:
        yield value


def _limit_torch() -> None:
    """One thread for torch too, should it have been loaded by the main module before the variables counted."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _end_with_parent() -> None:
    """Wait for the parent to end, and end at once: no process is left to receive a result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _pickled(value: Any, what: str, protocol: int | None = None) -> bytes:
    try:
        return pickle.dumps(value, protocol=protocol)
    except Exception as error:
        raise InvalidArgumentError(
            f"work travels to other processes by pickle, and {what} cannot be pickled ({error}). Use a function "
            "defined at the top level of a module and plain values (ids, numbers, text), or workers=1."
        ) from error


def _picklable(error: BaseException) -> bytes | None:
    """The exception as bytes that can be loaded again, or None (some exceptions cannot be rebuilt)."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return None
    return data


def _remote(data: bytes | None, text: str, trace: str, *, shard: int | None) -> BaseException:
    """The child's exception, with its traceback as cause, so that both are printed."""
    where = "a worker process" if shard is None else f"a worker process, in shard {shard}"
    cause = WorkerError(f"in {where}:\n\n{trace}")
    if data is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(data)
            error.__cause__ = cause
            return error
    failure = WorkerError(f"{where} raised {text}, which cannot be sent as it is.")
    failure.__cause__ = cause
    return failure


def _death(child: Any, shard: int | None) -> WorkerError:
    """What to say of a child whose pipe closed."""
    child.join(_PATIENCE)
    code = child.exitcode
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
        f"a worker process was {how} during shard {shard}; out of memory or killed from outside. "
        "What had been delivered is kept; run again to do the rest, with fewer workers if memory is short."
    )
