"""Many requests: sent once, in parallel, cached and counted."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfreg_gym.agents.actors.endpoint import EndpointActor
from selfreg_gym.endpoint.connection import COMPLETIONS, SYSTEMONE, Connection, Request
from selfreg_gym.endpoint.prm import EndpointPRM
from selfreg_gym.endpoint.server import Server
from selfreg_gym.endpoint.thread_pool import ThreadPool
from selfreg_gym.errors import EndpointError, InvalidArgumentError, SetupError
from selfreg_gym.types import Decision
from selfreg_gym.utils.time_limit import CallTimedOutError, call_within


def ask(prompt: str, draw: int | None = None, **more: Any) -> Request:
    return Request(COMPLETIONS, {"prompt": prompt, "max_tokens": 8, "seed": draw or 0}, draw, **more)


def connect(url: str, cache: Path | None = None, **options: Any) -> Connection:
    quick = {"backoff": 0.001, "max_backoff": 0.01, "timeout": 5.0, "load_timeout": 5.0}
    return Connection(Server.of(url, **{**quick, **options}), cache=cache)


def test_answers_are_in_order_and_equal_requests_are_sent_once(serve: Any) -> None:
    server = serve()
    connection = connect(server.url)
    prompts = [f"prompt {i % 5}" for i in range(40)]
    answers = connection.ask([ask(prompt) for prompt in prompts])
    assert server.count("/completions") == 5
    assert server.count("/models") == 1  # without model= the only one is looked up, once
    assert {prompt: answer.text for prompt, answer in zip(prompts, answers, strict=True)} == {
        f"prompt {i}": server.brain.write(f"prompt {i}", sample=0, max_tokens=8) for i in range(5)
    }
    assert connection.ask([ask("prompt 3")]) == [answers[3]]
    assert server.count("/completions") == 5
    assert connection.usage()["cached"] == 1


def test_draws_of_one_request_are_independent(serve: Any) -> None:
    connection = connect(serve().url)
    texts = [answer.text for answer in connection.ask([ask("You can: a, b, c", draw) for draw in range(12)])]
    assert len(set(texts)) == 3
    assert [answer.text for answer in connection.ask([ask("You can: a, b, c", draw) for draw in range(12)])] == texts


def test_concurrency_bounds_the_simultaneous_requests(serve: Any) -> None:
    server = serve(fault=lambda count, path: "hang", hang=0.1)
    connect(server.url, concurrency=3, retries=0, model="rule").ask([ask(str(i)) for i in range(12)])
    assert server.most_at_once == 3


def test_lists_are_used_if_the_server_takes_them(serve: Any) -> None:
    server = serve()
    connection = connect(server.url, batch=4, model="rule")
    requests = [ask(f"prompt {i}", batchable=True) for i in range(10)] + [ask("alone")]
    together = connection.ask(requests, lists=True)
    sizes = sorted(len(b["prompt"]) if isinstance(b["prompt"], list) else 1 for _, b in server.requests)
    assert sizes == [1, 2, 4, 4]
    assert [a.text for a in together] == [a.text for a in connect(server.url, model="rule").ask(requests)]


def test_a_failure_does_not_affect_other_requests(serve: Any) -> None:
    connection = connect(serve().url, retries=0, model="rule")
    answers = connection.ask([ask("a"), Request("/systemone", {"state": "s", "questions": {"q": _wide()}}), ask("b")])
    assert [type(answer).__name__ for answer in answers] == ["Answer", "EndpointError", "Answer"]
    assert answers[1].status == 422


def _wide() -> dict[str, Any]:
    return {"type": "choice", "criteria": {str(i): None for i in range(30)}}


def test_connections_share_the_cache_and_failures_are_not_stored(serve: Any, tmp_path: Path) -> None:
    broken = serve(fault=lambda count, path: "500")
    path = tmp_path / "answers.sqlite"
    first = connect(broken.url, path, retries=1, model="rule")
    assert isinstance(first.ask([ask("p")])[0], EndpointError)
    broken.fault = None
    question = Request(SYSTEMONE, {"state": "s", "questions": {"q": {"type": "noul"}}})
    answers = first.ask([ask("p"), question])
    second = connect("http://127.0.0.1:9/v1", path, model="rule")  # no server
    assert second.ask([ask("p"), question]) == answers
    assert second.usage()["requests"] == 0
    assert isinstance(
        connect("http://127.0.0.1:9/v1", path, model="other", retries=0).ask([ask("p")])[0], EndpointError
    )


def test_tokens_and_cost_are_counted_once(serve: Any) -> None:
    connection = connect(serve().url, token_prices=(1000.0, 3000.0))
    for _ in range(2):
        [answer] = connection.ask([ask("one two three. You can: go")])
    assert (answer.tokens.prompt, answer.tokens.completion) == (6, 1)
    usage = connection.usage()
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["cost"]) == (6, 1, 9.0)


def test_it_is_pickled_without_open_resources_and_never_copied(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "verysecret")
    connection = connect(serve(key="verysecret").url, api_key_env="TEST_KEY")
    [answer] = connection.ask([ask("p")])
    data = pickle.dumps(connection)
    assert b"verysecret" not in data
    assert pickle.loads(data).ask([ask("p")]) == [answer]
    assert copy.deepcopy(connection) is connection
    connection.close()
    assert connection.ask([ask("q")])[0].text  # opened again


def test_one_of_several_models_must_be_chosen(serve: Any) -> None:
    server = serve(can=("completions",))
    with pytest.raises(EndpointError, match="HTTP 404"):
        connect(server.url).ask([ask("p")])
    server.answer = lambda path, body: (200, {"data": [{"id": "a"}, {"id": "b"}]})
    with pytest.raises(InvalidArgumentError, match=r"serves 2 models \(a, b\): choose one by model="):
        connect(server.url).ask([ask("p")])


def test_lone_surrogates_are_neither_sent_nor_stored(serve: Any, tmp_path: Path) -> None:
    server = serve()
    [answer] = connect(server.url, tmp_path / "c.sqlite").ask([ask("a \ud83d b")])
    assert answer.text
    assert server.requests[-1][1]["prompt"] == "a \ufffd b"


INTERRUPTED = """
    import sys
    from selfreg_gym.endpoint.connection import COMPLETIONS, Connection, Request
    from selfreg_gym.endpoint.server import Server
    connection = Connection(Server.of(sys.argv[1], model="rule"))
    try:
        connection.ask([Request(COMPLETIONS, {"prompt": str(i)}) for i in range(9)])
    except KeyboardInterrupt:
        print("stopped", connection.usage()["requests"], flush=True)
"""


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(serve: Any) -> None:
    server = serve(fault=lambda count, path: "hang", hang=30.0)
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), server.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(600):
        if len(server.requests) == 8:
            break
        time.sleep(0.1)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=25) == 0
    assert time.monotonic() - begun < 15  # the server hangs for 30 s, and the time-out is 60 s
    assert process.stdout is not None
    assert process.stdout.read() == "stopped 8\n"


def interrupted(call: Callable[[], Any]) -> None:
    """Make a call whose time is over while it waits, and wait until its thread has ended."""
    with pytest.raises(CallTimedOutError):
        call_within(0.2, call)
    while any(thread.name == "call with a time limit" for thread in threading.enumerate()):
        time.sleep(0.01)


def test_after_a_time_limit_the_pool_does_not_start_the_other_jobs() -> None:
    door, ran, pool = threading.Event(), [], ThreadPool(1)
    interrupted(lambda: list(pool.run([door.wait, lambda: ran.append(1)])))
    door.set()
    assert list(pool.run([lambda: 2])) == [(0, 2)]
    assert not ran
    pool.close()


def test_after_a_time_limit_the_next_call_uses_the_same_client(serve: Any) -> None:
    door, connection = threading.Event(), connect(serve().url, model="rule")
    client = connection.client
    send = client.send

    def wait_and_send(*args: Any) -> Any:
        door.wait(60)
        return send(*args)

    client.send = wait_and_send  # type: ignore[method-assign]
    interrupted(lambda: connection.ask([ask("a"), ask("b")]))
    door.set()
    assert connection.client is client
    assert all(isinstance(answer.text, str) for answer in connection.ask([ask("a"), ask("b")]))
    connection.close()


def test_the_pool_raises_errors_of_jobs_and_starts_none_after_close() -> None:
    pool = ThreadPool(2)
    assert sorted(pool.run([lambda i=i: i * i for i in range(9)])) == [(i, i * i) for i in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(pool.run([lambda: 1 / 0]))
    gate, started = threading.Event(), []
    waiting = pool.run([lambda: (started.append(1), gate.wait(10)) for _ in range(6)])
    threading.Timer(0.2, lambda: (pool.close(), gate.set())).start()
    next(waiting)
    time.sleep(0.3)
    assert len(started) == 2


def _open_sockets(port: int) -> int:
    """Number of open connections to a local port, from the kernel's table."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    remote = f"0100007F:{port:04X}"
    return sum(1 for line in lines if line.split()[2] == remote and line.split()[3] == "01")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs the kernel's table of connections")
@pytest.mark.parametrize("cached", [False, True])
def test_garbage_collection_closes_sockets_and_threads(serve: Any, quick: Any, tmp_path: Path, cached: bool) -> None:
    server = serve(can=("chat",))
    port = server.http.server_address[1]
    cache = tmp_path / "answers.sqlite" if cached else None
    actor = EndpointActor(server.url, concurrency=4, cache=cache, **quick)
    acts = actor.act([Decision(f"Coin {i}", ("heads", "tails"), key=(i,)) for i in range(8)])
    assert all(act.error is None for act in acts)
    assert _open_sockets(port) >= 1
    pool = actor.connection._resources.pool
    threads = list(pool._threads)
    del actor
    gc.collect()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    for _ in range(100):
        if not _open_sockets(port):
            break
        time.sleep(0.02)
    assert _open_sockets(port) == 0


def test_a_missing_model_is_an_error_that_lists_the_models(serve: Any, quick: Any) -> None:
    server = serve()
    with pytest.raises(SetupError, match=r"has no model 'rul'\. Did you mean 'rule'\? It has: rule\. Choose one"):
        connect(server.url, model="rul").ask([ask("p")])
    with pytest.raises(SetupError, match="has no model 'rul'"):
        EndpointActor(server.url, **{**quick, "model": "rul"}).act([Decision("Coin", ("heads",))])
    with pytest.raises(SetupError, match="has no model 'rul'"):
        EndpointPRM(server.url, **{**quick, "model": "rul"}).score(["text"])
    many = [{"id": f"model {i} \x1b"} for i in range(3)] + [{"id": f"model-{i} " + "x" * 200} for i in range(20)]
    original = server.answer
    server.answer = lambda path, body: (200, {"data": many}) if path.endswith("/models") else original(path, body)
    with pytest.raises(SetupError, match=r"\(20 in all\)") as caught:
        connect(server.url, model="y" * 300).ask([ask("p")])
    assert len(str(caught.value)) < 1200
    assert "\x1b" not in str(caught.value)
    silent = serve(can=("completions",))  # it lists none: its own message is shown
    assert "HTTP 404: no model 'rul'" in str(connect(silent.url, model="rul").ask([ask("p")])[0])


@pytest.mark.parametrize(
    ("status", "message", "ends"),
    [
        (404, {"error": {"message": "The model `alias` does not exist.", "code": "model_not_found"}}, True),
        (404, {"error": "model 'alias' not found, try pulling it first"}, True),
        (400, {"detail": "Unknown model: alias"}, True),
        (500, {"error": {"message": "model alias is not loaded"}}, True),
        (404, {"detail": "Not Found"}, False),
        (400, {"error": {"message": "This model's maximum context length is 4096 tokens"}}, False),
    ],
)
def test_only_a_missing_model_ends_a_run(serve: Any, status: int, message: Any, ends: bool) -> None:
    server = serve()
    server.answer = lambda path, body: (200, {"data": [{"id": "b"}]}) if path.endswith("/models") else (status, message)
    connection = connect(server.url, model="alias", retries=0)
    if ends:
        with pytest.raises(SetupError, match="has no model 'alias'"):
            connection.ask([ask("p")])
    else:
        assert connection.ask([ask("p")])[0].status == status


def test_after_a_failed_list_single_requests_are_sent(serve: Any) -> None:
    server = serve()
    original = server.answer

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if len(body.get("prompt", "")) > 2 and isinstance(body["prompt"], list):
            return 422, {"error": "at most 2 prompts in one request"}
        return original(path, body)

    server.answer = answer
    connection = connect(server.url, batch=4, model="rule")
    answers = connection.ask([ask(f"prompt {i}", batchable=True) for i in range(4)], lists=True)
    assert answers == connect(server.url, model="rule").ask([ask(f"prompt {i}") for i in range(4)])
    before = len(server.requests)
    connection.ask([ask(f"other {i}", batchable=True) for i in range(4)], lists=True)
    assert [isinstance(body["prompt"], list) for _, body in server.requests[before:]] == [False] * 4


def test_an_address_without_v1_gives_a_hint(serve: Any) -> None:
    url = serve().url.removesuffix("/v1")
    assert "HTTP 404: Not Found (base_url has no /v1" in str(connect(url, model="rule").ask([ask("p")])[0])


def test_an_overloaded_server_is_probed_again(serve: Any, quick: Any, tmp_path: Path) -> None:
    server = serve(can=("chat",), fault=lambda count, path: "500")
    actor = EndpointActor(server.url, cache=tmp_path / "answers.sqlite", **{**quick, "retries": 1})
    decision = Decision("Coin", ("heads", "tails"), key=(1,))
    assert "supports no strategy" in actor.act([decision])[0].error
    server.fault = None
    assert actor.act([decision])[0].error is None
