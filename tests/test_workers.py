"""Several workers behind one port: all of them answer, one that is gone is replaced, and together they end in order."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from app.database import Databases
from app.settings import DATABASE_NAMES, Settings, SettingsError, load_settings
from tests.http_server import COMMAND, Process, ask, exchange, free_port, serving, until
from tests.test_serving import nowhere
from tests.test_shutdown import Balancer, status_of


def processes_of(process: Process) -> dict[int, int]:
    """The process of each worker, as the log has it last."""
    return {
        int(words[1]): int(words[4])
        for event in process.events()
        if len(words := str(event["event"]).split()) == 5 and words[2:4] == ["is", "process"]
    }


def told(process: Process, part: str) -> list[dict[str, object]]:
    """The lines of the log that have this in their event."""
    return [event for event in process.events() if part in str(event["event"])]


def answering(process: Process) -> object:
    """The worker that answers a request on a new connection, by its line in the log."""
    before = len(told(process, "request"))
    assert status_of(exchange(process.port, ask("{ __typename }"))) == b"200"
    until(lambda: len(told(process, "request")) > before)
    return told(process, "request")[before]["worker"]


@contextmanager
def workers(settings: Settings, count: int = 2, **environment: str) -> Generator[Process]:
    """A gateway of so many workers, all of which take requests."""
    with serving(settings, WORKERS=str(count), **environment) as process:
        until(lambda: len(told(process, "serving http")) == count)
        yield process


@contextmanager
def stopped(pids: Iterable[int]) -> Generator[None]:
    """While these processes do nothing."""
    with ExitStack() as stack:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
        yield


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # nobody may be there to bury what has lost its parent
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_each_worker_answers_and_the_others_do_while_one_is_stuck(settings: Settings) -> None:
    with workers(settings, 3, DRAIN_GRACE="0") as process:
        pids = processes_of(process)
        assert set(pids) == {1, 2, 3}
        assert len({*pids.values(), process.process.pid}) == 4
        for number in pids:
            with stopped(pid for other, pid in pids.items() if other != number):
                assert answering(process) == number
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 0
        assert all(is_gone(pid) for pid in pids.values())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_by_itself_is_replaced(settings: Settings, number: signal.Signals) -> None:
    with workers(settings, DRAIN_GRACE="0") as process:
        first = processes_of(process)
        os.kill(first[2], number)
        until(lambda: len(told(process, "serving http")) == 3)
        second = processes_of(process)
        assert second[1] == first[1]
        assert second[2] != first[2]
        [ended] = told(process, "another is started")
        cause, level = ("SIGKILL", "error") if number == signal.SIGKILL else ("exit code 0", "info")
        assert ended["event"] == f"worker 2 (process {first[2]}) ended by {cause}; another is started in 0.1 s"
        assert ended["level"] == level
        with stopped([first[1]]):  # so that the new one has to answer
            assert answering(process) == 2
        process.process.send_signal(signal.SIGINT)
        assert process.ended() == 0


def test_a_worker_that_keeps_ending_is_started_after_longer_and_longer_pauses(settings: Settings) -> None:
    with workers(settings, DRAIN_GRACE="0") as process:
        for times in range(1, 4):
            os.kill(processes_of(process)[1], signal.SIGKILL)
            until(lambda times=times: len(told(process, "serving http")) == 2 + times)
        pauses = [str(event["event"]).rpartition(" started in ")[2] for event in told(process, "another is started")]
        assert pauses == ["0.1 s", "0.2 s", "0.4 s"]
        os.kill(processes_of(process)[2], signal.SIGKILL)
        until(lambda: len(told(process, "another is started")) == 4)
        assert str(told(process, "another is started")[-1]["event"]).endswith("in 0.1 s")  # of each its own
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 0


@pytest.mark.anyio
async def test_at_sigterm_under_load_no_request_fails(settings: Settings, clean: None) -> None:
    with workers(settings, DRAIN_GRACE="3") as process:
        balancer, begun = Balancer(process.port), asyncio.Event()
        load = asyncio.create_task(balancer.run(begun))
        await asyncio.wait({asyncio.create_task(begun.wait()), load}, return_when=asyncio.FIRST_COMPLETED)
        before = len(balancer.answers)
        # As a terminal's Ctrl-C and systemd do it: each is told.
        for pid in (process.process.pid, *processes_of(process).values()):
            os.kill(pid, signal.SIGTERM)
        await load
        assert balancer.probes[-1] == 503
        assert set(balancer.probes[:-1]) == {200}
        assert set(balancer.answers) == {200}
        assert len(balancer.answers) >= before + 20  # clients came again meanwhile
        assert await asyncio.to_thread(process.ended) == 0
        assert {event["worker"] for event in told(process, "request")} == {1, 2}
        assert len(told(process, "told to end")) == 2
        assert not told(process, "in good order")


def test_a_second_signal_ends_all_at_once(settings: Settings) -> None:
    with workers(settings, DRAIN_GRACE="60") as process:
        process.process.send_signal(signal.SIGTERM)
        until(lambda: len(told(process, "told to end")) == 2)
        process.process.send_signal(signal.SIGINT)
        assert process.ended(10) == 0


def test_a_worker_that_is_told_twice_ends_in_order(settings: Settings) -> None:
    """A terminal tells parent and workers, and then the parent tells the workers."""
    with workers(settings, DRAIN_GRACE="0.5") as process:
        worker = processes_of(process)[1]
        for signum in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker, signum)
            until(lambda: told(process, "told to end"))
        until(lambda: told(process, "another is started"))
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 0
        assert not told(process, "in good order")


def test_workers_whose_parent_is_killed_end_in_order(settings: Settings) -> None:
    with workers(settings, DRAIN_GRACE="0") as process:
        pids = processes_of(process)
        process.process.kill()
        until(lambda: all(is_gone(pid) for pid in pids.values()))
        with pytest.raises(ConnectionRefusedError):
            exchange(process.port, ask("{ __typename }"))
        assert process.ended() == -signal.SIGKILL
        assert len(told(process, "the process that started this one is gone")) == 2
        assert len(told(process, "Finished server process")) == 2


def test_a_worker_that_does_not_end_is_killed_and_told(settings: Settings) -> None:
    with workers(settings, DRAIN_GRACE="0", DRAIN_TIMEOUT="0.1") as process:
        pids = processes_of(process)
        os.kill(pids[1], signal.SIGSTOP)
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 2
        assert all(is_gone(pid) for pid in pids.values())
        assert f"worker 1 (process {pids[1]}) does not end, and is killed" in [
            event["event"] for event in process.events()
        ]
        assert process.lines[-1] == "storegraph: not all workers ended in time; the log says which\n"


def run(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "serve", "--workers", "2", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_told_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run(nowhere(), "--port", str(port))
    assert ended.returncode == 2
    message = f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port"
    assert ended.stderr == f"storegraph: {message}\n"


def test_what_the_application_cannot_do_without_is_told_once(tmp_path: Path) -> None:
    manifest = {"TRUSTED_DOCUMENTS": "enforce", "TRUSTED_DOCUMENTS_MANIFEST": str(tmp_path / "none.json")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = run(nowhere() | manifest, "--port", str(port))
    assert ended.returncode == 2
    assert [line for line in ended.stderr.splitlines() if "none.json" in line] == [ended.stderr.splitlines()[-1]]
    assert "is process" not in ended.stderr


UNABLE = """
import sys
from app import serving
from app.cli import main

def run(*_args, **_kwargs):
    sys.exit(3)  # as uvicorn does where the lifespan fails

serving.run = run
sys.argv = ["storegraph", "serve", "--workers", "2", "--port", sys.argv[1]]
main()
"""


def test_workers_that_cannot_start_end_the_parent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = subprocess.run(
        [COMMAND.with_name("python"), "-c", UNABLE, str(port)],
        env=nowhere(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    *lines, last = ended.stderr.splitlines()
    assert last == "storegraph: the gateway did not start; its log says why"
    assert json.loads(lines[-1])["event"].endswith("ended by exit code 3 before it had started")


def test_each_worker_has_its_metrics_at_a_port_of_its_own(settings: Settings) -> None:
    port = free_port()
    with workers(settings, DRAIN_GRACE="0", METRICS_PORT=str(port)) as process:
        said = {event["worker"]: event["event"] for event in told(process, "serving metrics")}
        assert said == {number: f"serving metrics at http://127.0.0.1:{port + number - 1}/metrics" for number in (1, 2)}
        pids = processes_of(process)
        for number in pids:
            with stopped([pids[3 - number]]):
                answer = exchange(port + number - 1, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert status_of(answer) == b"200"
        process.process.send_signal(signal.SIGTERM)
        assert process.ended() == 0


@pytest.mark.parametrize(("port", "workers", "is_right"), [(8001, 4, True), (7996, 4, True), (7997, 4, False)])
def test_metrics_of_workers_do_not_take_the_port(port: int, workers: int, is_right: bool) -> None:
    urls = {f"{name}_database_url": f"postgresql://h/{name}" for name in DATABASE_NAMES}
    with nullcontext() if is_right else pytest.raises(SettingsError, match="4 workers need the ports 7997 to 8000"):
        load_settings(**urls, metrics_port=port, workers=workers)


@pytest.mark.anyio
async def test_the_pools_of_all_workers_must_fit_their_server(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with Databases.opened(settings) as databases:
        _, room = await databases["users"].room() or (None, 0)
    for workers in (2, 3):
        fits = room // (4 * workers)
        for size, is_told in ((fits, False), (fits + 1, True)):
            caplog.clear()
            many = settings.model_copy(update={"workers": workers, "pool_size": size})
            async with Databases.opened(many) as databases:
                await databases.check_capacity()
            assert [record.getMessage() for record in caplog.records] == is_told * [
                f"the pools of users, products, orders, payments can take {4 * workers * size} connections"
                f" (POOL_SIZE {size}, each in {workers} workers) of one server, which allows {room} (max_connections"
                f" without the reserved ones): set POOL_SIZE to {fits} or raise max_connections"
            ]
