"""Serves the gateway from this process until a signal ends it."""

import asyncio
import ctypes
import errno
import gc
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import logs
from app.errors import OperationError
from app.main import create_app
from app.middleware import Draining
from app.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than balancers do (60 in nginx and in AWS's), so that they close it
first, and never send a request into a connection that is just being closed here."""

LARGEST_HEAD = 65_536
"""Bytes of a request's first line and headers together, and of whatever comes that is neither these nor its body."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them
_KEPT_FREE = 32 * 1024 * 1024  # bytes, which is also the most that glibc allows for the latter


def listen(host: str, port: int) -> socket.socket:
    """Take the address that is to be served, before anything else is done.

    Raises:
        OperationError: it is taken, not ours to take, or no address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OperationError(f"cannot listen on {host}: {error.strerror}; is HOST or --host right?") from None
    try:
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        option = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        raise OperationError(f"cannot listen on {host} port {port}: {reason}; choose another with {option}") from None


def serve(settings: Settings, listener: socket.socket, *, demo: bool = False) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP.

    At SIGTERM ``/readyz`` is 503 at once, while everything else goes on for ``drain_grace`` seconds: until whoever
    sends requests here has noticed. Then no connection is taken any more, and requests that are being answered get
    ``drain_timeout`` seconds to end. At SIGINT, from a terminal, there is no grace. A second signal ends it at once.

    Raises:
        OperationError: the application did not start; the log says why.
    """
    begin(settings)
    run(settings, listener, Draining(), demo=demo)


def begin(settings: Settings) -> None:
    """Set up the log, and say what is to be said once, however many processes serve."""
    logs.configure(settings)
    if settings.jwt_secret is None:
        log.warning(
            "JWT_SECRET is not set: nobody can sign in, and only what is public is seen; "
            "make one with: openssl rand -base64 48"
        )


def run(
    settings: Settings,
    listener: socket.socket,
    draining: Draining,
    *,
    demo: bool = False,
    started: Callable[[], object] = lambda: None,
) -> None:
    """Serve from this process, as ``serve`` does, after ``begin``. ``started`` is called once requests are taken.

    Raises:
        OperationError: the application did not start; the log says why.
    """
    config = config_of(create_app(settings, draining=draining, demo=demo), settings)
    server = _Server(config, draining, settings.drain_grace, started)
    settle_memory()
    with ended_by_signals():
        try:
            server.run(sockets=[listener])
        except SystemExit:
            # Uvicorn raises the signal again once it has ended in good order, which is what was asked for.
            if not server.started:
                raise
    if not server.started:
        raise OperationError("the gateway did not start; its log says why")


def settle_memory() -> None:
    """Keep what the process has loaded out of every garbage collection to come, and have fewer of those; and keep the
    memory of an answer for the next.

    A collection of all that there is would stop the process for half a second. What requests leave behind has hardly a
    cycle, but for new documents, after which the engine collects.

    By itself glibc gives back what is free beyond 128 kB, and a large answer then waits for the system at every page of
    memory: a third of the time that a menu of the whole shop takes. (mallopt(3).)
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with suppress(OSError, AttributeError):  # where the C library is another
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_FREE)


def config_of(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn is to serve an application. Logging is left to ``logs.configure``."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=type("Protocol", (_Protocol,), {"patience": settings.body_timeout}),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout),
    )


class _Protocol(HttpToolsProtocol):
    """Uvicorn's, but that it bounds, in bytes and in seconds, what comes before and after a body, and in seconds how
    long an answer may lie unread; uvicorn does not."""

    patience: float
    """Seconds that a request's head may take, from its first byte, and an answer until it is taken."""

    _useless = 0
    """Bytes since the request began or the last piece of its body came, as far as they came in pieces of their own."""
    _head_timer: asyncio.TimerHandle | None = None
    """Runs while a head is being read."""
    _unread_timer: asyncio.TimerHandle | None = None
    """Runs while the client is behind with reading."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] -- as uvicorn has it
        super().connection_made(transport)
        # Uvicorn waits for ever for the first request of a connection.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._useless += len(data)  # before it is parsed, which starts the count anew
        super().data_received(data)
        if self._useless > LARGEST_HEAD:
            self._give_up()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._useless = 0
        self._head_timer = self.loop.call_later(self.patience, self._give_up)

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head it is a trailer, which must not pass for a header (RFC 9110, section 6.5.1).
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._useless = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # when all is sent
            self._end_unless_read()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end_unless_read()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._end_unless_read()

    def resume_writing(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def _end_unless_read(self) -> None:
        """Let go of what is not taken in time: a closed connection, too, is held for as long as the client likes."""
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.patience, self.transport.abort)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        """Close the connection, once an answer that is under way is sent: the next head may come before that."""
        self._end_head()
        self.flow.pause_reading()
        if self.cycle and self.cycle.more_body:  # it is the end of a body that does not come
            self.transport.close()
        else:
            self.shutdown()


class _Server(uvicorn.Server):
    """Uvicorn's, but that it goes on for a while once it was told to end."""

    def __init__(
        self, config: uvicorn.Config, draining: Draining, grace: float, announce: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._draining = draining
        self._grace = grace
        self._ends_at = math.inf
        self._is_told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            log.info("serving http://%s:%d/graphql", f"[{host}]" if ":" in host else host, port)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        draining = self._draining
        if draining.begun and not (draining.twice_is_at_once or draining.at_once):
            return
        super().handle_exit(sig, frame)
        if draining.begun or draining.at_once:
            self.force_exit = True
        else:
            draining.begun = True
            self._ends_at = time.monotonic() + (0 if sig == signal.SIGINT else self._grace)
            self.should_exit = False  # until then

    async def on_tick(self, counter: int) -> bool:
        if self._draining.begun and not self._is_told:  # here, since a signal may come in the middle of a log line
            self._is_told = True
            seconds = max(0, self._ends_at - time.monotonic())
            log.info("told to end: /readyz is 503, and requests are taken for %.1f s more", seconds)
        self.should_exit = self.should_exit or time.monotonic() >= self._ends_at
        return await super().on_tick(counter)


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block by SystemExit, so that whatever it opened is closed.

    SIGINT is set as well, since a shell ignores it for what it starts in the background. Under ``nohup``, which ignores
    SIGHUP, that stays ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # for which the server has a handler of its own while it serves

    handlers = {signal.SIGINT: end, signal.SIGTERM: end, signal.SIGHUP: hang_up}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        del handlers[signal.SIGHUP]
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
