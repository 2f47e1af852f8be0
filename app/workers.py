"""Several gateway processes behind one port, and the one that starts them, starts them again and ends them.

The workers share one listening socket, so that a connection which none of them has taken yet is lost with none of them
(with SO_REUSEPORT each would have a queue of its own, which ends with it). They are forked from a process that has
loaded the program and opened nothing, which saves each a second of start and a copy of what it only reads.

What the parent has to say to a worker goes over a socket and not by a signal: a terminal's Ctrl-C and systemd's stop
reach parent and workers alike, and a second signal would break off what the first lets end. The socket also tells
either that the other is gone.
"""

import logging
import math
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from app import logs, serving
from app.errors import OperationError
from app.main import create_app
from app.middleware import Draining
from app.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 0  # in place of a signal's number: end what the first order lets go on
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds before a worker is started again, doubled each time
_STEADY = 60.0  # seconds after which a worker's end says nothing of how the next will do
OVERTIME = 2.0
"""Seconds that a worker has to close its pools in, once its requests had all the time that they get."""


def serve_from_several(settings: Settings, listener: socket.socket) -> None:
    """Serve from ``settings.workers`` processes until SIGINT, SIGTERM or SIGHUP, which end them all as
    ``serving.serve`` ends one.

    A worker that ends by itself is started again, after a pause that grows while it keeps ending. Should this process
    be killed, the workers end as at SIGTERM.

    Raises:
        OperationError: no worker is left and the latest could not start, or one had to be killed in the end; the log
            says why.
    """
    serving.begin(settings)
    create_app(settings)  # not to be used: what it finds wrong is so told once, and what it loads is there for all
    serving.settle_memory()
    with _signals() as told:
        _Parent(settings, listener, told).run()


@dataclass
class _Worker:
    """One that lives, as its parent sees it."""

    number: int
    pid: int
    channel: socket.socket
    begun: float
    has_started: bool = False


class _Parent:
    """What starts workers and waits for what becomes of them: one thread, no event loop, nothing but sockets."""

    def __init__(self, settings: Settings, listener: socket.socket, told: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._told = told
        self._selector = selectors.DefaultSelector()
        self._selector.register(told, selectors.EVENT_READ)
        self._workers: dict[int, _Worker] = {}
        self._due = dict.fromkeys(range(1, settings.workers + 1), 0.0)
        self._pauses = dict.fromkeys(self._due, _FIRST_PAUSE)
        self._is_ending = False
        self._kill_at = math.inf
        self._fault: str | None = None

    def run(self) -> None:
        """Until all workers have ended. Raises what ``serve_from_several`` does."""
        while self._workers or self._due:
            for number in [number for number, when in self._due.items() if when <= time.monotonic()]:
                self._start(number)
            until = min(self._kill_at, *self._due.values(), math.inf)
            timeout = None if until == math.inf else max(0, until - time.monotonic())
            for key, _ in self._selector.select(timeout):
                if key.fileobj is self._told:
                    for number in self._told.recv(16):
                        self._end(number)
                else:
                    self._hear(key.data)
            if time.monotonic() >= self._kill_at:
                self._kill()
        if self._fault is not None:
            raise OperationError(self._fault)

    def _start(self, number: int) -> None:
        del self._due[number]
        ours, theirs = socket.socketpair()
        pid = _fork()
        if pid == 0:
            # Nothing of the parent's, or a worker would outlive it in silence, and another not notice.
            for channel in (ours, *(worker.channel for worker in self._workers.values())):
                channel.close()
            self._selector.close()
            self._told.close()
            _work(number, theirs, self._settings, self._listener)
        theirs.close()
        worker = self._workers[number] = _Worker(number, pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, worker)
        log.info("worker %d is process %d", number, pid)

    def _hear(self, worker: _Worker) -> None:
        """A worker says that it takes requests, or is gone."""
        try:
            is_alive = bool(worker.channel.recv(1))
        except ConnectionResetError:  # it ended without having read what it was told
            is_alive = False
        if is_alive:
            worker.has_started = True
            return
        self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._workers[worker.number]
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if not self._is_ending:
            self._replace(worker, code)
        elif code != 0 and worker.has_started:
            log.error("worker %d (process %d) ended by %s", worker.number, worker.pid, _cause(code))

    def _replace(self, worker: _Worker, code: int) -> None:
        number = worker.number
        if not worker.has_started and not self._workers:
            log.error("worker %d (process %d) ended by %s before it had started", number, worker.pid, _cause(code))
            self._due.clear()
            self._fault = "the gateway did not start; its log says why"
            return
        if time.monotonic() - worker.begun >= _STEADY:
            self._pauses[number] = _FIRST_PAUSE
        pause = self._pauses[number]
        self._pauses[number] = min(2 * pause, _LONGEST_PAUSE)
        self._due[number] = time.monotonic() + pause
        log.log(
            logging.INFO if code == 0 else logging.ERROR,
            "worker %d (process %d) ended by %s; another is started in %.1f s",
            *(number, worker.pid, _cause(code), pause),
        )

    def _end(self, number: int) -> None:
        """Pass on that the process is to end; the second time, at once."""
        order = _AT_ONCE if self._is_ending else number
        if not self._is_ending:
            self._is_ending = True
            self._due.clear()
            self._listener.close()  # so that it is closed once the last worker has closed its own
            settings = self._settings
            self._kill_at = time.monotonic() + settings.drain_grace + math.ceil(settings.drain_timeout) + OVERTIME
        for worker in self._workers.values():
            with suppress(OSError):  # it is just gone
                worker.channel.send(bytes([order]))

    def _kill(self) -> None:
        """End those that do not do it themselves: whatever started us would otherwise wait for ever."""
        self._kill_at = math.inf
        for worker in self._workers.values():
            log.error("worker %d (process %d) does not end, and is killed", worker.number, worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
        self._fault = "not all workers ended in time; the log says which"


def _fork() -> int:
    """fork(2), such that a signal for this process is not taken for one of the child's, or the other way round."""
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    sys.stdout.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in signals:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(number: int, channel: socket.socket, settings: Settings, listener: socket.socket) -> NoReturn:
    """A worker's life. Ends the process, since what the parent has open is not its to close."""
    if settings.metrics_port is not None:
        settings = settings.model_copy(update={"metrics_port": settings.metrics_port + number - 1})
    # Whoever tells the parent may tell each worker as well, as a terminal does: only the parent knows what was meant.
    draining = Draining(twice_is_at_once=False)
    code = 1
    try:
        _mark_lines(number)
        threading.Thread(target=_obey, args=(channel, draining), daemon=True).start()
        serving.run(settings, listener, draining, started=lambda: channel.send(b"!"))
        code = 0
    except SystemExit as error:  # of a signal, before it served
        code = error.code if isinstance(error.code, int) else 1
    except OperationError as error:  # it did not start, and has said why
        log.error("%s", error)
    except BaseException as error:
        log.error("something went wrong on our side", extra=logs.fault(error))
    finally:
        os._exit(code)


def _mark_lines(number: int) -> None:
    """Have every line of this process's log say which worker it is."""
    make = logging.getLogRecordFactory()

    def marked(*args: Any, **kwargs: Any) -> logging.LogRecord:  # whatever a record is made of
        record = make(*args, **kwargs)
        record.worker = number
        return record

    logging.setLogRecordFactory(marked)


def _obey(channel: socket.socket, draining: Draining) -> None:
    """Do what the parent says, and end when it is gone."""
    while order := channel.recv(1):
        draining.at_once = order[0] == _AT_ONCE
        os.kill(os.getpid(), order[0] or signal.SIGTERM)
    if not draining.begun:
        log.error("the process that started this one is gone")
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _signals() -> Generator[socket.socket]:
    """A socket with the number of each signal that is to end the process, as a byte.

    As in ``serving.ended_by_signals``, SIGINT is taken also where a shell ignores it, and SIGHUP not where nohup does.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    read, write = socket.socketpair()
    with read, write:
        write.setblocking(False)
        signal.set_wakeup_fd(write.fileno())
        before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
        try:
            yield read
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)


def _cause(code: int) -> str:
    """What ended a process, by its exit code or, where that is negative, by the signal."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
