"""The process pool: streamed results, the same results with one process or several, and every failure of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path

import pytest

from selfreg_gym.errors import InvalidArgumentError, UnknownNameError, WorkerError
from selfreg_gym.playing.executor import run_sharded
from selfreg_gym.playing.workers import background


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A real module with the functions that children run."""
    (tmp_path / "worker_jobs.py").write_text(textwrap.dedent(JOBS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "worker_jobs", raising=False)
    import worker_jobs

    yield worker_jobs
    sys.modules.pop("worker_jobs", None)


JOBS = '''
    import os, signal, sys, time
    from selfreg_gym.errors import UnknownNameError

    def square(x):
        return x * x

    def count_up(n):
        for i in range(n):
            yield (n, i)

    def answered(path):
        """Continues only when the parent has answered the first result."""
        yield path
        end = time.monotonic() + 20
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise TimeoutError("no answer")
            time.sleep(0.01)
        yield "answered"

    def wait_for(path):
        end = time.monotonic() + 20
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        return os.getpid() if os.path.exists(path) else None

    def fail(x):
        if x == 3:
            raise UnknownNameError("helper", "ranbom", ["random", "never"])
        return x

    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a}{b}")

    def fail_oddly(x):
        raise Odd("ab", "cd")

    def die(x):
        if x == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def unpicklable(x):
        return lambda: x

    def threads(x):
        import numpy, torch
        return os.environ["OMP_NUM_THREADS"], torch.get_num_threads(), os.getpid()

    class Builder:
        """Builds something expensive once per process."""
        built = 0
        def __init__(self):
            self.thing = None
        def __call__(self, x):
            if self.thing is None:
                self.thing = object()
                Builder.built += 1
            return os.getpid(), Builder.built

    def slow(x):
        yield x
        time.sleep(60)
'''


def gather(function, shards, workers) -> list:
    got: list = []
    run_sharded(function, shards, workers=workers, on_result=got.append)
    return got


@pytest.mark.parametrize("workers", [1, 3])
def test_every_result_arrives_once(jobs, workers: int) -> None:
    assert sorted(gather(jobs.square, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_generator_delivers_each_item_in_order(jobs, workers: int) -> None:
    got = gather(jobs.count_up, [3, 0, 2], workers)
    assert [item for item in got if item[0] == 3] == [(3, 0), (3, 1), (3, 2)]
    assert [item for item in got if item[0] == 2] == [(2, 0), (2, 1)]
    assert len(got) == 5


def test_results_stream_while_the_shard_is_still_running(jobs, tmp_path: Path) -> None:
    got = []

    def answer(result: str) -> None:
        got.append(result)
        if result != "answered":
            Path(result).touch()

    shards = [str(tmp_path / "a"), str(tmp_path / "b")]
    run_sharded(jobs.answered, shards, workers=2, on_result=answer)
    assert sorted(got) == [*shards, "answered", "answered"]


def test_background_work_runs_while_the_block_runs(jobs, tmp_path: Path) -> None:
    with background(jobs.wait_for, str(tmp_path / "sign")) as result:
        (tmp_path / "sign").touch()  # only the running block makes the file
        assert result() not in (None, os.getpid())


def test_background_work_that_fails_or_is_abandoned(jobs, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'random'"), background(jobs.fail, 3) as result:
        result()
    with pytest.raises(WorkerError, match="SIGKILL"), background(jobs.die, 1) as result:
        result()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), background(jobs.wait_for, str(tmp_path / "never")):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 15, "an interrupted block ends the background process"


def test_no_shards_is_no_work(jobs) -> None:
    assert gather(jobs.square, [], 2) == []


def test_workers_have_one_thread_and_the_parents_environment_does_not_change(jobs, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    got = gather(jobs.threads, [0], 2)
    assert got[0][:2] == ("1", 1)
    assert got[0][2] != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_the_function_is_sent_once_and_keeps_what_it_built(jobs) -> None:
    got = gather(jobs.Builder(), range(8), 2)
    assert all(built == 1 for _, built in got)
    assert len({pid for pid, _ in got}) <= 2


def test_an_exception_of_a_worker_keeps_its_type_and_traceback(jobs) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'random'") as caught:
        gather(jobs.fail, range(5), 2)
    printed = "".join(traceback.format_exception(caught.value))
    assert "in fail" in printed
    assert "worker_jobs.py" in printed
    assert "shard 3" in printed


def test_an_exception_that_cannot_be_pickled_is_described(jobs) -> None:
    with pytest.raises(WorkerError, match="Odd") as caught:
        gather(jobs.fail_oddly, [0, 1], 2)
    assert "in fail_oddly" in str(caught.value.__cause__)


def test_a_killed_worker_raises(jobs) -> None:
    with pytest.raises(WorkerError, match="ended by signal SIGKILL during shard 1"):
        gather(jobs.die, range(4), 2)


def test_what_cannot_be_pickled_is_explained(jobs) -> None:
    with pytest.raises(InvalidArgumentError, match=r"the function cannot be pickled.*workers=1"):
        gather(lambda x: x, [1, 2], 2)
    with pytest.raises(InvalidArgumentError, match="shard 1 cannot be pickled"):
        gather(jobs.square, [1, lambda: 2], 2)
    with pytest.raises(InvalidArgumentError, match="a result of the function cannot be pickled"):
        gather(jobs.unpicklable, [1, 2], 2)
    assert gather(lambda x: x + 1, [1, 2], 1) == [2, 3]


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_bad_workers(workers) -> None:
    with pytest.raises(InvalidArgumentError, match="workers must be an integer of at least 1"):
        run_sharded(str, [1], workers=workers, on_result=print)


def test_an_error_in_the_parent_ends_the_workers_quickly(jobs) -> None:
    def refuse(result: object) -> None:
        raise OSError("disk full")

    began = time.monotonic()
    with pytest.raises(OSError, match="disk full"):
        run_sharded(jobs.slow, [0, 1], workers=2, on_result=refuse)
    assert time.monotonic() - began < 10  # the children would sleep for a minute


MAIN = """
import os, sys, time
import worker_jobs
from selfreg_gym.playing.executor import run_sharded
{guard}
    run_sharded(worker_jobs.slow, [0, 1], workers=2, on_result=lambda x: print("result", flush=True))
"""


def start_script(tmp_path: Path, guard: str) -> subprocess.Popen:
    script = tmp_path / "script.py"
    script.write_text(MAIN.format(guard=guard))
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(check, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.05)
    return check()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(jobs, tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C (sent to the whole group, as a terminal does) and kill -9 both end all workers."""
    parent = start_script(tmp_path, "if __name__ == '__main__':")
    assert parent.stdout is not None
    assert parent.stderr is not None
    assert [parent.stdout.readline() for _ in range(2)] == ["result\n"] * 2
    children = children_of(parent.pid)
    assert len(children) >= 2
    if how == signal.SIGINT:
        os.killpg(parent.pid, signal.SIGINT)
    else:
        os.kill(parent.pid, signal.SIGKILL)
    parent.wait(timeout=10)
    assert wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), seconds=5)
    if how == signal.SIGINT:
        errors = parent.stderr.read()
        assert errors.count("KeyboardInterrupt") == 1, errors  # from the parent only


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.4])
def test_ctrl_c_while_the_workers_start(jobs, tmp_path: Path, delay: float) -> None:
    parent = start_script(tmp_path, "if __name__ == '__main__':\n    print('starting', flush=True)")
    assert parent.stdout is not None
    assert parent.stdout.readline() == "starting\n"
    time.sleep(delay)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert errors.count("Traceback") == 1, errors


def test_a_script_without_its_guard_gets_an_explanation(jobs, tmp_path: Path) -> None:
    parent = start_script(tmp_path, "if True:")
    _, errors = parent.communicate(timeout=60)
    assert parent.returncode != 0
    assert "could not start" in errors
    assert "if __name__ == '__main__':" in errors
